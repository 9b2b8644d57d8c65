# SPDX-License-Identifier: Apache-2.0
"""What another client has changed in a domain is found, and kept in the next domain."""

from __future__ import annotations

import copy
import dataclasses
import unittest
from collections.abc import Callable
from pathlib import Path

from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import DiskBus, DiskFormat
from compute_driver.guest import Disk, Guest, Rescue
from compute_driver.storage.source import FileSource
from compute_driver.xml import carrying, present
from tests.unit.xml.base import DIRECTORY, IMAGE, as_text, guest, hardware, layout, nic

Change = Callable[[etree._Element], object]

DATA = (
    "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/data'/>"
    "<target dev='vda' bus='virtio'/><boot order='1'/><alias name='virtio-disk9'/>"
    "<address type='pci' domain='0x0' bus='0x9' slot='0x0' function='0x0'/></disk>"
)


class PresentTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.made = guest()
        self.plan = layout(self.made, hardware(self.made))

    def xml(self, change: Change | None = None, made: Guest | None = None) -> str:
        domain = etree.fromstring(as_text(made or self.made))
        for tag in ("memory", "vcpu"):  # as libvirt writes it
            element = domain.find(tag)
            if element is not None and tag == "memory":
                element.text, element.attrib["unit"] = str(int(element.text or 0) * 1024), "KiB"
        if change is not None:
            change(domain)
        return etree.tostring(domain, encoding="unicode")

    def read(
        self, change: Change | None = None, live: Change | None = None, at: Path = DIRECTORY
    ) -> present.Present:
        running = None if live is None else self.xml(live)
        found = present.read(self.xml(change), running, at)
        assert found is not None
        return found

    def root(self, found: present.Present) -> FileSource:
        disk = present.located(self.plan, found).disk("root")
        assert disk is not None
        return disk.source

    def carried(self, change: Change, made: Guest | None = None) -> etree._Element:
        built = as_text(made or self.made)
        return etree.fromstring(carrying.carry(built, self.read(change))[0])

    def test_domain_without_a_change_has_the_planned_disks(self) -> None:
        found = self.read(live=nothing)
        self.assertEqual(self.plan, present.located(self.plan, found))
        self.assertEqual(([], self.made), (found.added_disks, found.guest))

    def test_domain_of_another_program(self) -> None:
        self.assertIsNone(present.read("<domain><name>x</name></domain>", None, DIRECTORY))

    def test_disk_is_where_the_domain_has_it(self) -> None:
        overlay = FileSource(path=DIRECTORY / "root.backup", format=DiskFormat.QCOW2)
        self.assertEqual(overlay, self.root(self.read(moved(overlay.path))))
        raw = FileSource(path=Path("/data"), format=DiskFormat.RAW)
        self.assertEqual(raw, self.root(self.read(moved(raw.path, "raw"))))

    def test_disk_of_the_domain_that_runs_comes_first(self) -> None:
        found = self.read(moved(Path("/next")), live=moved(Path("/now")))
        self.assertEqual(Path("/now"), self.root(found).path)

    def test_disk_moves_with_the_directory(self) -> None:
        found = self.read(moved(DIRECTORY / "root.backup"), at=Path("/new"))
        self.assertEqual(Path("/new/root.backup"), self.root(found).path)
        self.assertEqual(Path("/data"), self.root(self.read(moved(Path("/data")))).path)

    def test_unusable_places_are_refused_by_name(self) -> None:
        for change, words in (
            (moved(Path("/disk.vmdk"), "vmdk"), "file /disk.vmdk (format vmdk)"),
            (to_device, "block /dev/vg/lv (format qcow2)"),
        ):
            with self.subTest(words), self.assertRaises(exceptions.DiskUnusable) as caught:
                self.root(self.read(change))
            for word in (words, "root disk", f"{DIRECTORY}/root.qcow2", "blockcopy"):
                self.assertIn(word, str(caught.exception))

    def test_memory_and_processors(self) -> None:
        found = self.read(sized(memory=1024 * 1024 + 1, vcpu=4)).guest
        self.assertEqual((1025, 4), (found.memory_mib, found.vcpus))
        current = self.carried(sized(memory=512 * 1024, currentMemory=256 * 1024))
        self.assertEqual(str(256 * 1024), current.findtext("currentMemory"))
        larger = dataclasses.replace(self.made, memory_mib=2048)
        other = self.carried(sized(memory=512 * 1024, currentMemory=256 * 1024), larger)
        self.assertIsNone(other.find("currentMemory"))

    def test_added_disk_has_a_free_name_and_no_place(self) -> None:
        domain = self.carried(added(DATA))
        (disk,) = domain.iterfind("devices/disk/source[@file='/data']/..")
        self.assertEqual(
            ["driver", "source", "target"], [child.tag for child in disk if child.tag != "x"]
        )
        names = [target.get("dev") for target in domain.iterfind("devices/disk/target")]
        self.assertEqual(len(names), len(set(names)))

    def test_disk_of_another_client_is_not_the_guests_by_its_alias(self) -> None:
        for device in ("disk", "cdrom", "floppy"):
            with self.subTest(device):
                found = self.read(
                    added(
                        f"<disk type='file' device='{device}'><source file='/data'/>"
                        "<target dev='fda'/><alias name='ua-root'/></disk>"
                    )
                )
                self.assertEqual([Path("/data")], found.added_files)
                self.assertEqual(self.plan, present.located(self.plan, found))

    def test_disk_of_another_client_is_not_the_guests_by_its_serial_number(self) -> None:
        for serial in ("root", "ephemeral0"):
            for place in (0, -1):
                with self.subTest(serial=serial, place=place):
                    stranger = copied(serial, place)
                    found = self.read(stranger, stranger)
                    self.assertEqual(["root"], [*found.disks])
                    self.assertEqual([Path("/data")] * 2, found.added_files)
                    self.assertEqual(self.plan, present.located(self.plan, found))
                    domain = self.carried(stranger)
                    found_targets = domain.xpath("devices/disk[source/@file='/data']/target/@dev")
                    self.assertEqual(["sdz"], found_targets)

    def test_domain_of_an_earlier_release_has_its_disks_by_their_serial_numbers(self) -> None:
        def without_aliases(domain: etree._Element) -> None:
            for alias in domain.xpath("devices/disk[@device='disk']/alias"):
                alias.getparent().remove(alias)

        rescued = guest(rescue=Rescue(image=IMAGE, bus=DiskBus.FDC))
        found = present.read(self.xml(without_aliases, rescued), None, DIRECTORY)
        assert found is not None
        self.assertEqual(([], {"root", "rescue"}), (found.added_disks, {*found.disks}))

    def test_disk_of_another_client_with_the_serial_number_of_an_earlier_release_is_added(
        self,
    ) -> None:
        def copied(domain: etree._Element) -> None:
            for alias in domain.xpath("devices/disk/alias"):
                alias.getparent().remove(alias)
            own = domain.find("devices/disk")
            other = copy.deepcopy(own)
            other.find("source").set("file", "/srv/other.qcow2")
            own.addnext(other)

        found = present.read(self.xml(copied), None, DIRECTORY)
        assert found is not None
        self.assertEqual([Path("/srv/other.qcow2")], found.added_files)
        self.assertNotIn("/srv/other.qcow2", found.disks["root"].words)

    def test_rescue_floppy_is_the_guests(self) -> None:
        rescued = guest(rescue=Rescue(image=IMAGE, bus=DiskBus.FDC))
        found = present.read(self.xml(made=rescued), None, DIRECTORY)
        assert found is not None
        self.assertEqual(([], {"root", "rescue"}), (found.added_disks, {*found.disks}))

    def test_added_scsi_controller_stays_unless_the_driver_writes_it(self) -> None:
        own = dataclasses.replace(self.made, root=Disk(size_bytes=512, bus=DiskBus.SCSI))
        for made, index, models in (
            (self.made, "0", ["lsisas1068"]),
            (own, "0", ["virtio-scsi"]),
            (own, "1", ["virtio-scsi", "lsisas1068"]),
        ):
            with self.subTest(index=index, models=models):
                domain = self.carried(on_scsi(index), made)
                found = domain.iterfind("devices/controller[@type='scsi']")
                self.assertEqual(models, [controller.get("model") for controller in found])
                (disk,) = domain.iterfind("devices/disk/source[@file='/data']/..")
                self.assertEqual("lsisas1068" in models, disk.find("address") is not None)

    def test_unused_scsi_controller_goes(self) -> None:
        domain = self.carried(added("<controller type='scsi' index='3' model='lsilogic'/>"))
        self.assertIsNone(domain.find("devices/controller[@type='scsi']"))

    def test_added_interface_stays_and_a_detached_one_goes(self) -> None:
        xml = "<interface type='user'><mac address='52:54:00:00:00:77'/></interface>"
        domain = self.carried(added(xml), dataclasses.replace(self.made, interfaces=(nic(2),)))
        macs = {mac.get("address") for mac in domain.iterfind("devices/interface/mac")}
        self.assertEqual({"52:54:00:00:00:77", nic(2).mac}, macs)

    def test_words_of_other_clients_stay(self) -> None:
        def write(domain: etree._Element) -> None:
            domain.append(etree.fromstring("<title>t</title>"))
            metadata = domain.find("metadata")
            assert metadata is not None
            metadata.append(etree.fromstring("<o:note xmlns:o='urn:other'>n</o:note>"))

        domain = self.carried(write)
        self.assertEqual("t", domain.findtext("title"))
        self.assertEqual("n", domain.findtext("metadata/{urn:other}note"))
        self.assertEqual(2, len(domain.findall("metadata/*")))


def nothing(_domain: etree._Element) -> None:
    pass


def moved(path: Path, written: str = "qcow2") -> Change:
    def change(domain: etree._Element) -> None:
        (disk,) = domain.xpath("devices/disk[serial='root']")
        disk.find("source").set("file", str(path))
        disk.find("driver").set("type", written)

    return change


def copied(serial: str, place: int) -> Change:
    """Return a change that adds a disk with another disk's serial number."""

    def change(domain: etree._Element) -> None:
        devices = domain.find("devices")
        assert devices is not None
        xml = DATA.replace("</disk>", f"<serial>{serial}</serial></disk>").replace("vda", "sdz")
        devices.insert(place if place >= 0 else len(devices), etree.fromstring(xml))

    return change


def to_device(domain: etree._Element) -> None:
    (disk,) = domain.xpath("devices/disk[serial='root']")
    disk.set("type", "block")
    disk.replace(disk.find("source"), etree.fromstring("<source dev='/dev/vg/lv'/>"))


def added(xml: str) -> Change:
    def change(domain: etree._Element) -> None:
        devices = domain.find("devices")
        assert devices is not None
        devices.append(etree.fromstring(xml))

    return change


def on_scsi(index: str) -> Change:
    place = f"<address type='drive' controller='{index}' bus='0' target='4' unit='0'/>"

    def change(domain: etree._Element) -> None:
        added(f"<controller type='scsi' index='{index}' model='lsisas1068'/>")(domain)
        disk = f"<source file='/data'/><target dev='sda' bus='scsi'/>{place}"
        added(f"<disk type='file' device='disk'>{disk}</disk>")(domain)

    return change


def sized(**values: int) -> Change:
    def change(domain: etree._Element) -> None:
        for tag, value in values.items():
            element = domain.find(tag)
            if element is None:
                element = etree.SubElement(domain, tag)
            element.text = str(value)

    return change
