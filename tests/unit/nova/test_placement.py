# SPDX-License-Identifier: Apache-2.0
"""A host's resources and traits for placement."""

from __future__ import annotations

import json
import unittest
from typing import Any
from unittest import mock

from compute_driver.choices import Accelerator
from compute_driver.guest import GIB, MIB
from compute_driver.hardware import architecture
from compute_driver.info import ArchitectureInfo, HostInfo
from compute_driver.nova import placement

KNOWN = {
    "COMPUTE_ARCH_AARCH64",
    "COMPUTE_FIRMWARE_UEFI",
    "COMPUTE_NET_VIRTIO_PACKED",
    "COMPUTE_SOUND_MODEL_ICH9",
    "COMPUTE_USB_MODEL_QEMU_XHCI",
    "COMPUTE_STORAGE_BUS_VIRTIO",
    placement.SECURE_BOOT,
    "HW_ARCH_ARMV7",
    "HW_ARCH_X86_64",
    "HW_CPU_X86_AVX2",
    "HW_CPU_X86_SSE42",
    "HW_CPU_X86_SVM",
    "HW_CPU_X86_AMD_SVM",
}


def info(
    name: str, accelerator: Accelerator | None = Accelerator.TCG, **more: Any
) -> ArchitectureInfo:
    return ArchitectureInfo(
        architecture=name,
        emulator=f"/usr/bin/qemu-system-{name}",
        accelerator=accelerator,
        reason="",
        **more,
    )


def host(*architectures: ArchitectureInfo) -> HostInfo:
    return HostInfo(
        hostname="node",
        driver="libvirt",
        connection_uri="qemu:///system",
        libvirt_version="9.0.0",
        qemu_version="7.2.22",
        virt_type="kvm",
        cpus=8,
        memory_bytes=16 * GIB,
        memory_free_bytes=10 * GIB,
        disk_bytes=100 * GIB,
        disk_free_bytes=60 * GIB,
        architectures=architectures,
    )


class HostCase(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        own = mock.patch.object(architecture, "of_host", return_value="x86_64")
        own.start()
        self.addCleanup(own.stop)


class TraitsTest(HostCase):
    def test_own_processor_devices_and_foreign_architectures(self) -> None:
        own = info(
            "x86_64",
            Accelerator.KVM,
            cpu_features=("avx2", "sse4.2", "svm", "unheard-of"),
            firmware=("uefi", "uefi with secure boot"),
        )
        found = placement.traits(host(own, info("aarch64"), info("ppc64le", None)), KNOWN)
        wanted = KNOWN - {"HW_ARCH_ARMV7"} | {"CUSTOM_ACCELERATOR_KVM"}
        self.assertEqual(wanted, found)

    def test_emulation_says_so(self) -> None:
        found = placement.traits(host(info("x86_64")), KNOWN)
        self.assertIn("CUSTOM_ACCELERATOR_TCG", found)
        self.assertNotIn("CUSTOM_ACCELERATOR_KVM", found)

    def test_traits_that_do_not_hold_any_more_go_and_others_stay(self) -> None:
        present = {"CUSTOM_ACCELERATOR_KVM", "HW_CPU_X86_AVX2", "CUSTOM_GOLD", "HW_NUMA_ROOT"}
        gone = placement.outdated(present, {"HW_CPU_X86_AVX2"})
        self.assertEqual({"CUSTOM_ACCELERATOR_KVM"}, gone)

    def test_traits_of_nova_s_own_driver_that_do_not_hold_go(self) -> None:
        others = {"COMPUTE_VIOMMU_MODEL_INTEL", "COMPUTE_SECURITY_TPM_2_0", placement.SECURE_BOOT}
        present = {*others, "COMPUTE_STATUS_DISABLED"}
        self.assertEqual(others, placement.outdated(present, set()))


class ResourcesTest(HostCase):
    def test_inventory(self) -> None:
        totals = placement.totals(host())
        self.assertEqual({"VCPU": 8, "MEMORY_MB": 16 * 1024, "DISK_GB": 100}, totals)
        reserved = dict.fromkeys(totals, 1)
        ratios = dict.fromkeys(totals, 1.5)
        found = placement.inventory({**totals, "DISK_GB": 0}, reserved, ratios)
        self.assertEqual({"VCPU", "MEMORY_MB"}, found.keys())
        self.assertEqual(
            (8, 8, 1, 1.5),
            tuple(
                found["VCPU"][name]
                for name in ("total", "max_unit", "reserved", "allocation_ratio")
            ),
        )

    def test_resources(self) -> None:
        own = info("x86_64", Accelerator.KVM, cpu_features=("aes",))
        there = host(own, info("aarch64"), info("riscv64"))
        found = placement.resources(there, 3, {"x86_64", "aarch64", "s390x"})
        self.assertEqual(7002022, found["hypervisor_version"])
        self.assertEqual(6 * GIB // MIB, found["memory_mb_used"])
        self.assertEqual((3, 40), (found["vcpus_used"], found["local_gb_used"]))
        self.assertEqual(["aes"], json.loads(found["cpu_info"])["features"])
        self.assertEqual(
            [("x86_64", "kvm", "hvm"), ("x86_64", "qemu", "hvm"), ("aarch64", "qemu", "hvm")],
            found["supported_instances"],
        )
