# SPDX-License-Identifier: Apache-2.0
"""What the host's device node and processor flags say about KVM."""

from __future__ import annotations

import os
import tempfile
import unittest
from pathlib import Path

from compute_driver import kvm

WITH_SVM = "processor\t: 0\nflags\t\t: fpu vme svm sse\n"
WITHOUT = "processor\t: 0\nflags\t\t: fpu vme sse\n"
S390X = "vendor_id       : IBM/S390\nfeatures\t: esan3 zarch sie vx\n"


class DetectTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.device = Path(place.name, "kvm")
        self.cpuinfo = Path(place.name, "cpuinfo")

    def detect(self, host: str, cpuinfo: str, *, node: bool) -> kvm.Ability:
        self.cpuinfo.write_text(cpuinfo)
        self.device.touch() if node else self.device.unlink(missing_ok=True)
        return kvm.detect(host, device=self.device, cpuinfo=self.cpuinfo)

    def test_flag_and_node_make_it_usable(self) -> None:
        found = self.detect("x86_64", WITH_SVM, node=True)
        self.assertEqual(found.architectures, {"x86_64", "i686"})

    def test_a_node_without_the_flag_is_not_believed(self) -> None:
        found = self.detect("x86_64", WITHOUT, node=True)
        self.assertEqual(found.architectures, frozenset())
        self.assertIn("no vmx or svm flag", found.reason)
        self.assertIn(f"{self.device} exists but", found.reason)

    def test_no_node(self) -> None:
        found = self.detect("x86_64", WITH_SVM, node=False)
        self.assertEqual(found.architectures, frozenset())
        self.assertIn("does not exist", found.reason)

    @unittest.skipIf(os.geteuid() == 0, "root may open everything")
    def test_a_node_that_may_not_be_opened(self) -> None:
        self.device.touch(mode=0o000)
        found = self.detect("x86_64", WITH_SVM, node=True)
        self.assertIn("may not be opened", found.reason)

    def test_flags_of_other_architectures(self) -> None:
        self.assertEqual(self.detect("s390x", S390X, node=True).architectures, {"s390x"})
        self.assertEqual(self.detect("s390x", WITHOUT, node=True).architectures, frozenset())
        self.assertEqual(self.detect("aarch64", "", node=True).architectures, {"aarch64", "armv7l"})
