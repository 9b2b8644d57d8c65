# SPDX-License-Identifier: Apache-2.0
"""The error of a guest whose kernel QEMU cannot load."""

from __future__ import annotations

import unittest

from compute_driver import exceptions
from compute_driver.guest import DirectBoot, Guest, Image
from compute_driver.operations.base import kernels
from tests.unit import base


class KernelTest(unittest.TestCase):
    def refusal(self, guest: Guest, text: str) -> exceptions.ComputeDriverError:
        with self.assertRaises(exceptions.ComputeDriverError) as caught, kernels.named(guest):
            raise exceptions.LibvirtError(text)
        return caught.exception

    def test_kernel_that_qemu_cannot_load_is_named(self) -> None:
        guest = base.describe(boot=DirectBoot(kernel=Image(location="/k")))
        for reason in ("invalid kernel header", "no reason", "error loading x: not ELF"):
            found = self.refusal(guest, f"the emulator ended: {reason}")
            self.assertIsInstance(found, exceptions.ImageUnacceptable)
            self.assertIn("QEMU cannot load kernel /k: ", str(found))

    def test_other_failures_stay(self) -> None:
        guest = base.describe(boot=DirectBoot(kernel=Image(location="/k")))
        for made, text in (
            (guest, "the emulator ended: cannot set up guest memory"),
            (base.describe(), "the emulator ended: no reason"),
        ):
            self.assertIs(exceptions.LibvirtError, type(self.refusal(made, text)))
