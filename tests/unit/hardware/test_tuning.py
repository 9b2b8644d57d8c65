# SPDX-License-Identifier: Apache-2.0
"""What a guest gets where it does not say."""

from __future__ import annotations

import unittest
import uuid
from collections.abc import Mapping
from typing import Any

from compute_driver.choices import Accelerator
from compute_driver.exceptions import InvalidParameter
from compute_driver.guest import Cpu, Disk, Guest, Topology
from compute_driver.hardware import architecture, tuning

_WITH_KVM = [facts.name for facts in architecture.TABLE.values() if facts.kvm_hosts]


def guest(**fields: Any) -> Guest:
    fixed = {"uuid": str(uuid.uuid4()), "name": "web1", "root": Disk(size_bytes=1024**2)}
    return Guest(**{"architecture": "x86_64", **fixed, **fields})


def cpu(
    wanted: Cpu | None = None,
    name: str = "x86_64",
    accelerator: Accelerator = Accelerator.TCG,
    *,
    kvm_mode: str = "host-model",
    more: Mapping[str, Any] | None = None,
    **tcg_models: str,
) -> Cpu:
    vcpus = 2 if wanted and wanted.topology else 1
    made = guest(architecture=name, cpu=wanted or Cpu(), vcpus=vcpus)
    defaults = tuning.CpuDefaults(kvm_mode=kvm_mode, tcg_models=tcg_models, **(more or {}))
    return tuning.cpu(made, accelerator, defaults)


class DefaultModelsTest(unittest.TestCase):
    def test_all_models_of_the_operator_are_for_guests_of_the_host_under_one_accelerator(
        self,
    ) -> None:
        x86, arm = architecture.get("x86_64"), architecture.get("aarch64")
        both, kvm, tcg = ["Nehalem", "Haswell"], Accelerator.KVM, Accelerator.TCG
        for configured, facts, accelerator, models in (
            (kvm, x86, kvm, both),
            (kvm, x86, tcg, [x86.emulated_cpu]),
            (kvm, arm, kvm, ["host-passthrough"]),
            (tcg, x86, tcg, both),
            (tcg, arm, tcg, [arm.emulated_cpu]),
        ):
            defaults = tuning.CpuDefaults(
                kvm_mode="host-model",
                tcg_models={},
                models=both,
                configured=configured,
                architecture="x86_64",
            )
            with self.subTest(facts=facts.name, configured=configured, accelerator=accelerator):
                self.assertEqual(models, tuning.default_models(facts, accelerator, defaults))


class CpuTest(unittest.TestCase):
    def test_kvm_gets_the_configured_mode_if_the_architecture_has_it(self) -> None:
        for name in _WITH_KVM:
            for mode in ("host-model", "host-passthrough"):
                with self.subTest(name=name, mode=mode):
                    got = cpu(name=name, accelerator=Accelerator.KVM, kvm_mode=mode)
                    known = architecture.get(name).kvm_cpu_modes
                    self.assertEqual(mode if mode in known else "host-passthrough", got.model)

    def test_emulation_gets_the_configured_model_of_its_architecture(self) -> None:
        self.assertEqual(Cpu(model="Haswell"), cpu(x86_64="Haswell", aarch64="max"))
        self.assertEqual(Cpu(model="qemu32"), cpu(name="i686", x86_64="Haswell"))

    def test_no_model_leaves_the_model_to_qemu(self) -> None:
        for accelerator in Accelerator:
            with self.subTest(accelerator):
                got = cpu(accelerator=accelerator, kvm_mode="none", x86_64="none")
                self.assertEqual(Cpu(), got)

    def test_first_model_of_the_operator_is_for_the_host_s_architecture(self) -> None:
        more = {"models": ["Haswell", "Nehalem"], "architecture": "x86_64"}
        self.assertEqual("Haswell", cpu(accelerator=Accelerator.KVM, more=more).model)
        self.assertEqual(
            "host-model", cpu(name="i686", accelerator=Accelerator.KVM, more=more).model
        )
        self.assertEqual("Nehalem", cpu(x86_64="Nehalem", more=more).model)

    def test_features_of_the_operator_hold_for_one_accelerator(self) -> None:
        features = ["+pcid", "+avx", "-vme", "-aes"]
        more = {"features": features, "configured": Accelerator.TCG, "architecture": "x86_64"}
        wanted = Cpu(model="Nehalem", enable=("aes",), disable=("avx",))
        self.assertEqual(
            Cpu(model="Nehalem", enable=("aes", "pcid"), disable=("avx", "vme")),
            cpu(wanted, more=more),
        )
        self.assertEqual(wanted, cpu(wanted, accelerator=Accelerator.KVM, more=more))
        self.assertEqual((), cpu(name="i686", more=more).enable)

    def test_the_guest_wins(self) -> None:
        for accelerator in Accelerator:
            got = cpu(Cpu(model="Nehalem"), accelerator=accelerator, x86_64="Haswell")
            self.assertEqual(Cpu(model="Nehalem"), got)

    def test_features_change_whichever_model_it_is(self) -> None:
        wanted = Cpu(enable=("pcid",), disable=("sse4.2",), topology=Topology(cores=2))
        got = cpu(wanted, x86_64="Nehalem")
        self.assertEqual(
            Cpu(
                model="Nehalem",
                enable=("pcid",),
                disable=("sse4.2",),
                topology=Topology(cores=2),
            ),
            got,
        )

    def test_the_hosts_processor_is_replaced_under_emulation(self) -> None:
        # What libvirt offers there, as the functional tests see it.
        offered = {"x86_64": "maximum", "i686": "maximum", "aarch64": "maximum"}
        offered |= {"armv7l": "maximum", "s390x": "maximum", "ppc64le": "POWER9", "riscv64": None}
        for name in architecture.TABLE:
            with self.subTest(name=name):
                wanted = Cpu(model="host-passthrough")
                self.assertEqual(offered[name], cpu(wanted, name=name).model)
                modelled = "host-model" if name in ("x86_64", "i686") else offered[name]
                self.assertEqual(modelled, cpu(Cpu(model="host-model"), name=name).model)
        for name in _WITH_KVM:
            self.assertEqual(wanted, cpu(wanted, name=name, accelerator=Accelerator.KVM))

    def test_threads_are_refused_where_cores_have_one(self) -> None:
        wanted = Cpu(topology=Topology(threads=2))
        for name, accelerator in (
            ("s390x", Accelerator.TCG),
            ("s390x", Accelerator.KVM),
            ("ppc64le", Accelerator.TCG),
        ):
            with self.subTest(name), self.assertRaisesRegex(InvalidParameter, "cpu threads: 2"):
                cpu(wanted, name, accelerator)
        for name, accelerator in (("ppc64le", Accelerator.KVM), ("x86_64", Accelerator.TCG)):
            self.assertEqual(wanted.topology, cpu(wanted, name, accelerator).topology)


class OverheadTest(unittest.TestCase):
    def overhead(
        self, accelerator: Accelerator = Accelerator.TCG, *, uefi: bool = False, **fields: Any
    ) -> int:
        return tuning.overhead_mib(guest(**fields), accelerator, 64, uefi=uefi)

    def test_emulation_takes_the_translated_code_too(self) -> None:
        self.assertEqual(74, self.overhead() - self.overhead(Accelerator.KVM))

    def test_it_grows_with_the_guest(self) -> None:
        least = self.overhead(memory_mib=512)
        self.assertEqual(least + 1, self.overhead(memory_mib=1024))
        self.assertEqual(least + 8, self.overhead(memory_mib=512, vcpus=2))
        self.assertEqual(least + 4, self.overhead(memory_mib=512, uefi=True))
        foreign = self.overhead(architecture="aarch64", memory_mib=512, uefi=True)
        self.assertEqual(least + 128, foreign)


class TranslationBufferTest(unittest.TestCase):
    def test_it_follows_the_guest_within_bounds(self) -> None:
        for memory, expected in ((192, 64), (512, 64), (1024, 128), (2048, 256), (65536, 256)):
            self.assertEqual(expected, tuning.translation_buffer_mib(memory, 65536))

    def test_a_small_host_gives_less_but_never_too_little(self) -> None:
        for host, expected in ((1024, 64), (4096, 128), (8192, 256)):
            self.assertEqual(expected, tuning.translation_buffer_mib(65536, host))
