# SPDX-License-Identifier: Apache-2.0
"""The questions to emulators and to libvirt, and the conclusions from the answers."""

from __future__ import annotations

import dataclasses
import os
from typing import Any
from unittest import mock

from compute_driver import exceptions
from compute_driver.choices import Accelerator
from compute_driver.hardware import architecture
from compute_driver.hardware.acceleration import Ability
from compute_driver.host import capabilities
from compute_driver.info import Check
from compute_driver.operations import host_check
from tests.unit import base
from tests.unit.host.detection import DetectionTestCase


class ArchitecturesTest(DetectionTestCase):
    def test_only_the_hosts_own_architecture_is_described_in_full(self) -> None:
        own, foreign = self.detection(virt_type="qemu").architectures()
        self.assertEqual(("x86_64", "s390x"), (own.architecture, foreign.architecture))
        self.assertEqual("7.2.22", own.emulator_version)
        self.assertEqual(["pc-q35-2.4", "pc-q35-7.2"], [machine.name for machine in own.machines])
        old, new = own.machines
        self.assertEqual((True, False), (old.deprecated, old.default))
        self.assertEqual(("q35", True), (new.alias, new.default))
        self.assertEqual(("maximum", "host-model", "Nehalem", "Westmere", "badly"), own.cpu_models)
        self.assertEqual(("partial-Haswell",), own.incomplete_cpu_models)
        self.assertEqual(255, own.max_vcpus)
        self.assertEqual(("bios", "uefi", "uefi with secure boot"), own.firmware)
        self.assertEqual(
            (str(self.root / "qemu-system-s390x"), "tcg", None),
            (foreign.emulator, foreign.accelerator, foreign.firmware),
        )
        (command,) = self.started()
        self.assertIn("qemu-system-x86_64 -machine none", command)

    def test_features_are_those_of_all_models_that_the_operator_names(self) -> None:
        for options, features in (
            ({}, ("avx2", "sse4.1", "sse4.2")),
            ({"cpu_models": ["Nehalem"]}, ("sse4.1", "sse4.2")),
            ({"cpu_models": ["Nehalem", "Westmere"]}, ("aes", "sse4.1", "sse4.2")),
            (
                {"cpu_models": ["Nehalem"], "cpu_features": ["+pcid", "-sse4.2"]},
                ("pcid", "sse4.1"),
            ),
            ({"cpu_models": ["unknown"]}, ()),
        ):
            with self.subTest(options):
                own, *_others = self.detection(**options).architectures()
                self.assertEqual(("kvm", features), (own.accelerator, own.cpu_features))

    def test_configured_architectures_replace_the_hosts_own(self) -> None:
        own, foreign = self.detection(architectures=["S390X"]).architectures()
        self.assertEqual(("", "7.2.22"), (own.emulator_version, foreign.emulator_version))
        (command,) = self.started()
        self.assertIn("qemu-system-s390x", command)

    def test_named_architectures_are_added(self) -> None:
        found = list(self.detection().architectures(["s390x", "ppc64el"]))
        self.assertEqual(["7.2.22", "", "7.2.22"], [each.emulator_version for each in found])
        missing = found[1]
        self.assertEqual(
            ("ppc64le", "", None), (missing.architecture, missing.emulator, missing.accelerator)
        )
        self.assertIn("Debian package qemu-system-ppc", missing.reason)

    def test_unknown_names_are_refused(self) -> None:
        with self.assertRaisesRegex(exceptions.InvalidParameter, "vax.*x86_64"):
            list(self.detection().architectures(["vax"]))

    def test_an_architecture_whose_guests_are_refused(self) -> None:
        self.ability = Ability(frozenset(), "no flag")
        own, _foreign = self.detection(emulation_fallback=False).architectures()
        self.assertIsNone(own.accelerator)
        self.assertIn("no usable KVM", own.reason)
        self.assertEqual(("7.2.22", 255), (own.emulator_version, own.max_vcpus))

    def test_an_emulator_that_does_not_run_hides_no_other(self) -> None:
        (self.root / "qemu-system-s390x").write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
        own, foreign = self.detection().architectures(["s390x"])
        self.assertEqual("kvm", own.accelerator)
        self.assertIn("does not run: broken", foreign.reason)

    def test_no_emulator_starts_twice(self) -> None:
        detection = self.detection()
        first = list(detection.architectures())
        self.assertEqual(first, list(detection.architectures()))
        self.assertEqual(first, list(self.detection().architectures()))
        self.assertEqual(1, len(self.started()))
        self.assertEqual(1, self.libvirt.asked.count("getDomainCapabilities"))

    def test_a_new_emulator_is_asked_again(self) -> None:
        detection = self.detection()
        list(detection.architectures())
        program = self.root / "qemu-system-x86_64"
        program.write_text(program.read_text().replace('"micro": 22', '"micro": 23'))
        own, _foreign = detection.architectures()
        self.assertEqual("7.2.23", own.emulator_version)

    def test_emulator_of_another_name_runs_the_hosts_own_architecture(self) -> None:
        program = self.root / "qemu-kvm"
        (self.root / "qemu-system-x86_64").rename(program)
        with mock.patch("compute_driver.host.detection.NATIVE_EMULATOR", str(program)):
            detection = self.detection()
            for name in ("x86_64", "i686"):  # the architectures that the host's KVM runs
                self.assertEqual(str(program), detection.emulator(architecture.get(name)))
            with self.assertRaises(exceptions.MissingDependency):
                detection.emulator(architecture.get("aarch64"))


class LibvirtsWordTest(DetectionTestCase):
    def test_the_probe_and_libvirt_must_agree(self) -> None:
        self.assertIs(Accelerator.KVM, self.detection().decide("x86_64").accelerator)
        self.libvirt.kvm = False
        self.ability = dataclasses.replace(self.ability, reason="it was probed again")
        decision = self.detection().decide("x86_64")
        self.assertIs(Accelerator.TCG, decision.accelerator)
        self.assertTrue(decision.fallback)
        self.assertIn("but libvirt does not offer KVM: invalid argument", decision.reason)

    def test_a_refusal_of_libvirt_holds_for_a_minute(self) -> None:
        self.libvirt.kvm = False
        detection = self.detection()
        with mock.patch("time.time", return_value=1.0) as now:
            self.assertIs(Accelerator.TCG, detection.decide("x86_64").accelerator)
            self.libvirt.kvm = True
            self.assertIs(Accelerator.TCG, detection.decide("x86_64").accelerator)
            now.return_value = 100.0
            self.assertIs(Accelerator.KVM, detection.decide("x86_64").accelerator)

    def test_libvirt_is_asked_only_about_usable_kvm(self) -> None:
        unlooked = []
        for options, name in (({"virt_type": "qemu"}, "x86_64"), ({}, "s390x")):
            detection = self.detection(**options)
            with mock.patch.object(detection._kvm, "ability", unlooked.append):
                detection.decide(name)
        self.assertEqual([], unlooked)
        self.ability = Ability(frozenset(), "no flag")
        self.detection().decide("x86_64")
        self.assertEqual([], self.libvirt.asked)

    def test_a_refusal_of_the_future_does_not_hold(self) -> None:
        self.libvirt.kvm = False
        detection = self.detection()
        with mock.patch("time.time", return_value=1000.0) as now:
            detection.decide("x86_64")
            self.libvirt.kvm = True
            now.return_value = 900.0
            self.assertIs(Accelerator.KVM, detection.decide("x86_64").accelerator)

    def test_files_of_the_user_change_the_answer(self) -> None:
        with mock.patch.dict(os.environ, {"XDG_CONFIG_HOME": str(self.root / "etc")}):
            before = capabilities._configuration()
            for name in ("libvirt/qemu.conf", "qemu/firmware/50-edk2.json"):
                path = self.root / "etc" / name
                path.parent.mkdir(parents=True)
                path.write_text("{}")
                after = capabilities._configuration()
                self.assertNotEqual(before, after)
                os.utime(path, (1, 1))  # an edit in place
                before = capabilities._configuration()
                self.assertNotEqual(after, before)

    def test_a_node_that_only_the_user_of_qemu_may_open(self) -> None:
        self.ability = dataclasses.replace(self.ability, reason="not opened", proven=False)
        system = self.detection(connection_uri="qemu:///system").decide("x86_64")
        self.assertIs(Accelerator.KVM, system.accelerator)
        self.assertIn("not opened; QEMU's user may, since libvirt offers KVM", system.reason)
        for uri in (None, "qemu:///session"):
            decision = self.detection(connection_uri=uri).decide("x86_64")
            self.assertIs(Accelerator.TCG, decision.accelerator)

    def test_a_node_that_this_user_may_not_open_is_not_usable(self) -> None:
        """This holds for architectures without a full description and for ``host check``."""
        self.ability = dataclasses.replace(self.ability, reason="not opened", proven=False)
        (self.root / "qemu-system-i386").symlink_to("qemu-system-x86_64")
        for uri, words in ((None, "not opened"), ("qemu:///system", "libvirt was not asked")):
            with self.subTest(uri):
                detection = self.detection(connection_uri=uri)
                self.assertEqual(frozenset(), detection.own_ability().architectures)
                found = {each.architecture: each for each in detection.architectures()}
                self.assertEqual("tcg", found["i686"].accelerator)
                self.assertIn(words, found["i686"].reason)

    def test_a_host_of_an_unknown_kind(self) -> None:
        self.ability = Ability(frozenset(), "not known")
        with mock.patch.object(architecture, "of_host", return_value="loongarch64"):
            detection = self.detection()
        self.assertEqual([], list(detection.configured()))
        self.assertEqual({"tcg"}, {each.accelerator for each in detection.architectures()})


class PreflightTest(DetectionTestCase):
    """The results of ``host check``."""

    def checks(self, **options: Any) -> dict[str, Check]:
        parts = mock.Mock(spec_set=["conf", "host"])
        parts.conf = base.configuration(**options)
        parts.host.detection = self.detection(**options)
        looks = (
            *host_check._acceleration(parts),
            *host_check._architectures(parts),
        )
        return {found.subject: found for found in looks}

    def test_usable_kvm(self) -> None:
        found = self.checks()
        self.assertEqual(("ok", ""), (found["KVM"].verdict, found["KVM"].remedy))
        self.assertEqual("usable: it was probed", found["KVM"].detail)
        self.assertRegex(
            found["x86_64 guests"].detail, r"^kvm \(hardware-assisted\) by .*x86_64 7\.2\.22: "
        )
        self.assertEqual("absent", found["ppc64le guests"].verdict)
        self.assertIn("set virt_type = kvm", self.checks(virt_type="qemu")["KVM"].remedy)

    def test_unusable_kvm(self) -> None:
        self.ability = Ability(frozenset(), "no flag", remedy="get one")
        found = self.checks()["KVM"]
        self.assertEqual(("warning", "no usable KVM: no flag"), (found.verdict, found.detail))
        self.assertEqual("get one; or set virt_type = qemu", found.remedy)
        found = self.checks(emulation_fallback=False)["KVM"]
        self.assertEqual("failure", found.verdict)
        found = self.checks(virt_type="qemu")["KVM"]
        self.assertEqual(("ok", ""), (found.verdict, found.remedy))

    def test_kvm_that_this_user_may_not_open(self) -> None:
        self.ability = dataclasses.replace(
            self.ability, reason="not opened", proven=False, remedy="join the group"
        )
        (self.root / "qemu-system-x86_64").unlink()
        found = self.checks()["KVM"]
        self.assertEqual(("warning", "no usable KVM: not opened"), (found.verdict, found.detail))

    def test_an_emulator_that_does_not_run(self) -> None:
        (self.root / "qemu-system-x86_64").write_text("#!/bin/sh\nexit 1\n")
        found = self.checks()["x86_64 guests"]
        self.assertEqual(("failure", "reinstall qemu-system-x86"), (found.verdict, found.remedy))

    def test_firmware_of_described_architectures(self) -> None:
        self.assertEqual(
            "uefi, uefi with secure boot", self.checks()["UEFI firmware for x86_64"].detail
        )
        self.assertNotIn("UEFI firmware for s390x", self.checks(architectures=["s390x"]))
        self.libvirt.firmware = ""
        self.ability = dataclasses.replace(self.ability, reason="changed")
        found = self.checks()["UEFI firmware for x86_64"]
        self.assertEqual(("warning", "install ovmf"), (found.verdict, found.remedy))

    def test_a_host_of_an_unknown_kind(self) -> None:
        self.ability = Ability(frozenset(), "not known", remedy="none")
        with mock.patch.object(architecture, "of_host", return_value="loongarch64"):
            found = self.checks()
        self.assertEqual("no usable KVM: not known", found["KVM"].detail)

    def test_kvm_that_libvirt_does_not_offer(self) -> None:
        self.libvirt.kvm = False
        found = self.checks()["KVM"]
        self.assertEqual("warning", found.verdict)
        self.assertIn("it was probed, but libvirt does not offer KVM", found.detail)
        self.assertIn("group kvm", found.remedy)

    def test_without_libvirt_the_other_checks_run(self) -> None:
        away = exceptions.LibvirtUnavailable("libvirt is not reachable")
        with mock.patch.object(self.libvirt, "run", side_effect=away):
            found = self.checks()
        self.assertEqual("usable: it was probed", found["KVM"].detail)
        self.assertEqual("failure", found["x86_64 guests"].verdict)
        self.assertIn("see libvirt", found["x86_64 guests"].remedy)
        self.assertEqual("ok", found["s390x guests"].verdict)

    def test_configured_architectures_are_needed(self) -> None:
        found = self.checks(architectures=["ppc64le"])
        self.assertEqual("failure", found["ppc64le guests"].verdict)
        self.assertEqual("install qemu-system-ppc", found["ppc64le guests"].remedy)
