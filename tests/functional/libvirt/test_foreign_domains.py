# SPDX-License-Identifier: Apache-2.0
"""The driver leaves the domains of others in the same libvirt alone."""

from __future__ import annotations

import shutil
import uuid

import libvirt

from compute_driver import exceptions
from compute_driver.choices import PowerState, RebootKind
from compute_driver.xml import metadata
from tests import contract
from tests.functional import base, tiny

DOMAIN = """
<domain type="qemu">
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  {metadata}
  <memory unit="MiB">16</memory>
  <os><type arch="x86_64" machine="pc">hvm</type></os>
  <devices><memballoon model="none"/></devices>
</domain>
"""
OURS = f"""
<metadata>
  <driver:guest xmlns:driver="{metadata.NAMESPACE}" directory="{{directory}}"
    accelerator="tcg" reason="" fallback="false">{{description}}</driver:guest>
</metadata>
"""


class ForeignTestCase(tiny.TinyTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.neighbour = self.spawn_tiny()
        self.connection = tiny.libvirt_connection(self)

    def start(self, name: str, directory: str | None = None) -> libvirt.virDomain:
        """Start a domain past the driver.

        :param directory: in damaged metadata of the driver's namespace; None means no metadata.
        """
        number = str(uuid.uuid4())
        ours = OURS.format(directory=f"{directory}/{number}", description='{"uuid": ')
        xml = DOMAIN.format(name=name, uuid=number, metadata="" if directory is None else ours)
        domain = self.connection.defineXML(xml)
        self.addCleanup(self.remove, number)
        domain.create()
        return domain

    def remove(self, number: str) -> None:
        for domain in self.connection.listAllDomains():
            if domain.UUIDString() == number:
                domain.destroy()
                domain.undefine()


class TestForeignDomains(ForeignTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.plain = self.start("plain")
        self.others = self.start("others", directory="/var/lib/other-driver/instances")
        self.foreign = (self.plain, self.others)
        self.addCleanup(self.assert_unharmed, tiny.emulators(), self.descriptions())

    def descriptions(self) -> list[str]:
        return [domain.XMLDesc() for domain in self.foreign]

    def assert_unharmed(self, emulators: dict[str, int], descriptions: list[str]) -> None:
        self.assertEqual(descriptions, self.descriptions())
        self.assertEqual(emulators, tiny.emulators())

    def test_they_are_not_listed(self) -> None:
        self.assertEqual([self.neighbour.uuid], [i.guest.uuid for i in self.driver.list()])
        self.assertEqual([self.neighbour.uuid], [stats.uuid for stats in self.driver.stats()])

    def test_no_verb_finds_them_by_name_or_uuid(self) -> None:
        for domain in self.foreign:
            for called in (domain.UUIDString(), domain.UUIDString().upper(), domain.name()):
                with self.assertRaises(exceptions.GuestNotFound):
                    self.driver.find(called)
            for name, verb in contract.VERBS.items():
                with self.subTest(name), self.assertRaises(exceptions.GuestNotFound):
                    verb(self.driver, domain.UUIDString())

    def test_destroy_and_audit_leave_them_alone(self) -> None:
        for domain in self.foreign:
            self.driver.destroy(domain.UUIDString())
        self.assertEqual((), self.driver.audit())
        self.assertEqual((), self.driver.audit(repair=True))

    def test_their_names_and_uuids_are_taken(self) -> None:
        for domain in self.foreign:
            for taken in ({"name": domain.name()}, {"uuid": domain.UUIDString()}):
                with self.subTest(**taken), self.assertRaises(exceptions.GuestExists):
                    self.driver.spawn(tiny.guest(**taken))

    def test_a_directory_in_use_by_a_foreign_domain_is_not_removed(self) -> None:
        # An administrator may redefine a guest without its metadata.
        directory = base.state_path() / "instances" / self.plain.UUIDString()
        directory.mkdir()
        self.addCleanup(directory.rmdir)
        for repair in (False, True):
            (finding,) = self.driver.audit(repair=repair)
            self.assertEqual((str(directory), False), (finding.subject, finding.repaired))
        self.driver.destroy(self.plain.UUIDString())
        self.assertTrue(directory.is_dir())


class TestMovedGuests(ForeignTestCase):
    """The directory of all guests is now another one than when their domains were defined."""

    def setUp(self) -> None:
        super().setUp()
        self.old = base.state_path() / "instances"
        self.new = base.state_path() / "moved"
        self.new.mkdir()
        self.addCleanup(shutil.rmtree, self.new)
        self.other = self.other_driver(instances_path=str(self.new))
        self.made = self.spawn_tiny()

    def move(self) -> None:
        """Move the guest's directory, and let a link lead from the old path to the new one."""
        link, target = self.old / self.made.uuid, self.new / self.made.uuid
        link.rename(target)
        link.symlink_to(target)
        self.addCleanup(link.unlink)
        self.addCleanup(self.other.destroy, self.made.uuid)

    def listed(self) -> list[str]:
        return [info.guest.uuid for info in self.other.list()]

    def test_guest_is_found_where_its_files_are(self) -> None:
        self.assertEqual([], self.listed())
        self.driver.stop(self.made.uuid, timeout=0)
        self.move()
        self.assertEqual([self.made.uuid], self.listed())
        self.assertEqual((), self.other.audit())
        self.other.start(self.made.uuid)
        xml = self.connection.lookupByUUIDString(self.made.uuid).XMLDesc()
        self.assertIn(f"{self.new}/{self.made.uuid}/", xml)
        self.assertNotIn(f"{self.old}/{self.made.uuid}", xml)

    def test_guest_that_runs_as_its_files_move_is_found_and_restarted(self) -> None:
        self.move()
        self.assertIs(PowerState.RUNNING, self.other.show(self.made.uuid).state)
        with self.assertRaisesRegex(exceptions.GuestError, "has no disk"):
            self.other.snapshot(self.made.uuid, self.new / "copy")
        self.other.reboot(self.made.uuid, kind=RebootKind.HARD)
        self.other.snapshot(self.made.uuid, self.new / "copy")

    def test_suspended_guest_resumes_after_its_files_moved(self) -> None:
        self.driver.suspend(self.made.uuid)
        self.move()
        self.other.resume(self.made.uuid)
        self.assertIs(PowerState.RUNNING, self.other.state(self.made.uuid))

    def test_guest_whose_noted_directory_is_gone_is_not_touched(self) -> None:
        # Another driver's storage may be unmounted for a while.
        old, new = self.old / self.made.uuid, self.new / self.made.uuid
        old.rename(new)
        self.assertEqual([], self.listed())
        for repair in (False, True):
            (finding,) = self.other.audit(repair=repair)
            self.assertEqual((str(new), False), (finding.subject, finding.repaired))
        self.other.destroy(self.made.uuid)
        new.rename(old)
        self.assertIs(PowerState.RUNNING, self.driver.state(self.made.uuid))

    def test_copy_of_a_directory_makes_no_guest_of_another_drivers(self) -> None:
        (self.new / self.made.uuid).mkdir()
        self.assertEqual([], self.listed())
        self.other.destroy(self.made.uuid)
        self.assertIs(PowerState.RUNNING, self.driver.state(self.made.uuid))

    def test_directory_by_another_path_is_the_same(self) -> None:
        link = base.state_path() / "link"
        link.symlink_to(self.old)
        self.addCleanup(link.unlink)
        linked = self.other_driver(instances_path=str(link))
        self.assertIn(self.made.uuid, [info.guest.uuid for info in linked.list()])


class TestDamagedMetadata(ForeignTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.damaged = self.start("damaged", directory=f"{base.state_path()}/instances")

    def test_other_guests_are_listed_and_counted(self) -> None:
        (info,) = self.driver.list()
        self.assertEqual((self.neighbour.uuid, PowerState.RUNNING), (info.guest.uuid, info.state))
        self.assertIn(self.neighbour.uuid, [stats.uuid for stats in self.driver.stats()])

    def test_verbs_name_the_damage(self) -> None:
        self.assertEqual(self.damaged.UUIDString(), self.driver.find("damaged"))
        with self.assertRaisesRegex(exceptions.MetadataDamaged, "damaged"):
            self.driver.show(self.damaged.UUIDString())
        self.assertIs(PowerState.RUNNING, self.driver.state(self.damaged.UUIDString()))

    def test_audit_lists_it_and_repair_leaves_it(self) -> None:
        for repair in (False, True):
            (finding,) = self.driver.audit(repair=repair)
            self.assertEqual(self.damaged.UUIDString(), finding.subject)
            self.assertEqual(("damaged guest", False), (finding.kind, finding.repaired))
        self.assertTrue(self.damaged.isActive())

    def test_destroy_removes_it(self) -> None:
        self.driver.destroy(self.driver.find("damaged"))
        self.assertEqual([self.neighbour.uuid], [*tiny.emulators()])
        self.assertEqual((), self.driver.audit())
