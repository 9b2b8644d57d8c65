# SPDX-License-Identifier: Apache-2.0
"""A guest becomes the domain XML in ``golden/``, and libvirt's schema accepts it.

``COMPUTE_DRIVER_WRITE_GOLDEN=1`` rewrites the files; read their difference like code.
"""

from __future__ import annotations

import functools
import os
import unittest
from pathlib import Path

from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import (
    ConsoleModel,
    DiskBus,
    DiskFormat,
    Firmware,
    NicModel,
    ScsiModel,
    SoundModel,
    UsbModel,
    VideoModel,
    WatchdogAction,
)
from compute_driver.guest import (
    MIB,
    ConfigDrive,
    Cpu,
    Disk,
    Guest,
    Topology,
)
from compute_driver.hardware.acceleration import Decision
from compute_driver.xml import console, cpu
from compute_driver.xml.elements import E
from tests.unit.xml.base import KERNEL, TCG, as_text, built, guest, layout, nic
from tests.unit.xml.cases import CASES

GOLDEN = Path(__file__).parent / "golden"
SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")


@functools.cache
def schema() -> etree.RelaxNG:
    return etree.RelaxNG(etree.parse(str(SCHEMA)))


class TestDescribed(unittest.TestCase):
    def test_what_differs_from_the_model_is_told(self) -> None:
        model = E.model("Nehalem")
        features = [
            E.feature(policy=policy, name=name)
            for policy, name in (("require", "avx2"), ("require", "vme"), ("disable", "pcid"))
        ]
        for element, text in (
            (None, ""),
            (E.cpu(mode="maximum"), "maximum"),
            (E.cpu(model, *features, mode="custom"), "Nehalem,+avx2,-pcid"),
        ):
            domain = E.domain() if element is None else E.domain(element)
            self.assertEqual(text, cpu.described(domain, ("avx2", "pcid")))


class TestGolden(unittest.TestCase):
    maxDiff = None

    def test_domains_are_as_reviewed(self) -> None:
        for name, case in CASES.items():
            with self.subTest(name):
                path = GOLDEN / f"{name}.xml"
                written = as_text(*case)
                if os.environ.get("COMPUTE_DRIVER_WRITE_GOLDEN"):
                    path.write_text(written, encoding="utf-8")
                self.assertEqual(path.read_text(encoding="utf-8"), written)

    def test_every_golden_file_has_its_case(self) -> None:
        self.assertEqual({path.stem for path in GOLDEN.glob("*.xml")}, set(CASES))

    @unittest.skipUnless(SCHEMA.exists(), "libvirt's schemas are not installed")
    def test_domains_satisfy_the_schema_of_libvirt(self) -> None:
        for name, case in CASES.items():
            with self.subTest(name):
                schema().assertValid(built(*case))

    def test_no_domain_holds_a_secret(self) -> None:
        for name, case in CASES.items():
            with self.subTest(name):
                self.assertNotIn("TOP-SECRET", as_text(*case))


class TestRefusals(unittest.TestCase):
    def assert_refused(
        self, field: str, accepted: str, made: Guest, decision: Decision = TCG
    ) -> None:
        with self.assertRaises(exceptions.InvalidParameter) as caught:
            as_text(made, decision)
        self.assertEqual(field, caught.exception.field)
        self.assertIn(accepted, str(caught.exception))

    def test_network_card_that_the_architecture_lacks(self) -> None:
        interfaces = (nic(1, model=NicModel.E1000),)
        self.assert_refused(
            "nic model", "accepted: virtio", guest(architecture="s390x", interfaces=interfaces)
        )

    def test_video_that_the_architecture_lacks(self) -> None:
        self.assert_refused(
            "video",
            "accepted: none, virtio",
            guest(architecture="riscv64", video=VideoModel.CIRRUS),
        )

    def test_firmware_that_the_architecture_lacks(self) -> None:
        for name, firmware, accepted in (
            ("i686", Firmware.UEFI, "accepted: bios"),
            ("aarch64", Firmware.BIOS, "accepted: uefi"),
            ("s390x", Firmware.UEFI, "accepted: bios"),
        ):
            with self.subTest(name):
                self.assert_refused(
                    "firmware", accepted, guest(architecture=name, firmware=firmware)
                )

    def test_what_the_machine_lacks(self) -> None:
        s390x = {"architecture": "s390x"}
        microvm = {"machine": "microvm", "boot": KERNEL, "image": None}
        for accepted, field, changes in (
            ("lsilogic", "scsi_model", {"scsi_model": ScsiModel.IBMVSCSI}),
            ("virtio-scsi", "scsi_model", s390x | {"scsi_model": ScsiModel.LSILOGIC}),
            ("this machine has none", "sound", s390x | {"sound": SoundModel.ICH9}),
            ("es1370", "sound", {"architecture": "aarch64", "sound": SoundModel.SB16}),
            ("none", "usb_model", s390x | {"usb_model": UsbModel.QEMU_XHCI}),
            ("qemu-xhci", "usb_model", {"usb_model": UsbModel.NONE, "sound": SoundModel.USB}),
            ("no watchdog", "watchdog", microvm | {"watchdog": WatchdogAction.RESET}),
            ("off", "boot_menu", microvm | {"boot_menu": True}),
            ("off", "packed_ring", microvm | {"packed_ring": True}),
            ("off", "hpet", {"architecture": "aarch64", "hpet": True}),
            ("off", "hide_hypervisor", {"architecture": "aarch64", "hide_hypervisor": True}),
            ("off", "pmu", s390x | {"pmu": True}),
            ("at most 1", "serial_ports", {"architecture": "aarch64", "serial_ports": 2}),
            ("at most 1", "serial_ports", {"console": ConsoleModel.VIRTIO, "serial_ports": 2}),
            ("bochs", "video_ram", {"video_ram_mib": 32}),
            ("sata", "cdrom_bus", {"machine": "q35", "cdrom_bus": DiskBus.IDE}),
            ("sata", "disk_bus", {"machine": "pc-q35-7.2", "root": Disk(bus=DiskBus.IDE)}),
            ("ide", "disk_bus", {"machine": "pc", "root": Disk(bus=DiskBus.FDC)}),
        ):
            with self.subTest(field):
                self.assert_refused(field, accepted, guest(**changes))

    def test_what_another_host_may_have(self) -> None:
        for made in (
            guest(pmu=True),
            guest(
                architecture="ppc64le",
                vcpus=2,
                cpu=Cpu(topology=Topology(sockets=1, cores=1, threads=2)),
            ),
        ):
            with self.assertRaises(exceptions.NotOnThisHost):
                as_text(made)

    def test_text_that_xml_cannot_carry(self) -> None:
        made = guest()
        for directory in ("/instances/\x01", "/instances/\ud800"):
            with (
                self.subTest(repr(directory)),
                self.assertRaisesRegex(exceptions.InvalidParameter, "control characters"),
            ):
                as_text(made, directory=Path(directory))


class TestSerialPort(unittest.TestCase):
    def test_port_is_assigned_wherever_it_is_said(self) -> None:
        for name in ("serial-at-tcp", "s390x-sclp-at-tcp", "virtio-console-at-tcp"):
            with self.subTest(name):
                made = built(*CASES[name])
                console.assign(made, 10007)
                found = console.address(made)
                self.assertEqual(10007, found and found.port)
                self.assertNotIn(b'service="0"', etree.tostring(made))

    def test_terminal_has_no_port(self) -> None:
        self.assertIsNone(console.address(built(guest())))


class TestDisks(unittest.TestCase):
    def test_device_names_are_unique_across_buses(self) -> None:
        buses = (DiskBus.SCSI, DiskBus.USB, DiskBus.SATA, DiskBus.VIRTIO)
        made = guest(
            ephemerals=tuple(Disk(size_bytes=MIB, bus=bus) for bus in buses * 8),
            config_drive=ConfigDrive(hostname="web1"),
        )
        names = [target.get("dev") for target in built(made).iterfind("devices/disk/target")]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual(["sdx", "vdi", "vdj"], [names[-3], names[-2], names[-1]])

    def test_device_names_go_on_after_z(self) -> None:
        made = guest(ephemerals=(Disk(size_bytes=MIB),) * 703)
        names = [target.get("dev") for target in built(made).iterfind("devices/disk/target")]
        self.assertEqual(
            ["vda", "vdz", "vdaa", "vdaz", "vdba", "vdzz", "vdaaa"],
            [names[index] for index in (0, 25, 26, 51, 52, 701, 702)],
        )

    def test_formats_are_stated(self) -> None:
        made = guest(ephemerals=(Disk(size_bytes=MIB),))
        for disk_format in (DiskFormat.QCOW2, DiskFormat.RAW):
            with self.subTest(str(disk_format)):
                disks = layout(made, disk_format=disk_format).disks
                drivers = etree.fromstring(as_text(made, disks=disks)).findall(
                    "devices/disk/driver"
                )
                self.assertEqual(
                    [str(disk_format), "raw"], [driver.get("type") for driver in drivers]
                )
