# SPDX-License-Identifier: Apache-2.0
"""Processors, machines and screens that the host cannot give to a guest."""

from __future__ import annotations

import dataclasses
import json
import unittest
from typing import Any
from unittest import mock

from compute_driver import exceptions
from compute_driver.choices import Accelerator, Firmware, NicModel, SoundModel, VideoModel
from compute_driver.consoles import DisplayKind, Served
from compute_driver.guest import Cpu, Interface
from compute_driver.hardware import resolve
from compute_driver.host import emulator, refusal
from tests.unit import base
from tests.unit.host.detection import DetectionTestCase


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

    def test_models_of_devices(self) -> None:
        self.accepted(interfaces=(Interface(), Interface(model=NicModel.E1000)))
        nic = Interface(model=NicModel.IGB)
        self.refused("nic model: 'igb' .*accepted: virtio, e1000$", interfaces=(nic,))
        self.accepted(video=VideoModel.VGA)
        self.refused("video: 'vmvga' .*accepted: virtio, vga, none$", video=VideoModel.VMVGA)
        self.refused("video: 'qxl' .*qemu-system-modules-spice", video=VideoModel.QXL)
        self.refused("sound: 'ac97' .*accepted: ich9, virtio, pcspk$", sound=SoundModel.AC97)

    def test_sound_cards_that_an_old_libvirt_cannot_make(self) -> None:
        for model in (SoundModel.VIRTIO, SoundModel.PCSPK):
            for native in (exceptions.LibvirtError("unknown"), "qemu -soundhw x", "qemu -cpu x"):
                self.libvirt.native = native
                # libvirt is asked again, as on another host.
                self.ability = dataclasses.replace(self.ability, reason=f"{model} {native}")
                if native == "qemu -cpu x":
                    self.accepted(sound=model)
                else:
                    self.refused(f"sound: '{model}' .*accepted: ich9$", sound=model)

    def test_absent_devices_are_described(self) -> None:
        (info,) = (i for i in self.detection().architectures() if i.architecture == "x86_64")
        self.assertIn("nic model igb", info.absent_devices)
        self.assertIn("video vmvga", info.absent_devices)
        self.assertNotIn("nic model e1000", info.absent_devices)

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

    def test_models_of_the_operator_are_refused_by_the_name_of_the_option(self) -> None:
        guest = base.describe(architecture="x86_64")
        for accelerator, model, option in (
            (Accelerator.TCG, "Nehalm", "cpu_models or tcg_cpu_models"),
            (Accelerator.KVM, "Nehalm", "cpu_models"),
            (Accelerator.KVM, "host-passthrough", "kvm_cpu_mode"),
        ):
            hardware = resolve.resolve(guest, accelerator, Cpu(model=model), Served())
            with (
                self.subTest(option),
                self.assertRaisesRegex(
                    exceptions.NotOnThisHost, rf"\[hypervisor\] {option}: '{model}'"
                ),
            ):
                self.detection().check_hardware(guest, hardware)

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
