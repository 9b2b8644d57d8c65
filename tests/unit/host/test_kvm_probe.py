# SPDX-License-Identifier: Apache-2.0
"""The pure parts of the program that runs guest instructions through KVM."""

from __future__ import annotations

import mmap
import struct
import unittest
import unittest.mock

from compute_driver.hardware import architecture
from compute_driver.host import kvm_probe


class NumbersTest(unittest.TestCase):
    """The expected numbers come from linux/kvm.h and asm/kvm.h, compiled."""

    @unittest.skipUnless(kvm_probe._SHIFT == 30, "POWER's numbers are others")
    def test_ioctls(self) -> None:
        self.assertEqual(
            [0xAE01, 0xC008AE05, 0x4008AE90, 0x4020AE46, 0x8138AE83, 0x4138AE84, 0x4090AE82],
            [
                kvm_probe.CREATE_VM,
                kvm_probe.GET_SUPPORTED_CPUID,
                kvm_probe.SET_CPUID2,
                kvm_probe.SET_USER_MEMORY_REGION,
                kvm_probe.GET_SREGS,
                kvm_probe.SET_SREGS,
                kvm_probe.SET_REGS,
            ],
        )
        self.assertEqual(
            [0x4010AEAC, 0x4020AEAE, 0x8020AEAF],
            [
                kvm_probe.SET_ONE_REG,
                kvm_probe.ARM_VCPU_INIT,
                kvm_probe.ARM_PREFERRED_TARGET,
            ],
        )

    def test_structures(self) -> None:
        sizes = {
            kvm_probe.REGION: 32,
            kvm_probe.ONE_REG: 16,
            kvm_probe.VCPU_INIT: 32,
            kvm_probe.SEGMENT: 24,
            kvm_probe.CPUID: 8,
            kvm_probe.CPUID_ENTRY: 40,
            kvm_probe.SREGS: 312,
            kvm_probe.REGS: 144,
        }
        self.assertEqual(list(sizes.values()), [struct.calcsize(layout) for layout in sizes])

    def test_names_of_registers(self) -> None:
        # KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | offsetof(regs.pc) / 4
        arm = 0x6000000000000000 | 0x0030000000000000 | 0x0010 << 16 | (31 + 1) * 8 // 4
        # KVM_REG_RISCV | KVM_REG_SIZE_U64 | KVM_REG_RISCV_CORE | 0
        riscv = 0x8000000000000000 | 0x0030000000000000 | 0x02 << 24
        self.assertEqual({"aarch64": arm, "riscv64": riscv}, kvm_probe.PC)


class TrialsTest(unittest.TestCase):
    def run_of(self, layout: str, *values: object) -> mmap.mmap:
        run = mmap.mmap(-1, 4096)
        struct.pack_into(layout, run, kvm_probe.EXIT_DATA, *values)
        return run

    def test_results_that_are_right(self) -> None:
        out = self.run_of("=BBHIQ", 1, 1, 0x10, 1, 0x100)
        self.assertFalse(kvm_probe.ended_x86(out))
        out[0x100] = 0x05  # long mode is enabled and active
        self.assertTrue(kvm_probe.ended_x86(out))
        for written, right in ((0x42, True), (0x43, False)):
            data = bytes([written]) + bytes(7)
            stored = self.run_of("=Q8sIB", 0x20000000, data, 1, 1)
            self.assertIs(right, kvm_probe.ended_mmio(stored))
            waiting = self.run_of("=QQ", 0, written)
            self.assertIs(right, kvm_probe.ended_s390x(waiting))

    def test_the_code_fits_into_the_memory(self) -> None:
        for name, trial in kvm_probe.TRIALS.items():
            with self.subTest(name):
                self.assertIn(name, architecture.TABLE)
                self.assertLess(trial.entry + len(trial.code), kvm_probe.MIB)
                self.assertGreater(trial.exit_reason, 0)

    def test_a_trial_without_code_only_makes_a_processor(self) -> None:
        self.assertEqual(b"", kvm_probe.Trial().code)
        self.assertNotIn("ppc64le", kvm_probe.TRIALS)


class MainTest(unittest.TestCase):
    def test_a_node_that_is_no_kvm_fails(self) -> None:
        with unittest.mock.patch.object(kvm_probe, "say") as said:
            self.assertEqual(1, kvm_probe.main("/dev/null", "x86_64", "1"))
            self.assertEqual(1, kvm_probe.main("/nonexistent", "x86_64", "1"))
        self.assertEqual("failed: No such file or directory", said.call_args.args[0])
