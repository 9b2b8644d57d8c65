# SPDX-License-Identifier: Apache-2.0
"""Placement's and nova's facts about the host, compared with the host."""

from __future__ import annotations

import os
import re
import unittest
from pathlib import Path
from typing import Any

from tests.cloud.case import CLOUD, CloudCase
from tests.cloud.configuration import DRIVER, IN_TREE
from tests.cloud.processes import eventually
from tests.cloud.results import note, recorded
from tests.cloud.servers import DEADLINE

#: Linux's flags for the traits of processors that have another name.
_FLAGS = {
    "aesni": "aes",
    "bmi": "bmi1",
    "clmul": "pclmulqdq",
    "fma3": "fma",
    "sse3": "pni",
    "sse41": "sse4_1",
    "sse42": "sse4_2",
}


class TestPlacement(CloudCase):
    def setUp(self) -> None:
        super().setUp()
        (self.provider,) = self.session.placement.resource_providers()

    def ask(self, path: str) -> Any:
        return self.session.placement.get(
            f"/resource_providers/{self.provider.id}/{path}", microversion="1.6"
        ).json()

    def traits(self) -> set[str]:
        return set(self.ask("traits")["traits"])

    def test_inventory_is_that_of_the_host(self) -> None:
        with recorded("inventory"):
            inventory = self.ask("inventories")["inventories"]
        memory = int(re.findall(r"MemTotal: +([0-9]+)", Path("/proc/meminfo").read_text())[0])
        disk = os.statvfs(CLOUD.state)
        self.assertEqual(os.cpu_count(), inventory["VCPU"]["total"])
        self.assertAlmostEqual(memory >> 10, inventory["MEMORY_MB"]["total"], delta=2)
        self.assertAlmostEqual(
            disk.f_blocks * disk.f_frsize >> 30, inventory["DISK_GB"]["total"], delta=1
        )
        self.assertEqual(4.0, inventory["MEMORY_MB"]["allocation_ratio"])
        self.assertEqual(512, inventory["MEMORY_MB"]["reserved"])

    def test_hypervisor_is_shown(self) -> None:
        with recorded("hypervisor"):
            (host,) = self.session.compute.hypervisors(details=True)
        self.assertEqual(("QEMU", "up", "enabled"), (host.hypervisor_type, host.state, host.status))
        self.assertEqual("127.0.0.1", host.host_ip)
        self.assertIn("load average", host.uptime or self._uptime(host.id))

    def _uptime(self, host: str) -> str:
        path = f"/os-hypervisors/{host}"
        return str(
            self.session.compute.get(path, microversion="2.88").json()["hypervisor"]["uptime"]
        )

    def test_usage_is_that_of_the_servers(self) -> None:
        server = self.use()
        (allocation,) = server.allocations().values()
        self.assertEqual({"VCPU": 1, "MEMORY_MB": 192, "DISK_GB": 1}, allocation["resources"])
        self.keep(server)

    @unittest.skipIf(
        DRIVER == IN_TREE, "nova's own driver reports traits of the host, not of its guests"
    )
    def test_traits_of_the_processor_are_those_of_a_guest(self) -> None:
        server = self.use()
        flags = set(re.findall(r"flags\s*:(.*)", server.ssh("cat /proc/cpuinfo"))[0].split())
        named = {
            trait.removeprefix("HW_CPU_X86_").lower()
            for trait in self.traits()
            if trait.startswith("HW_CPU_X86_")
        }
        with recorded("traits of the processor"):
            self.assertTrue(named)
            self.assertLessEqual({_FLAGS.get(name, name) for name in named}, flags)
        self.keep(server)

    def test_server_that_requires_kvm_is_not_scheduled_here(self) -> None:
        if DRIVER == IN_TREE:
            note("flavor that requires KVM", "not supported")
            return
        self.assertIn("CUSTOM_ACCELERATOR_TCG", self.traits())
        self.assertNotIn("CUSTOM_ACCELERATOR_KVM", self.traits())
        # Placement must know the trait, as if another host had it.
        self.session.placement.put("/traits/CUSTOM_ACCELERATOR_KVM", microversion="1.6")
        with recorded("flavor that requires KVM"):
            server = self.make(flavor=self.flavor(**{"trait:CUSTOM_ACCELERATOR_KVM": "required"}))
            eventually("an error", DEADLINE, lambda: server.status == "ERROR")
            self.assertIn("No valid host was found", server.get()["server"]["fault"]["message"])

    def test_server_that_requires_emulation_boots(self) -> None:
        if DRIVER == IN_TREE:
            note("flavor that requires emulation", "not supported")
            return
        with recorded("flavor that requires emulation"):
            server = self.make(flavor=self.flavor(**{"trait:CUSTOM_ACCELERATOR_TCG": "required"}))
            server.wait("ACTIVE")
        server.boot_id()

    def test_host_that_is_disabled_gets_no_server(self) -> None:
        compute = self.session.compute
        (service,) = compute.services(binary="nova-compute")
        with recorded("host disabled"):
            compute.disable_service(service)
            self.addCleanup(compute.enable_service, service)
            disabled = lambda: "COMPUTE_STATUS_DISABLED" in self.traits()  # noqa: E731
            eventually("the trait", DEADLINE, disabled)
        server = self.make()
        eventually("an error", DEADLINE, lambda: server.status == "ERROR")
        self.assertIn("No valid host was found", server.get()["server"]["fault"]["message"])
        with recorded("host enabled"):
            compute.enable_service(service)
            eventually("no trait", DEADLINE, lambda: not disabled())
        self.make().wait("ACTIVE")
