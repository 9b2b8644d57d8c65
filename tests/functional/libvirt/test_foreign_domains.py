# SPDX-License-Identifier: Apache-2.0
"""Domains that others made in the same libvirt are none of the driver's business."""

from __future__ import annotations

import uuid

import libvirt

from compute_driver import exceptions
from compute_driver.choices import PowerState
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
        """Start a domain behind the driver's back.

        :param directory: what damaged metadata in our namespace name; None means no metadata.
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
        # As after somebody has defined one of our guests anew, without its metadata.
        directory = base.state_path() / "instances" / self.plain.UUIDString()
        directory.mkdir()
        self.addCleanup(directory.rmdir)
        for repair in (False, True):
            (finding,) = self.driver.audit(repair=repair)
            self.assertEqual((str(directory), False), (finding.subject, finding.repaired))
        self.driver.destroy(self.plain.UUIDString())
        self.assertTrue(directory.is_dir())


class TestDamagedMetadata(ForeignTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.damaged = self.start("damaged", directory=f"{base.state_path()}/instances")

    def test_other_guests_are_listed_and_counted(self) -> None:
        (info,) = self.driver.list()
        self.assertEqual((self.neighbour.uuid, PowerState.RUNNING), (info.guest.uuid, info.state))
        self.assertIn(self.neighbour.uuid, [stats.uuid for stats in self.driver.stats()])

    def test_its_verbs_say_what_is_wrong(self) -> None:
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
