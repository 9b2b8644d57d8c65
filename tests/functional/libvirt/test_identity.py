# SPDX-License-Identifier: Apache-2.0
"""Other clients of the same libvirt rename and undefine guests, and remove their metadata."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import libvirt
from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import PowerState, RebootKind
from compute_driver.guest import Interface
from compute_driver.info import Finding
from compute_driver.libvirt import events
from compute_driver.system import steps
from compute_driver.xml import metadata
from tests.functional import base, tiny

#: Seconds in which libvirt tells of the end of a domain.
END_SECONDS = 60.0


class IdentityTestCase(tiny.TinyTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.made = self.spawn_tiny()
        self.uuid = self.made.uuid
        self.connection = tiny.libvirt_connection(self)

    @property
    def domain(self) -> libvirt.virDomain:
        return self.connection.lookupByUUIDString(self.uuid)

    @property
    def directory(self) -> Path:
        return base.state_path() / "instances" / self.uuid

    def names(self) -> set[str]:
        return {info.guest.name for info in self.driver.list()}

    def findings(self, *, repair: bool = False) -> dict[str, Finding]:
        return {finding.kind: finding for finding in self.driver.audit(repair=repair)}

    def restart(self) -> None:
        self.driver.stop(self.uuid, timeout=0)
        self.driver.start(self.uuid)
        self.assertIs(PowerState.RUNNING, self.driver.state(self.uuid))


class RenamedTest(IdentityTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.driver.stop(self.uuid, timeout=0)
        self.name = f"renamed-{self.uuid[:8]}"

    def rename(self, name: str) -> None:
        self.domain.rename(name)

    def test_guest_has_one_name_for_all_verbs(self) -> None:
        self.rename(self.name)
        self.assertEqual({self.name}, self.names())
        self.assertEqual(self.uuid, self.driver.find(self.name))
        with self.assertRaises(exceptions.GuestNotFound):
            self.driver.find(self.made.name)
        self.assertEqual(self.name, self.driver.show(self.uuid).guest.name)
        self.assertEqual([self.name], [stats.name for stats in self.driver.stats()])
        self.assertEqual((), self.driver.audit())

    def test_guest_starts_and_its_description_has_the_name(self) -> None:
        self.rename(self.name)
        self.driver.start(self.uuid)
        stored = metadata.read(self.domain.XMLDesc())
        assert stored is not None
        self.assertEqual(self.name, stored.guest.name)
        self.driver.reboot(self.uuid, kind=RebootKind.HARD)
        self.assertEqual(dataclasses.replace(self.made, name=self.name), stored.guest)

    def test_new_guest_may_have_the_old_name_and_not_the_new_one(self) -> None:
        self.rename(self.name)
        with self.assertRaises(exceptions.GuestExists):
            self.driver.spawn(tiny.guest(name=self.name))
        self.spawn_tiny(name=self.made.name)
        self.assertEqual({self.name, self.made.name}, self.names())
        self.driver.destroy(self.uuid)
        log = base.state_path() / "libvirt/log/libvirt/qemu" / f"{self.made.name}.log"
        self.assertTrue(log.exists())  # of the new guest

    def test_every_change_of_the_description_takes_the_name_over(self) -> None:
        self.rename(self.name)
        nic = Interface()
        self.driver.attach_interface(self.uuid, nic)
        self.driver.detach_interface(self.uuid, nic.mac)
        self.driver.resize(self.uuid, self.driver.show(self.uuid).guest, timeout=0)
        self.assertEqual({self.name}, self.names())

    def test_resize_is_reverted_under_the_new_name(self) -> None:
        self.driver.resize(self.uuid, dataclasses.replace(self.made, memory_mib=24), timeout=0)
        self.rename(self.name)
        before = self.driver.show(self.uuid).before
        self.assertEqual(dataclasses.replace(self.made, name=self.name), before)
        self.driver.revert_resize(self.uuid, timeout=0)
        self.restart()
        self.assertEqual(before, self.driver.show(self.uuid).guest)

    def test_name_that_no_guest_can_have_is_shown_and_named_with_the_remedy(self) -> None:
        too_long = f"{self.uuid[:3]}{'🙂' * 17}"  # in paths of sockets
        for name in (f"-{self.name}", f".{self.name}", "x" * 200, str(uuid.uuid4()), too_long):
            with self.subTest(name):
                self.rename(name)
                self.assertEqual({name}, self.names())
                finding = self.findings(repair=True)["unusable name"]
                self.assertEqual((self.uuid, False), (finding.subject, finding.repaired))
                self.assertIn(f"domrename' gives domain {self.uuid} another", finding.detail)
                for verb in self.verbs():
                    with self.assertRaisesRegex(exceptions.InvalidParameter, "domrename"):
                        verb()
                self.driver.stop(self.uuid, timeout=0)
                self.assertEqual(self.uuid, self.driver.find(self.uuid))
                self.rename(self.name)
        self.restart()

    def verbs(self) -> Iterator[Callable[[], object]]:
        guest = dataclasses.replace(self.made, memory_mib=24)
        yield lambda: self.driver.start(self.uuid)
        yield lambda: self.driver.reboot(self.uuid, kind=RebootKind.HARD)
        yield lambda: self.driver.resize(self.uuid, guest, timeout=0)
        yield lambda: self.driver.attach_interface(self.uuid, Interface())
        yield lambda: self.driver.unrescue(self.uuid)

    def test_suspended_guest_resumes_or_is_not_renamed(self) -> None:
        self.driver.start(self.uuid)
        self.driver.suspend(self.uuid)
        with contextlib.suppress(libvirt.libvirtError):  # libvirt 9.0 refuses
            self.rename(self.name)
        self.driver.resume(self.uuid)
        self.assertIs(PowerState.RUNNING, self.driver.state(self.uuid))

    def test_guest_with_such_a_name_is_destroyed(self) -> None:
        self.rename(f"-{self.name}")
        self.driver.destroy(self.uuid)
        self.assertEqual((), self.driver.audit())


class UndefinedTest(IdentityTestCase):
    def test_guest_that_runs_stays(self) -> None:
        self.domain.undefine()
        self.assertEqual({self.made.name}, self.names())
        finding = self.findings()["undefined guest"]
        self.assertEqual((self.uuid, False), (finding.subject, finding.repaired))
        self.restart()
        self.assertEqual((), self.driver.audit())
        self.assertEqual(self.made, self.driver.show(self.uuid).guest)

    def test_repair_defines_a_guest_that_runs(self) -> None:
        self.domain.undefine()
        self.assertTrue(self.findings(repair=True)["undefined guest"].repaired)
        self.assertTrue(self.domain.isPersistent())
        self.assertEqual((), self.driver.audit())

    def test_every_operation_defines_a_guest_that_runs(self) -> None:
        for operation in (self.driver.pause, self.driver.resume, self.driver.suspend):
            self.domain.undefine()
            operation(self.uuid)
            self.assertTrue(self.domain.isPersistent())
        self.driver.resume(self.uuid)

    def end(self) -> None:
        """Undefine a guest that runs, and wait for its end, which no operation causes."""
        with self.driver._parts.connection.watch(self.uuid) as watch:
            self.domain.undefine()
            self.domain.destroy()
            self.assertIsNotNone(watch.wait({events.STOPPED}, time.monotonic() + END_SECONDS))

    def test_guest_with_an_overlay_that_is_not_described_is_refused(self) -> None:
        self.domain.snapshotCreateXML(
            "<domainsnapshot><name>backup</name></domainsnapshot>",
            libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY,
        )
        overlay = base.state_path() / "instances" / self.uuid / "root.backup"
        self.assertTrue(overlay.exists())
        self.domain.destroy()
        self.domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA)
        with self.assertRaisesRegex(exceptions.DiskUnusable, f"qemu-img commit -f qcow2 {overlay}"):
            self.driver.start(self.uuid)
        self.assertEqual((), self.driver.list())
        overlay.unlink()
        self.driver.start(self.uuid)
        self.assertEqual({self.made.name}, self.names())

    def test_guest_that_ended_comes_back(self) -> None:
        self.end()
        self.assertEqual(set(), self.names())
        for repair in (False, True):
            finding = self.findings(repair=repair)["undefined guest"]
            self.assertEqual((str(self.directory), False), (finding.subject, finding.repaired))
            self.assertIn(f"start {self.uuid}", finding.detail)
        self.driver.start(self.driver.find(self.uuid))
        self.assertIs(PowerState.RUNNING, self.driver.state(self.uuid))
        self.assertEqual(self.made, self.driver.show(self.uuid).guest)
        self.assertEqual((), self.driver.audit())

    def test_hard_reboot_brings_it_back(self) -> None:
        self.end()
        self.driver.reboot(self.uuid, kind=RebootKind.HARD)
        self.assertIs(PowerState.RUNNING, self.driver.state(self.uuid))

    def test_guest_that_was_off_comes_back_as_it_was_last(self) -> None:
        self.driver.stop(self.uuid, timeout=0)
        nic = Interface()
        self.driver.attach_interface(self.uuid, nic)
        self.domain.undefine()
        self.driver.start(self.uuid)
        (kept,) = self.driver.show(self.uuid).guest.interfaces
        self.assertEqual(nic.mac, kept.mac)

    def test_guest_is_destroyed_for_good(self) -> None:
        self.end()
        self.driver.destroy(self.driver.find(self.uuid))
        self.assertEqual((), self.driver.audit())
        with self.assertRaises(exceptions.GuestNotFound):
            self.driver.start(self.uuid)

    def test_guest_that_runs_is_destroyed_with_its_logs(self) -> None:
        self.domain.undefine()
        self.driver.destroy(self.uuid)
        self.assertEqual((), self.driver.audit())

    def test_name_that_another_guest_has_meanwhile_is_refused(self) -> None:
        self.end()
        other = self.spawn_tiny(name=self.made.name)
        with self.assertRaisesRegex(exceptions.GuestExists, f"{self.made.name}.*domrename"):
            self.driver.start(self.uuid)
        self.driver.destroy(other.uuid)
        self.driver.start(self.uuid)

    def test_its_uuid_is_taken(self) -> None:
        self.end()
        with self.assertRaisesRegex(exceptions.GuestExists, "audit"):
            self.driver.spawn(tiny.guest(uuid=self.uuid))


class ClonedTest(IdentityTestCase):
    """Another client defines a domain with a guest's metadata, under another UUID."""

    def test_clone_is_left_alone_even_without_its_original(self) -> None:
        clone = etree.fromstring(self.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        number, name = str(uuid.uuid4()), f"clone-{self.uuid[:8]}"
        for path, text in (
            ("uuid", number),
            ("name", name),
            ("sysinfo/system/entry[@name='uuid']", number),
        ):
            for found in clone.iterfind(path):
                found.text = text
        domain = self.connection.defineXML(etree.tostring(clone, encoding="unicode"))
        self.addCleanup(domain.undefine)
        for _twice in range(2):
            self.assertNotIn(name, self.names())
            self.assertEqual((), self.driver.audit(repair=True))
            self.driver.destroy(number)
            self.driver.destroy(self.uuid)
        self.assertIn(name, [domain.name() for domain in self.connection.listAllDomains()])


class CopiedDirectoryTest(IdentityTestCase):
    """An operator copies a guest's directory to the name of another UUID."""

    def test_it_is_named_and_takes_nothing_from_the_guest(self) -> None:
        number = str(uuid.uuid4())
        copy = self.directory.with_name(number)
        shutil.copytree(self.directory, copy)
        self.addCleanup(shutil.rmtree, copy)
        (finding,) = self.driver.audit(repair=True)
        self.assertEqual((str(copy), False), (finding.subject, finding.repaired))
        with self.assertRaisesRegex(exceptions.MetadataDamaged, str(copy)):
            self.driver.start(number)
        self.assertEqual({self.made.name}, self.names())


class UndescribedTest(IdentityTestCase):
    """Another client has removed the driver's metadata."""

    def undescribe(self) -> None:
        live = libvirt.VIR_DOMAIN_AFFECT_LIVE if self.domain.isActive() else 0
        self.domain.setMetadata(
            libvirt.VIR_DOMAIN_METADATA_ELEMENT,
            None,
            None,
            metadata.NAMESPACE,
            live | libvirt.VIR_DOMAIN_AFFECT_CONFIG,
        )

    def assert_repaired(self, state: PowerState) -> None:
        self.undescribe()
        self.assertEqual(set(), self.names())
        for name in (self.uuid, self.made.name):
            with self.assertRaisesRegex(exceptions.GuestNotFound, "see 'audit'"):
                self.driver.find(name)
        finding = self.findings()["undescribed guest"]
        self.assertEqual((self.uuid, False), (finding.subject, finding.repaired))
        self.assertIn("audit --repair", finding.detail)
        self.driver.destroy(self.uuid)  # nothing, for a domain of others
        self.assertTrue(self.findings(repair=True)["undescribed guest"].repaired)
        self.assertEqual((), self.driver.audit())
        self.assertEqual(self.made, self.driver.show(self.uuid).guest)
        self.assertIs(state, self.driver.state(self.uuid))

    def test_guest_that_runs_gets_it_back(self) -> None:
        self.assert_repaired(PowerState.RUNNING)
        self.restart()

    def test_guest_that_is_off_gets_it_back(self) -> None:
        self.driver.stop(self.uuid, timeout=0)
        self.assert_repaired(PowerState.STOPPED)
        self.restart()

    def test_renamed_guest_gets_it_back(self) -> None:
        self.driver.stop(self.uuid, timeout=0)
        self.undescribe()
        self.domain.rename(f"renamed-{self.uuid[:8]}")
        self.driver.audit(repair=True)
        self.assertEqual({f"renamed-{self.uuid[:8]}"}, self.names())
        self.restart()

    def test_description_that_is_lost_or_damaged_is_named(self) -> None:
        description = self.directory / ".domain.xml"
        before = description.read_text()
        self.undescribe()
        description.write_text(before.replace("{", "", 1))
        finding = self.findings(repair=True)["undescribed guest"]
        self.assertFalse(finding.repaired)
        self.assertIn(f"{description} does not describe guest {self.uuid}", finding.detail)
        description.write_text(before)
        self.assertTrue(self.findings(repair=True)["undescribed guest"].repaired)
        self.restart()

    def test_undefined_guest_that_runs_gets_both_back(self) -> None:
        self.domain.setMetadata(
            libvirt.VIR_DOMAIN_METADATA_ELEMENT,
            None,
            None,
            metadata.NAMESPACE,
            libvirt.VIR_DOMAIN_AFFECT_LIVE,
        )
        self.domain.undefine()
        self.driver.audit(repair=True)
        self.driver.audit(repair=True)
        self.assertTrue(self.domain.isPersistent())
        self.assertEqual((), self.driver.audit())


class InterruptedRemovalTest(IdentityTestCase):
    """A removal fails after the power-off; another client has changed the domain before."""

    def remove_twice(self) -> None:
        def fail(step: str) -> None:
            if step == "guest powered off":
                raise exceptions.HostError(step)

        with steps.announced_to(fail), self.assertRaises(exceptions.HostError):
            self.driver.destroy(self.uuid)
        self.assertTrue(self.directory.exists())
        self.driver.destroy(self.uuid)
        self.assertFalse(self.directory.exists())
        with self.assertRaises(libvirt.libvirtError):
            _ = self.domain
        self.assertEqual((), self.driver.audit())

    def test_undefined_guest(self) -> None:
        self.domain.undefine()
        self.remove_twice()

    def test_guest_without_metadata_or_with_useless_metadata(self) -> None:
        kind, later = libvirt.VIR_DOMAIN_METADATA_ELEMENT, libvirt.VIR_DOMAIN_AFFECT_CONFIG
        for text in (None, "<guest/>"):
            with self.subTest(text):
                self.domain.setMetadata(kind, text, metadata.PREFIX, metadata.NAMESPACE, later)
                self.remove_twice()
            self.uuid = self.spawn_tiny().uuid


class DamagedTest(IdentityTestCase):
    """Another client has edited the driver's metadata, which nobody can read now."""

    LIVE, LATER = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG

    def damage(self, *flags: int) -> None:
        for flag in flags:
            kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
            text = self.domain.metadata(kind, metadata.NAMESPACE, flag)
            broken = text.replace("{", "", 1)
            self.domain.setMetadata(kind, broken, metadata.PREFIX, metadata.NAMESPACE, flag)

    def test_audit_repairs_it(self) -> None:
        for flags in ([self.LATER], [self.LIVE], [self.LIVE, self.LATER]):
            self.damage(*flags)
            finding = self.findings()["damaged guest"]
            self.assertEqual((self.uuid, False), (finding.subject, finding.repaired))
            self.assertIn("audit --repair", finding.detail)
            self.assertTrue(self.findings(repair=True)["damaged guest"].repaired)
            self.assertEqual((), self.driver.audit())
        self.restart()
        self.assertEqual(self.made, self.driver.show(self.uuid).guest)

    def test_next_operation_repairs_it(self) -> None:
        self.damage(self.LIVE, self.LATER)
        self.restart()
        self.damage(self.LATER)
        self.driver.stop(self.uuid, timeout=0)
        self.assertEqual(self.made, self.driver.show(self.uuid).guest)
        self.assertEqual((), self.driver.audit())

    def test_undefined_guest_keeps_its_description(self) -> None:
        self.damage(self.LIVE)
        self.domain.undefine()
        self.driver.stop(self.uuid, timeout=0)
        self.assertEqual(self.made, self.driver.show(self.uuid).guest)
        self.assertEqual((), self.driver.audit())

    def test_guest_is_removed_even_if_nothing_repairs_it(self) -> None:
        self.damage(self.LIVE, self.LATER)
        repair = mock.patch.object(
            self.driver._parts.ownership, "describe_again", side_effect=tiny.libvirt_error()
        )
        with repair as failing, self.assertLogs("compute_driver", "WARNING") as logs:
            self.driver.destroy(self.uuid)
        failing.assert_called_once()
        self.assertIn("is removed as its domain is", "".join(logs.output))
        self.assertFalse(self.directory.exists())
        self.assertEqual((), self.driver.audit())

    def test_metadata_of_another_guest(self) -> None:
        another = self.spawn_tiny()
        kind, client = libvirt.VIR_DOMAIN_METADATA_ELEMENT, self.domain.connect()
        copied = client.lookupByUUIDString(another.uuid).metadata(kind, metadata.NAMESPACE)
        own = self.domain.metadata(kind, metadata.NAMESPACE)
        both = self.LIVE | self.LATER
        for name, text in (
            ("whole", copied),
            ("its UUID only", own.replace(f'"uuid": "{self.uuid}"', f'"uuid": "{another.uuid}"')),
        ):
            self.assertNotEqual(own, text)
            for flags in (self.LIVE, self.LATER, both):
                with self.subTest(name, flags=flags):
                    self.domain.setMetadata(kind, text, metadata.PREFIX, metadata.NAMESPACE, flags)
                    (finding,) = self.driver.audit()
                    self.assertIn("audit --repair", finding.detail)
                    (finding,) = self.driver.audit(repair=True)
                    self.assertTrue(finding.repaired)
                    self.assertEqual((), self.driver.audit())
                    self.restart()
                    self.assertEqual(self.made, self.driver.show(self.uuid).guest)

    def test_without_an_intact_description_the_damage_is_named(self) -> None:
        self.damage(self.LIVE, self.LATER)
        description = self.directory / ".domain.xml"
        description.unlink()
        finding = self.findings(repair=True)["damaged guest"]
        self.assertFalse(finding.repaired)
        self.assertIn(str(description), finding.detail)
        with self.assertRaisesRegex(exceptions.MetadataDamaged, "see 'audit'"):
            self.driver.reboot(self.uuid, kind=RebootKind.HARD)
        self.assertIs(PowerState.RUNNING, self.driver.state(self.uuid))
