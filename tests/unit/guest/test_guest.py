# SPDX-License-Identifier: Apache-2.0
"""Descriptions that could never work are refused with the field, the value and the rule."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any

from compute_driver import exceptions
from compute_driver.choices import DiskBus, Firmware, InterfaceKind, NicModel
from compute_driver.guest import (
    MAX_DISK_BYTES,
    ConfigDrive,
    Cpu,
    DirectBoot,
    Disk,
    Guest,
    Image,
    Interface,
    check_new_name,
    is_uuid,
    random_mac,
)

UUID = "8f5a1d8e-6a56-4f0c-8a53-1b9e4b1d2c3f"
KERNEL = DirectBoot(kernel=Image(location="/vmlinuz"))


def guest(**fields: Any) -> Guest:
    defaults = {
        "uuid": UUID,
        "name": "web1",
        "architecture": "x86_64",
        "image": Image(location="/images/a.qcow2"),
    }
    return Guest(**{**defaults, **fields})


def ovs(**fields: Any) -> Interface:
    return Interface(**{"kind": InterfaceKind.OVS, "source": "br-int", **fields})


class RefusalTest(unittest.TestCase):
    def test_each_field(self) -> None:
        cases: tuple[tuple[str, Callable[[], object]], ...] = (
            ("uuid", lambda: guest(uuid="web1")),
            ("vcpus", lambda: guest(vcpus=0)),
            ("vcpus", lambda: guest(vcpus=-1)),
            ("vcpus", lambda: guest(vcpus=True)),
            ("memory", lambda: guest(memory_mib=0)),
            ("memory", lambda: guest(memory_mib=10**12)),
            ("memory", lambda: guest(memory_mib=512.5)),
            ("machine", lambda: guest(machine="q35;reboot")),
            ("cpu", lambda: Cpu(model="a b")),
            ("image", lambda: guest(image=None)),
            ("image", lambda: Image(location=" ")),
            ("image", lambda: Image(location="/a\0b")),
            ("checksum", lambda: Image(location="/a", checksum="crc32:1234")),
            ("checksum", lambda: Image(location="/a", checksum=f"sha256:{'0' * 32}")),
            ("checksum", lambda: Image(location="/a", checksum=f"md5:{'0' * 64}")),
            ("checksum", lambda: Image(location="/a", checksum=f"sha1:{'F' * 40}")),
            ("disk", lambda: Disk(size_bytes=-512)),
            ("disk", lambda: Disk(size_bytes=1000)),
            ("disk", lambda: Disk(size_bytes=MAX_DISK_BYTES + 512)),
            ("swap", lambda: guest(swap=Disk(size_bytes=512))),
            ("ephemeral", lambda: guest(ephemerals=(Disk(),))),
            ("nic", lambda: Interface(mac="52:54:00")),
            ("nic", lambda: Interface(mac="53:54:00:00:00:01")),
            ("nic", lambda: Interface(source="br0")),
            ("nic", lambda: Interface(kind=InterfaceKind.BRIDGE)),
            ("nic", lambda: Interface(kind=InterfaceKind.NETWORK, source="a/b")),
            ("nic", lambda: Interface(kind=InterfaceKind.OVS)),
            ("nic device", lambda: ovs(device="tap4567890123456")),
            ("nic device", lambda: ovs(device="a/b")),
            ("nic device", lambda: ovs(device="vnet1")),
            ("nic device", lambda: Interface(device="tap1")),
            ("nic device", lambda: guest(interfaces=(ovs(device="a"), ovs(device="a")))),
            ("nic port", lambda: ovs(port="1")),
            ("nic hybrid", lambda: ovs(hybrid=True)),
            ("nic hybrid", lambda: ovs(kind=InterfaceKind.BRIDGE, port=UUID, hybrid=True)),
            ("nic hybrid", lambda: Interface(hybrid=True)),
            ("nic mtu", lambda: ovs(mtu=67)),
            ("nic mtu", lambda: ovs(mtu=65536)),
            ("nic queues", lambda: ovs(queues=0)),
            ("nic queues", lambda: ovs(queues=2, model=NicModel.E1000)),
            ("nic queues", lambda: guest(vcpus=2, interfaces=(ovs(queues=3),))),
            ("cmdline", lambda: DirectBoot(kernel=KERNEL.kernel, cmdline="a\nb")),
            ("firmware", lambda: guest(boot=KERNEL, firmware=Firmware.UEFI)),
            ("user_data", lambda: ConfigDrive(hostname="a", user_data=bytes(65536))),
        )
        for field, make in cases:
            with self.subTest(field=field):
                with self.assertRaises(exceptions.InvalidParameter) as caught:
                    make()
                self.assertEqual(field, caught.exception.field)
                self.assertIn("accepted: ", str(caught.exception))

    def test_each_kind_of_checksum_has_its_length(self) -> None:
        for algorithm, digits in (("md5", 32), ("sha1", 40), ("sha256", 64), ("sha512", 128)):
            checksum = f"{algorithm}:{'0f' * (digits // 2)}"
            self.assertEqual(checksum, Image(location="/a", checksum=checksum).checksum)

    def test_names(self) -> None:
        for name in ("", " a", "a ", "a\nb", "a/b", ".", "-a", "a" * 129, UUID, "\ud800"):
            with self.subTest(name=name), self.assertRaises(exceptions.InvalidParameter):
                guest(name=name)
        digits = UUID.replace("-", "")
        for form in (digits, digits.upper(), f"{{{UUID}}}", f"urn:uuid:{UUID}", f"0-{digits[1:]}"):
            with self.subTest(form):
                # A guest of an earlier release keeps its name.
                self.assertEqual(form, guest(name=form).name)
                with self.assertRaisesRegex(exceptions.InvalidParameter, "UUID"):
                    check_new_name(form)
        for name in ("a", "a b", "<&>'\"", "größe-€", "a" * 128, "a" * 31):
            with self.subTest(name=name):
                self.assertEqual(name, guest(name=name).name)
                check_new_name(name)

    def test_words_name_the_accepted_ones(self) -> None:
        with self.assertRaisesRegex(exceptions.InvalidParameter, "ide, sata, scsi, usb, virtio"):
            DiskBus.parse("disk_bus", "floppy")
        self.assertIs(DiskBus.SCSI, DiskBus.parse("disk_bus", "SCSI"))

    def test_a_long_value_is_cut(self) -> None:
        with self.assertRaises(exceptions.InvalidParameter) as caught:
            guest(name="x" * 100_000)
        self.assertLess(len(str(caught.exception)), 500)


class SecretTest(unittest.TestCase):
    def test_no_secret_is_shown(self) -> None:
        drive = ConfigDrive(
            hostname="a",
            user_data=b"hunter2",
            admin_password="hunter2",
            meta={"k": "hunter2"},
            public_keys={"k": "hunter2"},
        )
        self.assertNotIn("hunter2", repr(guest(config_drive=drive)))


class IdentityTest(unittest.TestCase):
    def test_macs_are_unicast_and_differ(self) -> None:
        macs = {random_mac() for _ in range(64)}
        self.assertGreater(len(macs), 60)
        self.assertTrue(all(Interface(mac=mac) for mac in macs))

    def test_ports_have_stable_device_names(self) -> None:
        self.assertEqual("tap525400000001", ovs(mac="52:54:00:00:00:01").device)
        self.assertEqual("tap8f5a1d8e-6a", ovs(port=UUID).device)
        self.assertEqual("mine", ovs(port=UUID, device="mine").device)
        self.assertIsNone(Interface().device)

    def test_only_hybrid_ones_have_a_bridge_to_themselves(self) -> None:
        names = {
            nic: (nic.device, nic.own_bridge, nic.switch_port)
            for nic in (ovs(port=UUID, hybrid=True), ovs(port=UUID), Interface())
        }
        self.assertEqual(
            [
                ("tap8f5a1d8e-6a", "qbr8f5a1d8e-6a", "qvo8f5a1d8e-6a"),
                ("tap8f5a1d8e-6a", None, "tap8f5a1d8e-6a"),
                (None, None, None),
            ],
            list(names.values()),
        )

    def test_uuids_in_canonical_form(self) -> None:
        self.assertTrue(is_uuid(UUID))
        for text in (UUID.replace("-", ""), "{" + UUID + "}", "web1", ""):
            with self.subTest(text=text):
                self.assertFalse(is_uuid(text))
