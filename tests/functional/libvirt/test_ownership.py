# SPDX-License-Identifier: Apache-2.0
"""The directory of all guests moves, is copied, goes away for a while, and comes from a backup."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import tempfile
from pathlib import Path

import libvirt

from compute_driver import exceptions
from compute_driver.choices import PowerState, RebootKind
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import Guest, Interface
from compute_driver.libvirt import domain as domains
from compute_driver.storage import owner
from compute_driver.xml import metadata
from tests.functional import base, tiny


class DirectoryTestCase(tiny.TinyTestCase):
    """A driver with its own directory of guests, in the libvirt of the other tests."""

    def setUp(self) -> None:
        super().setUp()
        self.driver.list()  # libvirt is up
        home = tempfile.TemporaryDirectory(dir=base.state_path())
        self.addCleanup(home.cleanup)
        Path(home.name).chmod(0o711)
        self.home = Path(home.name)
        self.old, self.new = self.home / "old", self.home / "new"
        self.ours = self.other_driver(instances_path=str(self.old))
        self.connection = tiny.libvirt_connection(self)

    def make(self, driver: LibvirtDriver | None = None) -> Guest:
        """Make a guest of the driver, which is removed in the end, whoever owns it then."""
        made = tiny.guest()
        self.addCleanup(self.remove, made.uuid)
        (driver or self.ours).spawn(made)
        return made

    def remove(self, number: str) -> None:
        for domain in self.connection.listAllDomains():
            if domain.UUIDString() == number:
                if domain.isActive():
                    domain.destroy()
                domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
        logs = base.state_path() / "libvirt" / "log" / "libvirt" / "qemu"
        for path in logs.glob(f"guest-{number[:8]}*"):
            path.unlink()

    def driver_of(self, instances: Path) -> LibvirtDriver:
        return self.other_driver(instances_path=str(instances))

    def listed(self, driver: LibvirtDriver) -> list[str]:
        return [info.guest.uuid for info in driver.list()]

    def found(self, driver: LibvirtDriver) -> set[tuple[str, bool]]:
        """Return the kinds of all findings after a repair, and whether they are repaired."""
        return {(finding.kind, finding.repaired) for finding in driver.audit(repair=True)}

    def copy(self, source: Path, target: Path) -> None:
        subprocess.run(["cp", "-a", "--", str(source), str(target)], check=True)

    def claim(self, made: Guest) -> metadata.Claim | None:
        return metadata.claim(self.connection.lookupByUUIDString(made.uuid).XMLDesc())


class MovedTest(DirectoryTestCase):
    def test_guest_that_is_off(self) -> None:
        made = self.make()
        self.ours.stop(made.uuid, timeout=0)
        self.old.rename(self.new)
        moved = self.driver_of(self.new)
        self.assertEqual([made.uuid], self.listed(moved))
        self.assertEqual((), moved.audit())
        moved.start(made.uuid)
        xml = self.connection.lookupByUUIDString(made.uuid).XMLDesc()
        self.assertIn(f"{self.new}/{made.uuid}/", xml)
        self.assertNotIn(f"{self.old}/{made.uuid}", xml)
        moved.destroy(made.uuid)
        self.assertEqual(set(), self.found(moved))

    def test_guest_that_runs_is_named_until_its_hard_reboot(self) -> None:
        made = self.make()
        self.old.rename(self.new)
        moved = self.driver_of(self.new)
        self.assertIs(PowerState.RUNNING, moved.show(made.uuid).state)
        self.assertEqual({("moved guest", False)}, self.found(moved))
        moved.reboot(made.uuid, kind=RebootKind.HARD)
        self.assertEqual((), moved.audit())

    def test_suspended_guest_resumes(self) -> None:
        made = self.make()
        self.ours.suspend(made.uuid)
        self.old.rename(self.new)
        moved = self.driver_of(self.new)
        self.assertEqual(set(), self.found(moved))
        moved.resume(made.uuid)
        self.assertIs(PowerState.RUNNING, moved.state(made.uuid))

    def test_destroyed_guest_with_kept_files_comes_back(self) -> None:
        made = self.make()
        self.ours.destroy(made.uuid, keep_files=True)
        self.old.rename(self.new)
        moved = self.driver_of(self.new)
        moved.revert_resize(made.uuid)
        moved.start(made.uuid)
        self.assertIs(PowerState.RUNNING, moved.state(made.uuid))


class CopiedTest(DirectoryTestCase):
    def test_copy_beside_the_original_takes_no_guest(self) -> None:
        made = self.make()
        self.copy(self.old, self.new)
        copied = self.driver_of(self.new)
        self.assertEqual([], self.listed(copied))
        self.assertEqual({("orphan directory", False)}, self.found(copied))
        copied.destroy(made.uuid)
        self.assertIs(PowerState.RUNNING, self.ours.state(made.uuid))
        self.assertEqual((), self.ours.audit())

    def test_restored_guest_goes_on(self) -> None:
        made = self.make()
        self.ours.stop(made.uuid, timeout=0)
        for place in (self.old, self.old / made.uuid):
            self.copy(place, self.new)
            shutil.rmtree(place)
            self.new.rename(place)
            restored = self.driver_of(self.old)
            self.assertEqual([made.uuid], self.listed(restored))
            self.assertEqual((), restored.audit())
            restored.start(made.uuid)
            restored.stop(made.uuid, timeout=0)

    def test_restored_guest_whose_domain_was_removed_comes_back(self) -> None:
        made = self.make()
        self.ours.stop(made.uuid, timeout=0)
        self.copy(self.old / made.uuid, self.new)
        self.ours.destroy(made.uuid)
        self.new.rename(self.old / made.uuid)
        self.assertEqual({("undefined guest", False)}, self.found(self.ours))
        self.ours.start(self.ours.find(made.uuid))
        self.assertEqual(made, self.ours.show(made.uuid).guest)
        self.assertEqual((), self.ours.audit())


class AwayTest(DirectoryTestCase):
    """The storage of all guests is not mounted: an empty directory is in its place."""

    def setUp(self) -> None:
        super().setUp()
        self.on, self.off = self.make(), self.make()
        self.ours.stop(self.off.uuid, timeout=0)
        self.made = sorted((self.on.uuid, self.off.uuid))
        self.old.rename(self.new)
        self.old.mkdir()
        self.drivers = (self.ours, self.driver_of(self.old))

    def mount(self) -> None:
        self.old.rmdir()
        self.new.rename(self.old)

    def test_no_guest_is_lost(self) -> None:
        for driver in self.drivers:
            self.assertEqual({("guest without files", False)}, self.found(driver))
            self.assertEqual(self.made, sorted(self.listed(driver)))
        self.mount()
        for driver in self.drivers:
            self.assertEqual((), driver.audit())
            driver.start(self.off.uuid)
            driver.stop(self.off.uuid, timeout=0)

    def test_new_guest_is_refused_and_leaves_nothing(self) -> None:
        for driver in self.drivers:
            with self.assertRaisesRegex(exceptions.HostError, "mount its storage"):
                driver.spawn(tiny.guest())
            self.assertEqual([], [*self.old.iterdir()])

    def test_guest_cannot_be_started_but_stopped(self) -> None:
        for driver in self.drivers:
            with self.assertRaises(exceptions.DiskUnusable):
                driver.start(self.off.uuid)
            driver.stop(self.on.uuid, timeout=0)
        self.mount()
        for driver in self.drivers:
            driver.start(self.on.uuid)
            driver.stop(self.on.uuid, timeout=0)
        self.assertEqual((), self.ours.audit())

    def test_another_storage_in_its_place(self) -> None:
        (self.old / owner.FILE).write_text("3b1f0e5e-7d3c-4a52-9d53-0d5d6f3c7a10\n")
        self.assertEqual([], self.listed(self.driver_of(self.old)))
        self.assertEqual({("guest without files", False)}, self.found(self.ours))


class OwnerTest(DirectoryTestCase):
    def test_drivers_of_two_directories_have_two_owners(self) -> None:
        other = self.driver_of(self.new)
        made = [self.make(), self.make(other)]
        self.assertNotEqual(owner.read(self.old), owner.read(self.new))
        for driver, guest, instances in zip(
            (self.ours, other), made, (self.old, self.new), strict=True
        ):
            self.assertEqual([guest.uuid], self.listed(driver))
            expected = metadata.Claim(instances / guest.uuid, owner.read(instances))
            self.assertEqual(expected, self.claim(guest))

    def test_owner_is_not_lost_by_changes_of_a_guest_that_runs(self) -> None:
        made = self.make()
        before = self.claim(made)
        self.ours.attach_interface(made.uuid, Interface())
        self.assertEqual(before, self.claim(made))

    def test_guest_from_before_owners_gets_one_with_its_next_domain(self) -> None:
        made = self.make()
        domain = self.connection.lookupByUUIDString(made.uuid)
        stored = metadata.read(domain.XMLDesc())
        assert stored is not None
        old = metadata.contents(dataclasses.replace(stored, owner=None), stored.guest)
        for flags in (libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG):
            domains.describe(domain, old, flags)
        self.assertEqual(metadata.Claim(self.old / made.uuid, None), self.claim(made))
        (self.old / owner.FILE).unlink()
        updated = self.driver_of(self.old)
        self.assertEqual([made.uuid], self.listed(updated))
        updated.reboot(made.uuid, kind=RebootKind.HARD)
        made_owner = owner.read(self.old)
        self.assertIsNotNone(made_owner)
        self.assertEqual(metadata.Claim(self.old / made.uuid, made_owner), self.claim(made))

    def test_lost_owner_is_learned_from_the_guests(self) -> None:
        self.make()
        before = owner.read(self.old)
        (self.old / owner.FILE).unlink()
        self.make(self.driver_of(self.old))
        self.assertEqual(before, owner.read(self.old))

    def test_guest_of_another_driver_is_ours_after_its_description_is_defined_again(self) -> None:
        # As a guest arrives from another host: its files are here, and its domain is the other's.
        made = self.make()
        self.ours.stop(made.uuid, timeout=0)
        arrived = self.driver_of(self.new)
        self.new.mkdir(0o711)
        (self.old / made.uuid).rename(self.new / made.uuid)
        self.assertEqual([], self.listed(arrived))
        xml = self.connection.lookupByUUIDString(made.uuid).XMLDesc()
        parts = arrived._parts
        parts.connection.run(parts.ownership.define_again, xml)
        self.assertEqual([made.uuid], self.listed(arrived))
        self.assertEqual([], self.listed(self.ours))
        arrived.start(made.uuid)
        self.assertEqual((), arrived.audit())
