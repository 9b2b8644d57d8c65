# SPDX-License-Identifier: Apache-2.0
"""The ability of KVM by device node, processor flags, modules and a probe."""

from __future__ import annotations

import dataclasses
import errno
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from compute_driver.hardware import architecture
from compute_driver.host import kvm, kvm_probe
from compute_driver.host.cache import Cache
from compute_driver.system import interpreter

SVM = "processor\t: 0\nflags\t\t: fpu vme svm sse\n"
VMX = "processor\t: 0\nflags\t\t: fpu vme vmx sse\n"
NO_FLAG = "processor\t: 0\nflags\t\t: fpu vme sse\n"
S390X = "vendor_id       : IBM/S390\nfeatures\t: esan3 zarch sie vx\n"

RAN = kvm.Probed(reached="ran", problem="", hung=False, remedy="", at=1.0)
MADE = dataclasses.replace(RAN, reached="made")
HUNG = dataclasses.replace(
    MADE,
    problem="a small guest loop did not end within 2 s",
    hung=True,
)


class HostTestCase(unittest.TestCase):
    """A host made of files that the tests change."""

    def setUp(self) -> None:
        super().setUp()
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.root = Path(place.name)
        self.places = kvm.Places(
            device=self.root / "kvm",
            cpuinfo=self.root / "cpuinfo",
            modules=self.root / "module",
            boot_id=self.root / "boot_id",
        )
        self.places.modules.mkdir()
        self.places.boot_id.write_text(f"{self.root}\n")
        self.probe = self.enterContext(mock.patch.object(kvm, "probe", return_value=RAN))
        self.now = self.enterContext(mock.patch.object(kvm.time, "time", return_value=1.0))

    def enterContext(self, manager: Any) -> Any:  # noqa: N802 - unittest's, from Python 3.11 on
        value = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return value

    def host(self, cpuinfo: str, modules: str = "", *, node: bool = True) -> None:
        self.places.cpuinfo.write_text(cpuinfo)
        for module in modules.split():
            (self.places.modules / module).mkdir(exist_ok=True)
        self.places.device.touch() if node else self.places.device.unlink(missing_ok=True)

    def detector(self, name: str = "x86_64") -> kvm.Detector:
        return kvm.Detector(name, Cache(self.root / "cache"), self.places)


class EvidenceTest(HostTestCase):
    def test_all_signs_together_make_kvm_usable(self) -> None:
        self.host(SVM, "kvm kvm_amd")
        found = self.detector().ability()
        self.assertEqual({"x86_64", "i686"}, found.architectures)
        self.assertEqual(
            "the processor has flag svm, module kvm_amd is present,"
            f" {self.places.device} exists and opens, and a small guest loop ran to its end",
            found.reason,
        )
        self.assertEqual("", found.remedy)

    def test_a_node_without_the_flag_is_not_usable(self) -> None:
        self.host(NO_FLAG, "kvm kvm_pvm")
        found = self.detector().ability()
        self.assertEqual(frozenset(), found.architectures)
        self.assertEqual(
            f"{self.places.device} exists and opens (its module is kvm_pvm), but the"
            " processor has no vmx or svm flag",
            found.reason,
        )
        self.assertIn("enable VT-x or AMD-V", found.remedy)
        self.probe.assert_not_called()

    def test_a_thorough_look_probes_without_the_flag(self) -> None:
        self.host(NO_FLAG, "kvm kvm_pvm")
        self.probe.return_value = HUNG
        found = self.detector().ability(thorough=True)
        self.assertRegex(
            found.reason,
            "exists and opens.*, but the processor has no vmx or svm flag, and a small"
            " guest loop did not end within 2 s: ordinary guests would hang",
        )

    def test_a_good_probe_does_not_replace_the_flag(self) -> None:
        self.host(NO_FLAG)
        self.assertEqual(frozenset(), self.detector().ability(thorough=True).architectures)

    def test_a_bad_probe_outweighs_all_other_signs(self) -> None:
        self.host(VMX, "kvm kvm_intel")
        self.probe.return_value = HUNG
        found = self.detector().ability()
        self.assertEqual(frozenset(), found.architectures)
        self.assertIn(", but a small guest loop did not end", found.reason)

    def test_a_module_that_is_not_loaded(self) -> None:
        self.host(SVM, "kvm", node=False)
        found = self.detector().ability()
        self.assertEqual(
            "the processor has flag svm, but module kvm_amd is not loaded, and"
            f" {self.places.device} does not exist",
            found.reason,
        )
        self.assertEqual("modprobe kvm_amd", found.remedy)

    def test_a_missing_node(self) -> None:
        self.host(SVM, "kvm kvm_amd", node=False)
        found = self.detector().ability()
        self.assertTrue(found.proven)
        self.assertIn("kvm does not exist", found.reason)
        self.assertIn("container", found.remedy)

    def test_libvirt_decides_about_a_node_that_only_others_may_open(self) -> None:
        self.host(SVM, "kvm kvm_amd")
        with mock.patch.object(os, "open", side_effect=PermissionError(13, "Permission denied")):
            found = self.detector().ability()
        self.assertFalse(found.proven)
        self.assertEqual({"x86_64", "i686"}, found.architectures)
        self.assertIn("but this user may not open /", found.reason)
        self.assertIn("(Permission denied)", found.reason)

    def test_each_error_of_opening_has_its_remedy(self) -> None:
        self.host(SVM, "kvm kvm_amd")
        for number, mode, text, remedy in (
            (errno.EACCES, 0o600, "this user may not open", "with mode 0660"),
            (errno.EPERM, 0o666, "this user may not open", "to group|to it"),
            (errno.EBUSY, 0o666, "does not open", "kernel's log"),
        ):
            self.places.device.chmod(mode)
            refusal = OSError(number, os.strerror(number))
            with self.subTest(text=text), mock.patch.object(os, "open", side_effect=refusal):
                found = self.detector().ability()
                self.assertIn(text, found.reason)
                self.assertEqual(1, found.reason.count("but"))
                self.assertRegex(found.remedy, remedy)
                self.assertEqual(number not in (errno.EACCES, errno.EPERM), found.proven)

    def test_libvirt_does_not_decide_about_a_node_that_nobody_can_use(self) -> None:
        self.host(NO_FLAG, "kvm")
        with mock.patch.object(os, "open", side_effect=PermissionError(13, "Permission denied")):
            found = self.detector().ability()
        self.assertTrue(found.proven)
        self.assertEqual(frozenset(), found.architectures)

    def test_a_host_without_any_sign(self) -> None:
        self.places.modules.rmdir()
        self.places.boot_id.unlink()
        found = self.detector("aarch64").ability()
        self.assertEqual(frozenset(), found.architectures)

    def test_rules_of_other_architectures(self) -> None:
        cases = (
            ("s390x", S390X, "kvm", RAN, {"s390x"}),
            ("s390x", NO_FLAG, "kvm", RAN, set()),
            ("aarch64", "", "kvm", RAN, {"aarch64"}),
            ("aarch64", "", "kvm", HUNG, set()),
            ("ppc64le", "", "kvm kvm_hv", MADE, {"ppc64le"}),
            ("ppc64le", "", "kvm kvm_pr", MADE, {"ppc64le"}),
            ("riscv64", "", "kvm", RAN, {"riscv64"}),
            ("i686", VMX, "kvm kvm_intel", MADE, {"i686"}),
        )
        for name, cpuinfo, modules, probed, expected in cases:
            with self.subTest(name, cpuinfo=cpuinfo, modules=modules, probed=probed):
                self.places.boot_id.write_text(f"{self.root} {name} {cpuinfo} {probed}\n")
                self.host(cpuinfo, modules)
                self.probe.return_value = probed
                self.assertEqual(expected, self.detector(name).ability().architectures)

    def test_a_host_of_an_unknown_kind(self) -> None:
        detector = self.detector("loongarch64")
        found = detector.ability(thorough=True)
        self.assertEqual(frozenset(), found.architectures)
        self.assertIn("KVM on loongarch64 is not known", found.reason)
        self.assertTrue(found.remedy)
        self.assertTrue(detector.fingerprint())
        self.probe.assert_not_called()

    def test_remedies_of_a_bad_probe(self) -> None:
        busy = dataclasses.replace(
            MADE, problem="the probe failed: Device or resource busy", reached="opened"
        )
        unable = dataclasses.replace(busy, reached="", remedy="see why")
        cases = (
            (NO_FLAG, "", HUNG, "hang", "enable VT-x"),
            (SVM, "", HUNG, "hang", "another hypervisor"),
            (SVM, "kvm_pvm", HUNG, "hang", "unload kvm_pvm"),
            (SVM, "", busy, "busy$", "another hypervisor"),
            (SVM, "", unable, "busy$", "^see why$"),
        )
        for number, (cpuinfo, module, probed, words, remedy) in enumerate(cases):
            with self.subTest(cpuinfo=cpuinfo, module=module, probed=probed):
                self.places.boot_id.write_text(f"{self.root} {number}\n")
                (self.places.modules / "kvm_pvm").rmdir() if number == 3 else None
                self.host(cpuinfo, f"kvm kvm_amd {module}")
                self.probe.return_value = probed
                found = self.detector().ability(thorough=True)
                self.assertRegex(found.reason, words)
                self.assertRegex(found.remedy, remedy)

    def test_the_evidence_has_the_last_step_of_the_probe(self) -> None:
        self.host("", "kvm kvm_hv")
        self.probe.return_value = MADE
        found = self.detector("ppc64le").ability()
        self.assertIn("KVM made a virtual processor", found.reason)
        self.assertIn("no guest instruction was tried", found.reason)

    def test_all_architectures_that_have_kvm_have_a_rule(self) -> None:
        for facts in architecture.TABLE.values():
            for name in facts.kvm_hosts:
                self.host("", "")
                self.assertNotIn("not known to this driver", self.detector(name).ability().reason)


class RememberingTest(HostTestCase):
    def test_the_probe_runs_once_for_all_processes(self) -> None:
        self.host(SVM, "kvm kvm_amd")
        for _ in range(2):
            detector = self.detector()
            first, second = detector.ability(), detector.ability()
            self.assertEqual(first, second)
        self.probe.assert_called_once()

    def test_a_running_process_sees_that_the_host_gains_and_loses_kvm(self) -> None:
        self.host(SVM, "kvm", node=False)
        detector = self.detector()
        self.assertEqual(frozenset(), detector.ability().architectures)
        self.host(SVM, "kvm kvm_amd")
        self.assertIn("x86_64", detector.ability().architectures)
        self.places.device.unlink()
        self.assertEqual(frozenset(), detector.ability().architectures)
        self.host(SVM)
        self.assertIn("x86_64", detector.ability().architectures)

    def test_every_change_of_the_host_causes_a_probe(self) -> None:
        self.host(SVM, "kvm kvm_amd")
        detector = self.detector()
        changes = (
            lambda: self.places.device.chmod(0o640),
            lambda: (self.places.modules / "kvm_intel").mkdir(),
            lambda: self.places.boot_id.write_text(f"{self.root} again\n"),
        )
        detector.ability()
        for count, change in enumerate(changes, 2):
            change()
            detector.ability()
            self.assertEqual(count, self.probe.call_count)

    def test_another_user_causes_a_probe(self) -> None:
        self.host(SVM, "kvm kvm_amd")
        before = self.detector().fingerprint()
        with mock.patch.object(os, "getgroups", return_value=[4711]):
            self.assertNotEqual(before, self.detector().fingerprint())

    def test_a_failure_holds_for_a_minute(self) -> None:
        self.host(SVM, "kvm kvm_amd")
        self.probe.return_value = dataclasses.replace(HUNG, hung=False)
        detector = self.detector()
        detector.ability()
        self.now.return_value = 30.0
        detector.ability()
        self.probe.assert_called_once()
        self.now.return_value = 70.0
        detector.ability()
        self.assertEqual(2, self.probe.call_count)
        self.now.return_value = 0.5  # the clock was set back
        self.probe.return_value = RAN
        self.assertIn("x86_64", detector.ability().architectures)

    def test_a_slow_probe_runs_again(self) -> None:
        self.host(SVM, "kvm kvm_amd")
        self.probe.side_effect = [HUNG, RAN]
        self.assertIn("x86_64", self.detector().ability().architectures)

    def test_a_slow_probe_for_evidence_only_runs_once(self) -> None:
        self.host(NO_FLAG, "kvm")
        self.probe.return_value = HUNG
        self.detector().ability(thorough=True)
        self.probe.assert_called_once()


class ProbeTest(unittest.TestCase):
    def probe(self, script: str, *, start: float = 10.0) -> kvm.Probed:
        with tempfile.TemporaryDirectory() as place:
            program = Path(place, "probe.py")
            program.write_text(textwrap.dedent(script))
            with (
                mock.patch.object(kvm_probe, "__file__", str(program)),
                mock.patch.object(kvm, "START_SECONDS", start),
            ):
                return kvm.probe(Path("/dev/null"), "x86_64")

    def test_the_output_of_a_good_probe(self) -> None:
        found = self.probe("print('opened'); print('made'); print('ran')")
        self.assertEqual(("ran", "", False), (found.reached, found.problem, found.hung))

    def test_a_probe_that_its_alarm_ends(self) -> None:
        found = self.probe(
            """
            import os, signal
            print('made', flush=True)
            os.kill(os.getpid(), signal.SIGALRM)
            """
        )
        self.assertEqual("made", found.reached)
        self.assertIn("did not end within 2 s", found.problem)
        self.assertTrue(found.hung)

    def test_a_probe_that_no_alarm_ends_is_killed(self) -> None:
        found = self.probe("import time; time.sleep(60)", start=-1.7)
        self.assertIn("the probe did not end", found.problem)
        self.assertTrue(found.hung)

    def test_a_node_that_is_no_kvm(self) -> None:
        found = kvm.probe(Path("/dev/null"), "x86_64")
        self.assertIn("the probe failed: Inappropriate ioctl", found.problem)
        self.assertEqual("", found.reached)

    def test_no_interpreter(self) -> None:
        with mock.patch.object(interpreter, "find_python", return_value="/nonexistent/python3"):
            found = kvm.probe(Path("/dev/null"), "x86_64")
        self.assertEqual(
            "the probe did not start: /nonexistent/python3 does not start:"
            " No such file or directory",
            found.problem,
        )
        self.assertEqual(
            (False, "find out why /nonexistent/python3 does not start"), (found.hung, found.remedy)
        )

    @unittest.skipUnless(os.access("/dev/kvm", os.R_OK | os.W_OK), "no /dev/kvm to open")
    def test_a_real_probe_ends_in_time(self) -> None:
        command = [sys.executable, "-I", "-S", kvm_probe.__file__, "/dev/kvm"]
        command += [architecture.of_host(), "0.3"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        self.assertIn("made", done.stdout.split())
        self.assertIn(done.returncode, (0, -signal.SIGALRM))
