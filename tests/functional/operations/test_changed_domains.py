# SPDX-License-Identifier: Apache-2.0
"""Another client of the same libvirt adds devices to a guest, and changes its sizes and words."""

from __future__ import annotations

from unittest import mock

import libvirt
from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import PowerState, RebootKind
from compute_driver.guest import MIB, Image, Interface, Rescue
from compute_driver.operations.base import interfaces
from tests.functional import tiny
from tests.functional.other_client import LATER, OtherClientTestCase


class TestDescription(OtherClientTestCase):
    """Other devices, sizes and words, which the guest keeps."""

    def setUp(self) -> None:
        super().setUp()
        self.made = self.spawn_tiny(interfaces=(Interface(),))

    def kinds(self) -> list[str]:
        return [finding.kind for finding in self.driver.audit()]

    def rebuild(self) -> etree._Element:
        """Build the domain anew in every way, and return it."""
        image = self.home / "rescue"
        image.write_bytes(bytes(MIB))
        self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        self.driver.rescue(self.made.uuid, Rescue(image=Image(location=str(image))), timeout=0)
        self.driver.unrescue(self.made.uuid)
        self.driver.attach_interface(self.made.uuid, Interface())
        self.driver.stop(self.made.uuid, timeout=0)
        self.driver.start(self.made.uuid)
        inactive = libvirt.VIR_DOMAIN_XML_INACTIVE
        return etree.fromstring(self.domain(self.made).XMLDesc(inactive))

    def test_added_devices_stay(self) -> None:
        mac = "52:54:00:00:00:99"
        self.attach_disk(self.made)
        source, target = f"<source dir='{self.home}'/>", "<target dir='share'/>"
        for xml in (
            f"<interface type='user'><mac address='{mac}'/><model type='e1000e'/></interface>",
            f"<filesystem type='mount'>{source}{target}</filesystem>",
        ):
            self.domain(self.made).attachDeviceFlags(xml, LATER)
        self.assertEqual(["added device"] * 3, self.kinds())
        domain = self.rebuild()
        self.assertEqual(1, len(domain.xpath(f"devices/interface[mac/@address='{mac}']")))
        (added,) = domain.xpath("devices/disk[not(serial)]/source/@file")
        self.assertEqual(str(self.home / f"{self.made.uuid}.data"), added)
        self.assertEqual(["added device"] * 3, self.kinds())
        self.driver.resize(self.made.uuid, self.made, timeout=0)
        self.driver.confirm_resize(self.made.uuid)
        self.assertEqual(["added device"] * 3, self.kinds())
        (interface,) = etree.fromstring(self.domain(self.made).XMLDesc()).xpath(
            f"devices/interface[mac/@address='{mac}']"
        )
        self.domain(self.made).detachDeviceFlags(
            etree.tostring(interface, encoding="unicode"), LATER
        )
        self.assertEqual(["added device"] * 2, self.kinds())

    def test_added_disk_in_the_directory_stops_a_resize(self) -> None:
        added = self.directory(self.made) / "data"
        self.attach_file(self.made, added)
        with self.assertRaisesRegex(exceptions.DiskUnusable, str(added)):
            self.driver.resize(self.made.uuid, self.made, timeout=0)
        self.assertIs(PowerState.RUNNING, self.driver.state(self.made.uuid))

    def test_added_disk_in_the_directory_stops_a_revert(self) -> None:
        added = self.directory(self.made) / "data.raw"
        for flags in (LATER, libvirt.VIR_DOMAIN_AFFECT_LIVE):
            self.driver.resize(self.made.uuid, self.made, timeout=0)
            xml = self.attach_file(self.made, added, flags)
            with self.assertRaisesRegex(exceptions.DiskUnusable, str(added)):
                self.driver.revert_resize(self.made.uuid, timeout=0)
            self.assertIs(PowerState.RUNNING, self.driver.state(self.made.uuid))
            self.assertEqual(MIB, added.stat().st_size)
            if flags == LATER:
                self.domain(self.made).detachDeviceFlags(xml, LATER)
                self.driver.revert_resize(self.made.uuid, timeout=0)

    def test_scsi_controller_of_an_added_disk_stays(self) -> None:
        added = self.home / "data"
        added.write_bytes(bytes(MIB))
        controller = "<controller type='scsi' index='1' model='virtio-scsi'/>"
        disk = (
            f"<disk type='file'><driver name='qemu' type='raw'/><source file='{added}'/><target"
            " dev='sdb' bus='scsi'/><address type='drive' controller='1' bus='0' unit='3'/></disk>"
        )
        for xml in (controller, disk):
            self.domain(self.made).attachDeviceFlags(xml, LATER)
        domain = self.rebuild()
        (place,) = domain.xpath("devices/disk[target/@bus='scsi']/address")
        self.assertEqual(("1", "3"), (place.get("controller"), place.get("unit")))
        (model,) = domain.xpath("devices/controller[@type='scsi'][@index='1']/@model")
        self.assertEqual("virtio-scsi", model)

    def test_interface_of_the_run_only_stays(self) -> None:
        self.domain(self.made).attachDeviceFlags(
            "<interface type='user'><model type='virtio'/></interface>",
            libvirt.VIR_DOMAIN_AFFECT_LIVE,
        )
        with mock.patch.object(interfaces, "let_go") as let_go:
            interfaces.mend(self.driver._parts, self.made.uuid)
        let_go.assert_not_called()

    def test_removed_interface_comes_back(self) -> None:
        domain = etree.fromstring(self.domain(self.made).XMLDesc())
        (interface,) = domain.xpath("devices/interface")
        self.domain(self.made).detachDeviceFlags(
            etree.tostring(interface, encoding="unicode"), LATER
        )
        self.assertEqual(["removed device"], self.kinds())
        self.driver.stop(self.made.uuid, timeout=0)
        self.driver.start(self.made.uuid)
        self.assertEqual([], self.kinds())

    def test_memory_and_processors_stay(self) -> None:
        domain = self.domain(self.made)
        maximum = libvirt.VIR_DOMAIN_MEM_MAXIMUM
        domain.setMemoryFlags(32 * 1024, LATER | maximum)
        domain.setMemoryFlags(24 * 1024, LATER)
        domain.setVcpusFlags(3, LATER | libvirt.VIR_DOMAIN_VCPU_MAXIMUM)
        domain.setVcpusFlags(2, LATER)
        self.assertEqual(["changed size"] * 2, self.kinds())
        xml = self.rebuild()
        self.assertEqual(("32768", "24576"), tuple(map(xml.findtext, ("memory", "currentMemory"))))
        self.assertEqual(("3", "2"), (xml.findtext("vcpu"), xml.find("vcpu").get("current")))
        stored = self.driver.show(self.made.uuid).guest
        self.assertEqual((32, 3), (stored.memory_mib, stored.vcpus))
        self.assertEqual([], self.kinds())
        self.driver.resize(self.made.uuid, self.made, timeout=0)
        xml = etree.fromstring(self.domain(self.made).XMLDesc())
        self.assertEqual(("16384", "1"), (xml.findtext("memory"), xml.findtext("vcpu")))

    def test_words_and_autostart_stay(self) -> None:
        domain = self.domain(self.made)
        title, description = (
            getattr(libvirt, f"VIR_DOMAIN_METADATA_{kind}") for kind in ("TITLE", "DESCRIPTION")
        )
        domain.setMetadata(title, "title", None, None, LATER)
        domain.setMetadata(description, "words", None, None, LATER)
        element = libvirt.VIR_DOMAIN_METADATA_ELEMENT
        domain.setMetadata(element, "<note>n</note>", "other", "urn:other", LATER)
        domain.setAutostart(1)
        xml = self.rebuild()
        self.assertEqual(("title", "words"), tuple(map(xml.findtext, ("title", "description"))))
        self.assertEqual("n", xml.findtext("metadata/{urn:other}note"))
        self.assertEqual(1, self.domain(self.made).autostart())
        self.assertEqual([], self.kinds())

    def test_memory_that_another_client_saved(self) -> None:
        emulator = tiny.emulators()
        for verb in (self.driver.start, self.driver.resume):
            self.domain(self.made).managedSave()
            self.assertIs(PowerState.SUSPENDED, self.driver.state(self.made.uuid))
            verb(self.made.uuid)
            self.assertIs(PowerState.RUNNING, self.driver.state(self.made.uuid))
        self.assertNotEqual(emulator, tiny.emulators())
        self.domain(self.made).managedSave()
        self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        self.assertFalse(self.domain(self.made).hasManagedSaveImage())

    def test_checkpoint_stays(self) -> None:
        made = self.spawn_tiny()
        self.domain(made).checkpointCreateXML("<domaincheckpoint/>")
        self.driver.reboot(made.uuid, kind=RebootKind.HARD)
        self.assertEqual(1, len(self.domain(made).listAllCheckpoints()))
        self.driver.snapshot(made.uuid, self.home / "image.qcow2")
        self.driver.resize(made.uuid, made, timeout=0)
        self.driver.confirm_resize(made.uuid)
