# SPDX-License-Identifier: Apache-2.0
"""Nova's instances become guests."""

from __future__ import annotations

import types
import unittest
from typing import Any

from compute_driver import exceptions
from compute_driver.choices import DiskBus, DiskFormat, FileSystem, InterfaceKind, NicModel
from compute_driver.guest import (
    GIB,
    MIB,
    ConfigDrive,
    DirectBoot,
    Disk,
    Guest,
    Image,
    Interface,
    Topology,
)
from compute_driver.hardware import architecture
from compute_driver.limits import Bandwidth, DiskLimits
from compute_driver.nova import convert

UUID = "0f0c8d5e-6f0b-4c1b-9a39-0d7a58a4c1d1"
IMAGE = "5d9c7d4b-24d3-43f5-8b3c-5a8b0d3a4f10"
PORT = "b4f4d4a7-3a8f-4f0e-8df0-3f1d9b7f2a55"


class Properties(dict[str, Any]):
    """Properties like nova's ImageMetaProps."""

    @property
    def fields(self) -> list[str]:
        return [*self, "hw_never_set"]

    def obj_attr_is_set(self, name: str) -> bool:
        return name in self

    def __getattr__(self, name: str) -> Any:
        return self[name]


def instance(**changes: Any) -> Any:
    flavor = {"vcpus": 2, "memory_mb": 512, "root_gb": 3, "ephemeral_gb": 0, "swap": 0}
    flavor |= {"extra_specs": {}} | changes.pop("flavor", {})
    fields = {
        "uuid": UUID,
        "name": "instance-0000002a",
        "image_ref": IMAGE,
        "kernel_id": "",
        "ramdisk_id": "",
        "root_device_name": "/dev/vda",
        "system_metadata": {},
    }
    return types.SimpleNamespace(flavor=types.SimpleNamespace(**flavor), **fields | changes)


def image(disk_format: str = "qcow2", **properties: Any) -> Any:
    return types.SimpleNamespace(disk_format=disk_format, properties=Properties(properties))


def vif(**changes: Any) -> dict[str, Any]:
    return {
        "id": PORT,
        "address": "FA:16:3E:00:00:01",
        "type": "ovs",
        "vnic_type": "normal",
        "devname": "tapb4f4d4a7-3a",
        "details": {},
        "network": {"bridge": "br-int", "meta": {"mtu": 1442}},
        **changes,
    }


def guest(made: Any = None, said: Any = None, vifs: Any = (), disks: Any = None) -> Guest:
    return convert.guest(made or instance(), said or image(), vifs, disks)


class GuestTest(unittest.TestCase):
    def test_plain_instance(self) -> None:
        drive = ConfigDrive(hostname="web")
        self.assertEqual(
            Guest(
                uuid=UUID,
                name="instance-0000002a",
                vcpus=2,
                memory_mib=512,
                architecture=architecture.of_host(),
                image=Image(location=f"glance://{IMAGE}", format=DiskFormat.QCOW2),
                root=Disk(size_bytes=3 * GIB),
                config_drive=drive,
            ),
            convert.guest(instance(), image(), (), None, drive),
        )

    def test_image_and_flavor_shape_the_hardware(self) -> None:
        made = instance(
            flavor={"extra_specs": {"hw:cpu_sockets": "1", "hw:cpu_threads": "1"}},
            system_metadata={"image_hw_cpu_model": "Nehalem", "image_other": "1"},
        )
        found = guest(made, image(hw_architecture="aarch64", hw_qemu_guest_agent=False))
        self.assertEqual("aarch64", found.architecture)
        self.assertEqual("Nehalem", found.cpu.model)
        self.assertEqual(Topology(sockets=1, cores=2, threads=1), found.cpu.topology)
        self.assertFalse(found.guest_agent)

    def test_formats_are_glance_s(self) -> None:
        for word, wanted in (("ami", DiskFormat.RAW), ("iso", DiskFormat.ISO)):
            found = guest(said=image(word)).image
            assert found is not None
            self.assertIs(wanted, found.format)
        with self.assertRaises(exceptions.InvalidParameter):
            guest(said=image("ploop"))

    def test_kernel_of_its_own(self) -> None:
        made = instance(kernel_id="k", ramdisk_id="r")
        said = {"hw_architecture": "x86_64"}
        self.assertEqual(
            DirectBoot(
                kernel=Image(location="glance://k"),
                ramdisk=Image(location="glance://r"),
                cmdline="root=/dev/vda console=ttyS0",
            ),
            guest(made, image("ami", **said)).boot,
        )
        asked = guest(made, image("ami", os_command_line="quiet", **said)).boot
        assert asked is not None
        self.assertEqual("quiet", asked.cmdline)


class DisksTest(unittest.TestCase):
    def test_sizes_and_buses(self) -> None:
        disks = {
            "image": [{"disk_bus": "sata"}],
            "ephemerals": [
                {"size": 1, "disk_bus": "scsi", "guest_format": None},
                {"size": 2, "device_type": "disk", "guest_format": "xfs"},
            ],
            "swap": {"device_name": "/dev/vdd", "swap_size": 64, "disk_bus": None},
            "block_device_mapping": [],
        }
        found = guest(said=image(hw_disk_bus="usb"), disks=disks)
        self.assertEqual(Disk(size_bytes=3 * GIB, bus=DiskBus.SATA), found.root)
        self.assertEqual(
            (
                Disk(size_bytes=GIB, bus=DiskBus.SCSI),
                Disk(size_bytes=2 * GIB, bus=DiskBus.USB, filesystem=FileSystem.XFS),
            ),
            found.ephemerals,
        )
        self.assertEqual(Disk(size_bytes=64 * MIB, bus=DiskBus.USB), found.swap)

    def test_flavor_s_when_none_are_named(self) -> None:
        found = guest(instance(flavor={"ephemeral_gb": 5, "swap": 128, "root_gb": 0}))
        self.assertEqual((Disk(size_bytes=5 * GIB),), found.ephemerals)
        self.assertEqual(Disk(size_bytes=128 * MIB), found.swap)
        self.assertEqual(Disk(), found.root)

    def test_option_is_the_file_system_of_ephemeral_disks_without_their_own(self) -> None:
        disks = {
            "ephemerals": [
                {"size": 1, "guest_format": None},
                {"size": 1, "guest_format": ""},
                {"size": 1, "guest_format": "vfat"},
            ]
        }
        for option, wanted in ((None, None), ("", None), ("ntfs", FileSystem.NTFS)):
            with self.subTest(option):
                found = convert.guest(instance(), image(), (), disks, ephemeral_format=option)
                systems = [disk.filesystem for disk in found.ephemerals]
                self.assertEqual([wanted, wanted, FileSystem.VFAT], systems)
        made = instance(flavor={"ephemeral_gb": 1})
        (disk,) = convert.guest(made, image(), (), {}, ephemeral_format="xfs").ephemerals
        self.assertIs(FileSystem.XFS, disk.filesystem)

    def test_what_cannot_be_is_refused(self) -> None:
        for disks in (
            {"block_device_mapping": [{"connection_info": {}}]},
            {"ephemerals": [{"size": 1, "guest_format": "btrfs"}]},
            {"ephemerals": [{"size": 1, "encrypted": True}]},
            {"ephemerals": [{"size": 1, "disk_bus": "lxc"}]},
            {"image": [{"device_type": "floppy"}]},
        ):
            with self.subTest(disks), self.assertRaises(exceptions.InvalidParameter):
                guest(disks=disks)

    def test_names_of_root_disks(self) -> None:
        for bus, asked, wanted in (
            (None, None, "/dev/vda"),
            ("scsi", None, "/dev/sda"),
            ("scsi", "ide", "/dev/hda"),
        ):
            said = image(**({"hw_disk_bus": bus} if bus else {}))
            self.assertEqual(wanted, convert.root_device_name(said, asked))


class InterfacesTest(unittest.TestCase):
    def test_ports(self) -> None:
        made = instance(flavor={"extra_specs": {"hw:vif_multiqueue_enabled": "true"}})
        common: dict[str, Any] = {"mtu": 1442, "mac": "fa:16:3e:00:00:01", "queues": 2}
        for kind, bridge in ((InterfaceKind.OVS, "br-int"), (InterfaceKind.BRIDGE, "brq1")):
            port = vif(
                type=str(kind), devname=None, network={"bridge": bridge, "meta": {"mtu": 1442}}
            )
            wanted = Interface(
                kind=kind, source=bridge, device="tapb4f4d4a7-3a", port=PORT, **common
            )
            self.assertEqual((wanted,), guest(made, vifs=(port,)).interfaces)

    def test_bridge_of_its_own_for_neutron_s_firewall(self) -> None:
        for details, wanted in ({"ovs_hybrid_plug": True}, True), ({}, False), (None, False):
            (found,) = guest(vifs=(vif(details=details),)).interfaces
            self.assertEqual((InterfaceKind.OVS, wanted), (found.kind, found.hybrid))

    def test_limits_hold_for_each(self) -> None:
        specs = {"quota:vif_outbound_average": "10", "quota:disk_read_iops_sec": "5"}
        found = guest(
            instance(flavor={"extra_specs": specs}),
            vifs=(vif(), vif(id=UUID, devname=None, address="FA:16:3E:00:00:02")),
        )
        for interface in found.interfaces:
            self.assertEqual((None, Bandwidth(average=10)), (interface.inbound, interface.outbound))
        self.assertEqual(DiskLimits(read_iops_sec=5), found.disk_limits)

    def test_only_virtio_has_several_queues(self) -> None:
        said = image(hw_vif_multiqueue_enabled=True, hw_vif_model="e1000")
        (found,) = guest(said=said, vifs=(vif(),)).interfaces
        self.assertEqual((NicModel.E1000, None), (found.model, found.queues))

    def test_ports_that_cannot_be_plugged_in_are_refused(self) -> None:
        for port in (vif(type="vhostuser"), vif(vnic_type="direct")):
            with self.assertRaises(exceptions.InvalidParameter):
                guest(vifs=(port,))
        for kind in ("binding_failed", "unbound"):
            with self.assertRaises(exceptions.PlugFailed):
                guest(vifs=(vif(type=kind),))
