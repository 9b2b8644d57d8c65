# SPDX-License-Identifier: Apache-2.0
"""The questions to emulators and to libvirt, and the conclusions from the answers."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from compute_driver import exceptions
from compute_driver.choices import Accelerator, Firmware, VideoModel
from compute_driver.consoles import DisplayKind, Served
from compute_driver.guest import Cpu
from compute_driver.hardware import architecture, resolve
from compute_driver.hardware.acceleration import Ability
from compute_driver.host import capabilities, emulator, kvm, refusal
from compute_driver.host.detection import Detection
from compute_driver.info import Check
from compute_driver.libvirt.connection import Connection
from compute_driver.operations import host_check
from compute_driver.system import tools
from tests.unit import base

#: An emulator that knows three machines, and refuses CPU models that begin with "bad".
EMULATOR = """\
    #!{python}
    import json, os, sys
    with open(os.path.join(os.path.dirname(__file__), "started"), "a") as log:
        log.write(os.path.basename(__file__) + " " + " ".join(sys.argv[1:]) + "\\n")
    cpu = sys.argv[sys.argv.index("-cpu") + 1] if "-cpu" in sys.argv else ""
    if cpu.startswith("bad"):
        sys.exit(f"emulator: CPU type {{cpu}} not supported")
    if cpu.startswith("partial"):
        sys.stderr.write("TCG doesn't support requested feature: CPUID.01H:ECX.x2apic [bit 21]")
    answers = {{
        "query-version": {{"qemu": {{"major": 7, "minor": 2, "micro": 22}}}},
        "query-machines": [
            {{"name": "pc-q35-7.2", "alias": "q35", "deprecated": False}},
            {{"name": "pc-q35-2.4", "deprecated": True}},
            {{"name": "isapc", "deprecated": False}},
        ],
        "query-cpu-model-expansion": {{"model": {{"props": {{"avx2": True, "avx512f": False}}}}}},
    }}
    print(json.dumps({{"QMP": {{}}}}))
    for line in sys.stdin:
        print(json.dumps({{"return": answers.get(json.loads(line)["execute"], {{}})}}))
"""

CAPABILITIES = """
<domainCapabilities><path>{path}</path><domain>{kind}</domain><machine>pc-q35-7.2</machine>
  <arch>{arch}</arch><vcpu max='288'/>
  <os supported='yes'><enum name='firmware'>{firmware}</enum>
    <loader supported='yes'><enum name='secure'>{secure}<value>no</value></enum></loader></os>
  <cpu><mode name='host-passthrough' supported='no'/><mode name='maximum' supported='yes'/>
    <mode name='host-model' supported='yes'><model fallback='forbid'>EPYC</model></mode>
    <mode name='custom' supported='yes'><model usable='yes'>Nehalem</model>
      <model usable='yes'>Westmere</model><model usable='yes'>badly</model>
      <model usable='no'>partial-Haswell</model></mode></cpu>
  <devices><graphics supported='yes'><enum name='type'><value>vnc</value></enum></graphics>
  </devices>
</domainCapabilities>
"""


class FakeLibvirt:
    """Answers for one emulator as libvirt does, and counts the questions."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.kvm = True
        self.firmware = "<value>efi</value>"
        self.secure = "<value>yes</value>"
        self.native: str | Exception = ""

    def run(self, function: Any, *arguments: Any) -> Any:
        self.asked.append(function.__name__)
        return getattr(self, function.__name__)(*arguments)

    def getLibVersion(self) -> int:  # noqa: N802 - libvirt's names
        return 9000000

    def getDomainCapabilities(self, path: str, arch: str, machine: str, kind: str) -> str:  # noqa: N802
        if kind == "kvm" and not self.kvm:
            raise exceptions.LibvirtError("invalid argument: the accel 'kvm' is not supported")
        return CAPABILITIES.format(
            path=path, arch=arch, kind=kind, firmware=self.firmware, secure=self.secure
        )

    def baselineHypervisorCPU(self, *_arguments: Any) -> str:  # noqa: N802
        names = ("avx2", "sse4.1", "sse4.2")
        features = "".join(f"<feature policy='require' name='{name}'/>" for name in names)
        return f"<cpu>{features}</cpu>"

    def domainXMLToNative(self, _kind: str, xml: str) -> str:  # noqa: N802
        if isinstance(self.native, Exception):
            raise self.native
        model = xml.partition('forbid">')[2].partition("<")[0] or "max"
        return self.native or f"LC_ALL=C qemu -cpu {model} -m 64"


class DetectionTestCase(unittest.TestCase):
    """An x86_64 host with emulators for x86_64 and s390x."""

    def setUp(self) -> None:
        super().setUp()
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.root = Path(place.name)
        for name in ("x86_64", "s390x"):
            program = self.root / f"qemu-system-{name}"
            program.write_text(textwrap.dedent(EMULATOR).format(python=sys.executable))
            program.chmod(0o755)
        for patch in (
            mock.patch.dict(os.environ, {"PATH": str(self.root)}),
            mock.patch.object(tools, "SYSTEM_DIRECTORIES", ()),
            mock.patch.object(architecture, "of_host", return_value="x86_64"),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        self.libvirt = FakeLibvirt()
        self.ability = Ability(frozenset({"x86_64", "i686"}), "it was probed")

    def detection(self, **options: Any) -> Detection:
        connection = mock.create_autospec(Connection, instance=True)
        connection.run.side_effect = self.libvirt.run
        connection.uri = "test:///"
        configuration = base.configuration(state_path=str(self.root / "state"), **options)
        detector = mock.create_autospec(kvm.Detector, instance=True)
        detector.ability.side_effect = lambda **_how: self.ability
        detector.fingerprint.side_effect = lambda: self.ability.reason
        with mock.patch.object(kvm, "Detector", return_value=detector):
            return Detection(configuration, connection)

    def started(self) -> list[str]:
        log = self.root / "started"
        return log.read_text().splitlines() if log.exists() else []


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


class ModelsTest(DetectionTestCase):
    def accepted(self, accelerator: Accelerator = Accelerator.TCG, **changes: Any) -> None:
        guest = base.describe(**{"architecture": "x86_64", **changes})
        detection = self.detection()
        detection.check_machine(guest)
        detection.check_hardware(guest, resolve.resolve(guest, accelerator, guest.cpu, Served()))

    def refused(self, pattern: str, **changes: Any) -> None:
        with self.assertRaisesRegex(exceptions.InvalidParameter, pattern):
            self.accepted(**changes)

    def test_a_screen_that_the_emulator_cannot_serve(self) -> None:
        def served(kind: DisplayKind, **changes: Any) -> None:
            guest = base.describe(architecture="x86_64", **changes)
            served = Served(displays=((kind, "127.0.0.1"),))
            hardware = resolve.resolve(guest, Accelerator.TCG, guest.cpu, served)
            self.detection().check_hardware(guest, hardware)

        served(DisplayKind.VNC)
        with self.assertRaisesRegex(exceptions.MissingDependency, "qemu-system-modules-spice"):
            served(DisplayKind.SPICE)
        served(DisplayKind.SPICE, video=VideoModel.NONE)

    def test_possible_hardware_is_accepted(self) -> None:
        self.accepted()
        self.accepted(machine="pc-q35-2.4", vcpus=255, cpu=Cpu(model="Nehalem", enable=("avx2",)))
        self.accepted(firmware=Firmware.UEFI, secure_boot=True, cpu=Cpu(model="maximum"))

    def test_machines(self) -> None:
        self.refused("machine: 'q36' .*accepted: q35, pc-q35-7.2, pc-q35-2.4$", machine="q36")
        self.assertEqual([], [name for name in self.libvirt.asked if "Domain" in name])

    def test_number_of_processors(self) -> None:
        self.refused("vcpus: 256 .*at most 255", vcpus=256)
        many = base.describe(architecture="s390x", vcpus=300)
        hardware = resolve.resolve(many, Accelerator.TCG, many.cpu, Served())
        with self.assertRaisesRegex(exceptions.NotOnThisHost, "vcpus: 300 .*at most 288"):
            self.detection().check_hardware(many, hardware)

    def test_firmware(self) -> None:
        self.libvirt.secure = ""
        self.refused("secure_boot.*ovmf", firmware=Firmware.UEFI, secure_boot=True)
        self.libvirt.firmware = ""
        self.ability = dataclasses.replace(self.ability, reason="changed")
        self.refused(
            "firmware: 'uefi'.*bios, a kernel given directly; or install .*ovmf",
            firmware=Firmware.UEFI,
        )

    def test_the_nearest_models_come_first(self) -> None:
        self.refused("cpu: 'nehalm' .*accepted: Nehalem, ", cpu=Cpu(model="nehalm"))
        self.refused(
            "'host-passthrough' .*accepted: host-model, .*see"
            " 'compute-driver host show --arch x86_64'",
            cpu=Cpu(model="host-passthrough"),
        )

    def test_models_that_lack_features(self) -> None:
        with self.assertLogs(refusal.LOG, "WARNING") as logged:
            self.accepted(cpu=Cpu(model="partial-Haswell"))
        self.assertIn("leaves out features of CPU model partial-Haswell: x2apic", logged.output[0])
        self.refused(
            "partial-Haswell", accelerator=Accelerator.KVM, cpu=Cpu(model="partial-Haswell")
        )

    def test_models_that_only_the_emulator_refuses(self) -> None:
        self.refused(
            "cpu: 'badly' .*accepted: (?!badly).*Nehalem.*CPU type badly not supported",
            cpu=Cpu(model="badly"),
        )

    def test_features(self) -> None:
        self.refused(
            "cpu feature: 'sse4_1' .*accepted: sse4.1", cpu=Cpu(model="Nehalem", enable=("sse4_1",))
        )
        self.refused("features of a CPU model that is named, too", cpu=Cpu(enable=("avx2",)))

    def test_features_that_only_libvirt_refuses(self) -> None:
        self.libvirt.native = exceptions.LibvirtError("unknown CPU feature: ssse3")
        self.refused(
            "cpu feature: 'ssse3' .*accepted: sse4", cpu=Cpu(model="Nehalem", disable=("ssse3",))
        )
        self.libvirt.native = exceptions.LibvirtError(
            "the CPU is incompatible with host CPU: Host CPU does not provide required features:"
            " svm, avx2"
        )
        self.refused("cpu feature: 'avx2'", cpu=Cpu(model="Nehalem", enable=("avx2",)))
        self.refused("cpu: 'Nehalem' .*Westmere.*svm", cpu=Cpu(model="Nehalem"))

    def test_a_processor_is_rehearsed_once(self) -> None:
        for _ in range(2):
            self.accepted(cpu=Cpu(model="Nehalem"))
        rehearsals = [line for line in self.started() if "-cpu Nehalem" in line]
        self.assertEqual(1, len(rehearsals))
        self.assertIn("-machine pc-q35-7.2,accel=tcg", rehearsals[0])

    def test_a_rehearsal_that_did_not_end_is_no_refusal(self) -> None:
        program = self.root / "qemu-system-x86_64"
        text = program.read_text()
        machine, cpu = "pc-q35-7.2", "Nehalem"
        for line in (
            "os.kill(os.getpid(), 9)",
            "os.kill(os.getpid(), 24)",
            "import time; time.sleep(60)",
            "sys.exit('cannot set up guest memory: Cannot allocate memory')",
        ):
            with self.subTest(line):
                program.write_text(text.replace("import json, os, sys", f"import os, sys\n{line}"))
                emulators = self.detection()._emulators
                with (
                    mock.patch.object(emulator, "DEADLINE", 1),
                    self.assertRaises(exceptions.ToolFailed),
                ):
                    emulators.rehearse(str(program), machine, cpu)
                program.write_text(text)
                self.assertEqual("", emulators.rehearse(str(program), machine, cpu).refusal)

    def test_the_number_of_kept_rehearsals_is_bounded(self) -> None:
        emulators = self.detection()._emulators
        done = emulator.Rehearsal(refusal="", left_out=())
        with mock.patch.object(emulator, "rehearse", return_value=done):
            for number in range(100):
                emulators.rehearse(str(self.root / "qemu-system-x86_64"), "q35", f"max,f{number}")
        (kept,) = (self.root / "state" / "detection").iterdir()
        self.assertEqual(64, len(json.loads(kept.read_text())))
        self.assertEqual(1, len(emulators._cache._known))

    def test_libvirt_is_asked_for_features_only_if_the_guest_names_one(self) -> None:
        self.accepted(cpu=Cpu(model="Nehalem", disable=("avx2",)))
        self.assertNotIn("baselineHypervisorCPU", self.libvirt.asked)

    def test_libvirt_alone_decides_with_kvm(self) -> None:
        self.accepted(accelerator=Accelerator.KVM, cpu=Cpu(model="Nehalem"))
        self.assertEqual([], [line for line in self.started() if "-cpu" in line])


class NearestTest(unittest.TestCase):
    def test_case_does_not_matter(self) -> None:
        self.assertEqual("POWER9, POWER10", refusal.nearest("power9", ["POWER10", "POWER9"]))

    def test_names_beyond_the_fifth_are_counted(self) -> None:
        names = [f"model-{number}" for number in range(20)]
        text = refusal.nearest("model-7", names, "x86_64")
        self.assertRegex(text, r"^model-7, .* and 15 others; see '.*--arch x86_64'$")

    def test_no_names(self) -> None:
        self.assertEqual("none", refusal.nearest("x", []))


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
