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
    InterfaceKind,
    VideoModel,
)
from compute_driver.guest import (
    GIB,
    MIB,
    Cpu,
    Guest,
    Interface,
    Topology,
)
from tests.functional import base, bridges, inside


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
