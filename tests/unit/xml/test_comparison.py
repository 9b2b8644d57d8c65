# SPDX-License-Identifier: Apache-2.0
"""Values of other clients are told from this driver's values, and from libvirt's defaults."""

from __future__ import annotations

import unittest

from lxml import etree

from compute_driver.guest import MIB, Disk
from compute_driver.xml import carrying, comparison, present
from compute_driver.xml.present import Present
from tests.unit.xml.base import DIRECTORY, as_text, guest
from tests.unit.xml.cases import CASES

#: What libvirt adds by itself.
DEFAULTS = "<controller type='usb' index='5'/><audio id='1' type='none'/>"


def as_libvirt(xml: str) -> etree._Element:
    """Return a domain with units and defaults of libvirt's."""
    domain = etree.fromstring(xml)
    memory, devices = domain.find("memory"), domain.find("devices")
    assert memory is not None
    assert devices is not None
    if memory.get("unit") == "MiB":
        memory.text, memory.attrib["unit"] = str(int(memory.text or 0) * 1024), "KiB"
    if domain.find("devices/audio") is None:
        devices.extend(etree.fromstring(f"<d>{DEFAULTS}</d>"))
    return domain


class ComparisonTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.written = as_text(guest())
        made = as_libvirt(self.written)
        self.note = comparison.note(self.written, [], text(made), 9)
        self.domain = made

    def present(self) -> Present:
        found = present.read(text(self.domain), None, DIRECTORY, lambda: self.note)
        assert found is not None
        return found

    def add(self, place: str, xml: str) -> None:
        (parent,) = self.domain.xpath(place)
        parent.append(etree.fromstring(xml))

    def remove(self, device: str) -> None:
        (element,) = self.domain.xpath(f"devices/{device}")
        element.getparent().remove(element)

    def define(self, xml: str | None = None) -> str:
        """Define the domain that the driver carries the changes to."""
        domain, self.lost = carrying.carry(xml or self.written, self.present())
        described, carried = comparison.split(domain)
        self.domain = as_libvirt(described)
        self.note = comparison.note(described, carried, text(self.domain), 9)
        return described

    def differences(self) -> tuple[tuple[str, ...], ...]:
        found = carrying.differences(self.present())
        return found.added, found.changed, found.decided, found.removed

    def test_untouched_guests_of_every_kind_have_no_difference(self) -> None:
        for name, case in CASES.items():
            with self.subTest(name):
                self.written = as_text(*case)
                self.domain = as_libvirt(self.written)
                self.note = comparison.note(self.written, [], text(self.domain), 9)
                for _ in range(2):
                    self.assertEqual(((), (), (), ()), self.differences())
                    self.assertEqual(
                        set(comparison.values(etree.fromstring(self.written))),
                        set(comparison.values(etree.fromstring(self.define()))),
                    )
                self.note = None
                domain = present.read(text(self.domain), None, DIRECTORY)
                assert domain is not None
                found = carrying.differences(domain)
                self.assertEqual(((), ()), (found.added, found.changed))

    def test_added_and_changed_values_stay_through_definitions(self) -> None:
        self.add("devices", "<sound model='ac97'/>")
        self.add(".", "<blkiotune><weight>300</weight></blkiotune>")
        self.add("devices/disk[serial='root']", "<shareable/>")
        self.domain.find("on_crash").text = "restart"
        self.domain.find("devices/audio").set("type", "alsa")
        expected = (
            ("devices/audio@type", "on_crash"),
            ("blkiotune", "devices/disk[root]/shareable", "devices/sound"),
        )
        for _ in range(3):
            added, changed, decided, removed = self.differences()
            self.assertEqual(expected, (tuple(sorted(changed)), tuple(sorted(added))))
            self.assertEqual(((), ()), (decided, removed))
            described = self.define()
        self.assertEqual("restart", etree.fromstring(described).findtext("on_crash"))
        self.assertEqual("alsa", self.domain.find("devices/audio").get("type"))

    def test_watchdogs_are_told_apart_by_their_model(self) -> None:
        self.add("devices", "<watchdog model='itco' action='reset'/>")  # libvirt 11 does so
        self.note = comparison.note(self.written, [], text(self.domain), 9)
        other = etree.fromstring("<watchdog model='i6300esb' action='poweroff'/>")
        self.domain.find("devices").insert(0, other)
        expected = (("devices/watchdog[i6300esb]",), (), (), ())
        self.assertEqual(expected, self.differences())

    def test_change_that_another_client_undoes_goes(self) -> None:
        self.add("devices", "<sound model='ac97'/>")
        self.domain.find("on_crash").text = "restart"
        self.define()
        self.domain.find("on_crash").text = "destroy"
        devices = self.domain.find("devices")
        devices.remove(devices.find("sound"))
        self.assertEqual(((), (), (), ()), self.differences())
        described = etree.fromstring(self.define())
        self.assertEqual("destroy", described.findtext("on_crash"))
        self.assertIsNone(described.find("devices/sound"))

    def test_value_that_the_driver_changes_now_is_the_drivers(self) -> None:
        self.domain.find("on_crash").text = "restart"
        described = self.define(self.written.replace("<on_crash>destroy", "<on_crash>preserve"))
        self.assertEqual(("on_crash",), self.lost)
        self.assertIn("<on_crash>preserve", described)

    def test_what_the_driver_decides_comes_back(self) -> None:
        self.add("os", "<bootmenu enable='yes'/>")
        self.domain.set("type", "kvm")
        self.domain.find("devices/emulator").text = "/other"
        self.domain.remove(self.domain.find("on_reboot"))
        _, _, decided, removed = self.differences()
        self.assertEqual({"os/bootmenu", "@type", "devices/emulator"}, {*decided})
        self.assertEqual(("on_reboot",), removed)
        described = self.define()
        self.assertEqual(self.written.split(), described.split())

    def test_device_that_the_driver_removes_does_not_come_back(self) -> None:
        self.add("devices/interface", "<link state='down'/>")
        described = etree.fromstring(self.define(as_text(guest(interfaces=()))))
        self.assertIsNone(described.find("devices/interface"))

    def test_serial_port_comes_back_that_another_client_removes_between_others(self) -> None:
        self.written = as_text(guest(serial_ports=3))
        self.domain = as_libvirt(self.written)
        self.note = comparison.note(self.written, [], text(self.domain), 9)
        self.remove("serial[target/@port='1']")
        self.assertEqual(((), (), (), ("devices/serial[1]",)), self.differences())
        self.assertEqual(self.written.split(), self.define().split())

    def test_device_of_another_client_goes_that_this_client_removes_before_others(self) -> None:
        for number in "1234":
            self.add("devices", f"<filesystem><target dir='{number}'/></filesystem>")
            self.add("devices", f"<serial type='null'><target port='{number}'/></serial>")
        self.define()
        self.remove("filesystem[target/@dir='2']")
        self.remove("serial[target/@port='2']")
        for _ in range(2):
            described = etree.fromstring(self.define())
            self.assertEqual([*"134"], described.xpath("devices/filesystem/target/@dir"))
            self.assertEqual([*"0134"], described.xpath("devices/serial/target/@port"))

    def test_own_disk_gives_way_to_the_name_of_an_added_disk(self) -> None:
        self.add("devices", "<disk type='file'><source file='/x'/><target dev='vdb'/></disk>")
        swap = as_text(guest(swap=Disk(size_bytes=MIB)))
        for _ in range(2):
            described = etree.fromstring(self.define(swap))
            names = {
                disk.findtext("serial"): disk.find("target").get("dev")
                for disk in described.iterfind("devices/disk")
            }
            self.assertEqual({"root": "vda", None: "vdb", "swap": "vdc"}, names)

    def test_order_of_boot_and_alias_of_an_added_device(self) -> None:
        for order, alias, kept in (("1", "virtio-disk9", 0), ("9", "ua-mine", 1)):
            self.setUp()
            parts = f"<target dev='vdz'/><boot order='{order}'/><alias name='{alias}'/>"
            self.add("devices", f"<disk type='file'>{parts}</disk>")
            described = etree.fromstring(self.define())
            (disk,) = described.xpath("devices/disk[target/@dev='vdz']")
            self.assertEqual((kept, kept), (len(disk.findall("boot")), len(disk.findall("alias"))))


def text(domain: etree._Element) -> str:
    return etree.tostring(domain, encoding="unicode")
