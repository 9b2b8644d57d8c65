# SPDX-License-Identifier: Apache-2.0
"""Detection of the host's abilities is correct and cheap, and starts only needed emulators."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import unittest
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

from compute_driver import exceptions
from compute_driver.choices import Firmware
from compute_driver.guest import MIB, Cpu, DirectBoot, Disk, Image
from compute_driver.hardware import architecture
from compute_driver.hardware.acceleration import Ability
from compute_driver.host import kvm
from compute_driver.host.detection import Detection
from compute_driver.libvirt.connection import Connection
from tests import guests
from tests.functional import base
from tests.functional.command import CommandLine, private_state

#: Whether the host has a node for KVM, and no processor for it.
_PRETENDS = os.access("/dev/kvm", os.R_OK | os.W_OK) and not (
    {"vmx", "svm", "sie"} & set(Path("/proc/cpuinfo").read_text().split())
)


def installed() -> list[str]:
    """Return the architectures that have an emulator on this host."""
    return [a.name for a in architecture.TABLE.values() if shutil.which(a.emulator)]


def foreign() -> architecture.Architecture:
    """Return an architecture that this host's processors do not have."""
    host = architecture.of_host()
    known = (architecture.get(name) for name in installed())
    other = next((facts for facts in known if host not in facts.kvm_hosts), None)
    if other is None:
        raise unittest.SkipTest("needs an emulator of a foreign architecture")
    return other


class WatchedTestCase(unittest.TestCase):
    """A test with a log of every start of an emulator."""

    def setUp(self) -> None:
        super().setUp()
        self.state = self.enter(private_state())
        place = Path(self.enter(tempfile.TemporaryDirectory(prefix="cd-", dir="/var/tmp")))
        self.log = place / "started"
        programs = {
            path.name
            for directory in os.environ["PATH"].split(":")
            for path in Path(directory).glob("qemu-system-*")
        }
        for program in programs:
            wrapper = place / program
            wrapper.write_text(
                f"#!/bin/sh\necho {program} >>{shlex.quote(str(self.log))}\n"
                f'exec {shutil.which(program)} "$@"\n'
            )
            wrapper.chmod(0o755)
        self.path = f"{place}:{os.environ['PATH']}"

    def enter(self, manager: Any) -> Any:
        value = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return value

    def started(self) -> set[str]:
        return set(self.log.read_text().split()) if self.log.exists() else set()

    def known_to_libvirt(self) -> int:
        """Return how many emulators the private libvirt has examined."""
        return len(list(self.state.glob("libvirt/cache/libvirt/qemu/capabilities/*.xml")))

    def line(self, **variables: str) -> CommandLine:
        return CommandLine.of_root(self.state, PATH=self.path, **variables)


class TestWhatIsStarted(WatchedTestCase):
    def test_host_show_starts_the_configured_emulator_only(self) -> None:
        wanted = foreign()
        line = self.line(OS_HYPERVISOR__ARCHITECTURES=wanted.name)
        shown = line.done("host", "show", "-f", "json").json
        self.assertEqual({wanted.emulator}, self.started())
        self.assertEqual(1, self.known_to_libvirt())
        rows = {row["architecture"]: row for row in shown["architectures"]}
        self.assertEqual(set(installed()), set(rows))
        for name, row in rows.items():
            with self.subTest(name):
                self.assertIn(row["accelerator"], ("kvm", "tcg"))
                self.assertTrue(row["reason"])
                self.assertIn("/qemu-system-", row["emulator"])
                self.assertEqual(name == wanted.name, bool(row["machines"]))
        self.assertEqual(shown["qemu_version"], rows[wanted.name]["emulator_version"])

        self.log.unlink()
        line.done("host", "check", "-f", "json")
        line.done("host", "show", "-f", "json")
        self.assertEqual(set(), self.started())

    def test_host_show_starts_what_is_asked_for(self) -> None:
        asked = installed()[-1]
        line = self.line()
        shown = line.done("host", "show", "--arch", asked, "-f", "json").json
        wanted = {architecture.get(name).emulator for name in (architecture.of_host(), asked)}
        self.assertEqual(wanted, self.started())
        in_full = [row for row in shown["architectures"] if row["emulator_version"]]
        self.assertEqual(len(wanted), len(in_full))

    def test_spawn_starts_its_own_emulator_only(self) -> None:
        line = self.line()
        line.done("spawn", "tiny", "--disk", "1", "--memory", "16", "--arch", "x86_64")
        self.addCleanup(line.done, "destroy", "tiny")
        line.done("show", "tiny", "-f", "json")
        self.assertEqual({"qemu-system-x86_64"}, self.started())
        self.assertEqual(1, self.known_to_libvirt())


@unittest.skipUnless(_PRETENDS, "needs a /dev/kvm that cannot run ordinary guests")
class TestPretendedKvm(WatchedTestCase):
    """The host's node for KVM opens and libvirt offers KVM, but no ordinary guest can run."""

    def test_host_check_explains_it(self) -> None:
        line = self.line(OS_HYPERVISOR__VIRT_TYPE="kvm")
        checks = line.done("host", "check", "-f", "json").json
        (kvm,) = (check for check in checks if check["Subject"] == "KVM")
        self.assertEqual("warning", kvm["Verdict"])
        self.assertRegex(
            kvm["Detail"],
            "^no usable KVM: /dev/kvm exists and opens.*, but the processor has no vmx or svm flag,"
            " and a small guest loop did not end within 1 s:"
            " ordinary guests would hang$",
        )
        self.assertRegex(kvm["Remedy"], "nested virtualisation.*or set virt_type = qemu")

    def test_demanded_kvm_is_refused_before_anything_is_made(self) -> None:
        line = self.line(OS_HYPERVISOR__VIRT_TYPE="kvm", OS_HYPERVISOR__EMULATION_FALLBACK="false")
        text = line.refused(1, "spawn", "tiny", "--disk", "1")
        self.assertRegex(text, "no usable KVM for x86_64 guests: .*set virt_type = qemu or")
        self.assertEqual(set(), self.started())
        line.nothing_is_left()
        checks = line.run("host", "check", "-f", "json")
        verdicts = {check["Subject"]: check["Verdict"] for check in checks.json}
        self.assertEqual((1, "failure"), (checks.status, verdicts["KVM"]))


class DetectionTestCase(base.HostTestCase):
    """A test with its own connection to this process's libvirt."""

    def connection(self) -> Connection:
        connection = Connection(self.driver.conf)
        self.addCleanup(connection.close)
        return connection


class TestCache(DetectionTestCase):
    def test_second_look_runs_no_program(self) -> None:
        detection = Detection(self.driver.conf, self.connection())
        first = list(detection.architectures())
        self.assertTrue(first)
        with mock.patch("subprocess.Popen", side_effect=AssertionError):
            self.assertEqual(first, list(detection.architectures()))


class TestAgreement(base.HostTestCase):
    """The driver refuses exactly the processors with which QEMU does not start."""

    options: ClassVar[dict[str, Any]] = {"virt_type": "qemu"}

    #: Architecture, processor, whether an emulated guest can have the processor.
    cases: ClassVar[tuple[tuple[str, Cpu, bool], ...]] = (
        ("x86_64", Cpu(model="Haswell"), True),
        ("x86_64", Cpu(model="Haswel"), False),
        ("x86_64", Cpu(model="Nehalem", enable=("avx2",), disable=("popcnt",)), True),
        ("x86_64", Cpu(model="Nehalem", enable=("no-such",)), False),
        ("x86_64", Cpu(model="Nehalem", disable=("no-such",)), False),
        ("aarch64", Cpu(model="cortex-a57"), True),
        ("aarch64", Cpu(model="cortex-a8"), False),
        ("aarch64", Cpu(model="max", disable=("sve",)), True),
        ("aarch64", Cpu(model="cortex-a57", enable=("sve",)), False),
        ("s390x", Cpu(model="qemu", enable=("vx",)), True),
        ("s390x", Cpu(model="z14"), False),
        ("ppc64le", Cpu(model="POWER9"), True),
        ("ppc64le", Cpu(model="power9"), False),
        ("ppc64le", Cpu(model="maximum"), False),
        *((name, Cpu(model="host-model"), True) for name in architecture.TABLE),
        *((name, Cpu(model="host-passthrough"), True) for name in architecture.TABLE),
    )

    def test_processors(self) -> None:
        for name, cpu, possible in self.cases:
            if not shutil.which(architecture.get(name).emulator):
                continue
            made = base.guest(architecture=name, cpu=cpu, interfaces=(), **_tiny(name))
            with self.subTest(name, cpu=cpu):
                try:
                    if possible:
                        self.driver.spawn(made)
                        continue
                    with self.assertRaisesRegex(exceptions.InvalidParameter, "^cpu"):
                        self.driver.spawn(made)
                    with (
                        mock.patch.object(Detection, "check_hardware"),
                        self.assertRaises(exceptions.LibvirtError),
                    ):
                        self.driver.spawn(made)
                finally:
                    self.driver.destroy(made.uuid)


def _tiny(name: str) -> dict[str, Any]:
    """Return fields of a guest that the emulator starts; the guest need not boot."""
    if Firmware.BIOS in architecture.get(name).machines[0].firmwares:
        return {"image": None, "root": Disk(size_bytes=MIB)}
    return {"boot": DirectBoot(kernel=Image(location=str(guests.build().kernel)))}


class TestLibvirt(DetectionTestCase):
    def test_libvirt_without_kvm_overrules_the_probe(self) -> None:
        """Such a QEMU's user may not open the node, or the emulator was built without KVM."""
        facts = foreign()
        detection = Detection(self.driver.conf, self.connection())
        seen = Ability(frozenset({facts.name}), "it was probed")
        with mock.patch.object(kvm.Detector, "ability", return_value=seen):
            ability = detection.ability(facts)
        self.assertEqual(frozenset(), ability.architectures)
        self.assertRegex(
            ability.why_not(facts.name),
            "it was probed, but libvirt does not offer KVM: .*kvm.*not supported",
        )
