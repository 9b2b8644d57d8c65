# SPDX-License-Identifier: Apache-2.0
"""The devices of guests, as the guests see them."""

from __future__ import annotations

import dataclasses
import io
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import libvirt_qemu
import PIL.Image

from compute_driver import exceptions
from compute_driver.choices import (
    ConsoleModel,
    DiskBus,
    InputModel,
    InterfaceKind,
    NicModel,
    VideoModel,
    VirtioForm,
)
from compute_driver.guest import (
    GIB,
    MIB,
    ConfigDrive,
    Cpu,
    Disk,
    Guest,
    Interface,
    Rescue,
    Topology,
)
from tests.functional import base, bridges, inside

#: Linux's driver for each card.
NIC_DRIVERS = {
    NicModel.VIRTIO: "virtio_net",
    NicModel.E1000: "e1000",
    NicModel.E1000E: "e1000e",
    NicModel.RTL8139: "8139cp",
    NicModel.NE2K_PCI: "ne2k-pci",
    NicModel.PCNET: "pcnet32",
    NicModel.VMXNET3: "vmxnet3",
}


BALLOON = "/sys/bus/virtio/drivers/virtio_balloon"


def serial(line: str) -> str:
    """Return the serial number of a guest's line about a disk."""
    return line.partition("serial=")[2].partition(" ")[0]


class TestDefaults(inside.SharedGuestTestCase):
    @classmethod
    def changes(cls) -> dict[str, Any]:
        return {"vcpus": 2, "interfaces": (Interface(mac="52:54:00:ab:cd:ef"), Interface())}

    def test_disk_and_interfaces_are_virtio(self) -> None:
        (disk,) = self.fact(self.made, "DISK")
        self.assertRegex(disk, f"^vda size={GIB} bus=virtio driver=virtio_blk ro=0 serial=root ")
        nics = self.fact(self.made, "NIC")
        for nic, interface in zip(nics, self.made.interfaces, strict=True):
            self.assertIn(f"mac={interface.mac} driver=virtio_net", nic)

    def test_memory_and_processors_are_as_asked(self) -> None:
        (memory,) = self.fact(self.made, "MEMORY")
        # In KiB, without the kernel's own memory.
        self.assertGreater(int(memory), 0.7 * self.made.memory_mib * 1024)
        self.assertLessEqual(int(memory), self.made.memory_mib * 1024)
        self.assertEqual(["2"], self.fact(self.made, "CPUS"))
        self.assertEqual([self.made.uuid], self.fact(self.made, "SMBIOS-UUID"))
        self.assertEqual([self.made.uuid], self.fact(self.made, "SMBIOS-SERIAL"))
        self.assertEqual(["compute_driver"], self.fact(self.made, "SMBIOS-VENDOR"))
        self.assertEqual(["QEMU Virtual Machine"], self.fact(self.made, "SMBIOS-PRODUCT"))

    def test_random_numbers_come_from_the_host(self) -> None:
        self.assertEqual(["virtio_rng.0"], self.fact(self.made, "RNG"))

    def test_user_network_leases_an_address_to_each(self) -> None:
        for name in ("eth0", "eth1"):
            wanted = f"GUEST-LEASE: {name} 10.0.2.15/"
            self.driver.console_wait(self.made.uuid, wanted, timeout=30)


class TestMemoryStats(base.HostTestCase):
    """A guest tells its use of memory."""

    options: ClassVar = {"memory_stats_seconds": 1}

    def test_use_of_memory_is_what_the_guest_tells(self) -> None:
        made = self.spawn(boot=base.kernel(), interfaces=())
        # The guest tells its use while the command runs.
        free = inside.run(self.driver, made, "sleep 3; grep MemAvailable /proc/meminfo")
        (stats,) = self.driver.stats(made.uuid)
        assert stats.used_bytes is not None
        (total,) = self.fact(made, "MEMORY")
        told = int(total) - int(free.split()[1])
        self.assertAlmostEqual(told / 1024, stats.used_bytes / MIB, delta=16)
        self.driver.stop(made.uuid, timeout=0)
        (stats,) = self.driver.stats(made.uuid)
        self.assertIsNone(stats.used_bytes)


class TestDiskBuses(base.HostTestCase):
    """The guest boots from each bus, and has its data disks and config drive on it."""

    def assert_disks(self, bus: DiskBus, **changes: Any) -> Guest:
        disk = Disk(size_bytes=GIB, bus=bus)
        drive = ConfigDrive(hostname=f"on-{bus}")
        made = self.spawn(root=disk, ephemerals=(disk,), config_drive=drive, **changes)
        disks = self.fact(made, "DISK")
        self.assertEqual(["CDGUEST", "config-2", "ephemeral0"], self.labels(made))
        self.assertEqual(3, sum(f" bus={bus} " in line for line in disks), disks)
        self.assertEqual([f"on-{bus}"], self.fact(made, "HOSTNAME"))
        return made

    def labels(self, made: Guest) -> list[str]:
        """Return the labels of all file systems that the guest sees."""
        lines = self.fact(made, "DISK") + self.fact(made, "PARTITION")
        labels = {line.rpartition("label=")[2] for line in lines}
        return sorted(labels - {"none"})

    def test_ide(self) -> None:
        made = self.assert_disks(DiskBus.IDE, cdrom_bus=DiskBus.IDE, interfaces=())
        # No user names the machine, and the default has no IDE.
        machine = inside.machine(self.driver, made)
        self.assertIn("i440fx", machine)
        image = base.disk_image()
        with inside.boots(self.driver, made):
            self.driver.rescue(made.uuid, Rescue(image=image, bus=DiskBus.IDE, last=True))
        self.assertEqual(machine, inside.machine(self.driver, made))
        (line,) = (line for line in self.fact(made, "DISK") if serial(line) == "rescue")
        self.assertIn(" bus=ide ", line)

    def test_scsi(self) -> None:
        self.assert_disks(DiskBus.SCSI, interfaces=())

    def test_sata_and_every_network_card(self) -> None:
        cards = tuple(Interface(model=model) for model in NIC_DRIVERS)
        image = base.disk_image("legacy")
        made = self.assert_disks(DiskBus.SATA, image=image, interfaces=cards)
        nics = self.fact(made, "NIC")
        self.assertEqual(len(cards), len(nics))
        for card in cards:
            assert card.model is not None
            with self.subTest(card.model):
                (line,) = (nic for nic in nics if card.mac in nic)
                self.assertIn(f"driver={NIC_DRIVERS[card.model]} ", line)

    def test_usb(self) -> None:
        self.assert_disks(DiskBus.USB, image=base.disk_image("legacy"), interfaces=())


class TestVirtioForms(base.HostTestCase):
    """The guest sees every virtio device, in each form and on each transport."""

    def assert_devices(self, **changes: Any) -> Guest:
        drive = ConfigDrive(hostname="formed")
        data = Disk(size_bytes=8 * MIB)
        made = self.spawn(config_drive=drive, ephemerals=(data,), **changes)
        self.assertEqual(["formed"], self.fact(made, "HOSTNAME"))
        self.assertEqual(["virtio_rng.0"], self.fact(made, "RNG"))
        (nic,) = self.fact(made, "NIC")
        self.assertIn("driver=virtio_net", nic)
        disks = [line for line in self.fact(made, "DISK") if " bus=virtio " in line]
        self.assertLessEqual({"ephemeral0", "config-drive"}, {serial(line) for line in disks})
        self.assertIn("virtio", inside.run(self.driver, made, f"ls {BALLOON}"))
        return made

    def test_transitional(self) -> None:
        self.assert_devices(virtio=VirtioForm.TRANSITIONAL)

    def test_non_transitional(self) -> None:
        self.assert_devices(machine="pc", virtio=VirtioForm.NON_TRANSITIONAL)

    def test_mapped_into_memory_on_a_machine_without_pci(self) -> None:
        # The machine has no clock to measure the processor's clock with on a busy host.
        boot = base.kernel("tsc_early_khz=2000000")
        made = self.assert_devices(machine="microvm", boot=boot)
        self.assertEqual("", inside.run(self.driver, made, "ls /sys/bus/pci/devices 2>/dev/null"))


class TestOtherModels(base.HostTestCase):
    def test_unwanted_devices_are_absent(self) -> None:
        changes = {"rng": False, "balloon": False, "guest_agent": False}
        made = self.spawn(input=InputModel.PS2, video=VideoModel.NONE, interfaces=(), **changes)
        self.assertEqual(["none"], self.fact(made, "RNG"))
        kinds = inside.run(self.driver, made, "cat /sys/bus/virtio/devices/*/device")
        # 2 is a block device, the root disk (virtio 1.2, section 5).
        self.assertEqual(["0x0002"], kinds.split())

    def test_keyboard_and_pointer_are_virtio_or_usb(self) -> None:
        for model, name in ((InputModel.VIRTIO, "Virtio"), (InputModel.USB, "USB")):
            with self.subTest(model):
                image = base.disk_image("legacy")
                made = self.spawn(image=image, input=model, interfaces=())
                names = inside.run(self.driver, made, "cat /sys/class/input/input*/name")
                self.assertRegex(names, f"QEMU (QEMU )?{name} Keyboard")
                self.assertRegex(names, f"QEMU (QEMU )?{name} Tablet")
                self.driver.destroy(made.uuid)

    def test_console_on_virtio(self) -> None:
        drive = ConfigDrive(hostname="on-hvc", user_data=b"#!/bin/sh\necho heard >/dev/hvc0\n")
        made = base.guest(console=ConsoleModel.VIRTIO, config_drive=drive, interfaces=())
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made)
        self.driver.console_wait(made.uuid, "heard", timeout=base.BOOT_TIMEOUT)


class TestProcessor(base.HostTestCase):
    def test_model_features_and_topology_are_as_asked(self) -> None:
        topology = Topology(sockets=1, cores=2, threads=2)
        cpu = Cpu(model="Nehalem", enable=("aes",), disable=("sse4.2",), topology=topology)
        made = self.spawn(vcpus=4, cpu=cpu, interfaces=())
        self.assertEqual(["4"], self.fact(made, "CPUS"))
        (model,) = self.fact(made, "CPU-MODEL")
        self.assertIn("Nehalem", model)
        flags = inside.run(self.driver, made, "grep -m1 ^flags /proc/cpuinfo").split()
        self.assertIn("aes", flags)
        self.assertNotIn("sse4_2", flags)
        show = "cat /sys/devices/system/cpu/cpu0/topology"
        self.assertEqual("0-3\n", inside.run(self.driver, made, f"{show}/package_cpus_list"))
        self.assertEqual("0-1\n", inside.run(self.driver, made, f"{show}/core_cpus_list"))

    def test_processor_of_the_host_has_all_features_that_can_be_emulated(self) -> None:
        made = self.spawn(cpu=Cpu(model="host-passthrough"), interfaces=(), boot=base.kernel())
        self.assertEqual(base.ACCELERATOR, self.driver.show(made.uuid).accelerator)
        flags = inside.run(self.driver, made, "grep -m1 ^flags /proc/cpuinfo").split()
        self.assertIn("avx2", flags)

    def test_emulated_processors_run_in_threads_of_their_own(self) -> None:
        made = base.guest(vcpus=2, interfaces=(), boot=base.kernel())
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made)
        with inside.connection(self.driver) as opened:
            domain = opened.lookupByUUIDString(made.uuid)
            answer = libvirt_qemu.qemuMonitorCommand(
                domain, json.dumps({"execute": "query-cpus-fast"}), 0
            )
        threads = {cpu["thread-id"] for cpu in json.loads(answer)["return"]}
        self.assertEqual(2, len(threads))


class TestVideo(base.HostTestCase):
    @contextmanager
    def started(self, video: VideoModel | None) -> Iterator[Guest]:
        made = base.guest(video=video, interfaces=(), boot=base.kernel())
        self.driver.spawn(made)
        try:
            yield made
        finally:
            self.driver.destroy(made.uuid)

    def test_every_adapter_can_be_photographed(self) -> None:
        for video in (None, *VideoModel):
            if video is VideoModel.NONE:
                continue
            with self.subTest(video), self.started(video) as made:
                picture = PIL.Image.open(io.BytesIO(self.driver.screenshot(made.uuid)))
                self.assertEqual("PNG", picture.format)
                self.assertGreaterEqual(picture.size, (640, 400))

    def test_guest_without_an_adapter_cannot(self) -> None:
        with self.started(VideoModel.NONE) as made, self.assertRaises(exceptions.GuestError):
            self.driver.screenshot(made.uuid)


class TestInterfaceKinds(base.HostTestCase):
    def test_bridge_has_a_tap_until_the_guest_is_gone(self) -> None:
        with bridges.bridge() as name:
            made = base.guest(interfaces=(bridges.plugged(name),), boot=base.kernel())
            self.addCleanup(self.driver.destroy, made.uuid)
            self.driver.spawn(made)
            self.assertEqual(1, len(bridges.ports(name)))
            self.driver.stop(made.uuid, timeout=0)
            self.assertEqual([], bridges.ports(name))
            self.driver.start(made.uuid)
            self.assertEqual(1, len(bridges.ports(name)))
            self.driver.destroy(made.uuid)
            self.assertEqual([], bridges.ports(name))

    def test_network_of_libvirt_has_a_tap_until_the_guest_is_gone(self) -> None:
        with bridges.bridge() as name, self.network(name) as network:
            interface = Interface(kind=InterfaceKind.NETWORK, source=network)
            made = base.guest(interfaces=(interface,), boot=base.kernel())
            self.addCleanup(self.driver.destroy, made.uuid)
            self.driver.spawn(made)
            self.assertEqual(1, len(bridges.ports(name)))
            self.driver.destroy(made.uuid)
            self.assertEqual([], bridges.ports(name))

    @contextmanager
    def network(self, bridge: str) -> Iterator[str]:
        """Make a libvirt network of a bridge, which needs neither DHCP nor firewall."""
        name = f"net-{uuid.uuid4()}"
        inner = f"<name>{name}</name><forward mode='bridge'/><bridge name='{bridge}'/>"
        with inside.connection(self.driver) as opened:
            network = opened.networkCreateXML(f"<network>{inner}</network>")
            try:
                yield name
            finally:
                network.destroy()

    def test_bridge_port_has_the_name_and_the_mtu_that_were_asked_for(self) -> None:
        with bridges.bridge() as name:
            device = f"cdt{uuid.uuid4().hex[:8]}"
            nic = dataclasses.replace(bridges.plugged(name), device=device, mtu=1400)
            made = base.guest(interfaces=(nic,), boot=base.kernel())
            self.addCleanup(self.driver.destroy, made.uuid)
            self.driver.spawn(made)
            self.assertEqual([device], bridges.ports(name))
            self.assertEqual("1400\n", Path("/sys/class/net", device, "mtu").read_text())
            self.driver.destroy(made.uuid)

    def test_unknown_network_or_bridge_is_refused(self) -> None:
        for kind in (InterfaceKind.NETWORK, InterfaceKind.BRIDGE):
            nowhere = Interface(kind=kind, source="nowhere")
            refused = self.assertRaisesRegex(exceptions.InvalidParameter, "nowhere")
            with self.subTest(kind), refused:
                self.driver.spawn(base.guest(interfaces=(nowhere,), boot=base.kernel()))
