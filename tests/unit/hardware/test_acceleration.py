# SPDX-License-Identifier: Apache-2.0
"""Which accelerator a guest gets, over every combination of what matters."""

from __future__ import annotations

import functools
import itertools
import unittest
from unittest import mock

from compute_driver import exceptions
from compute_driver.choices import Accelerator, VirtType
from compute_driver.hardware import architecture
from compute_driver.hardware.acceleration import Ability, decide

NOTHING = Ability(frozenset(), "the processor has no vmx or svm flag")


def able(host: str) -> Ability:
    """Return the ability of a host that can run whatever its kind can."""
    known = architecture.TABLE.values()
    return Ability(frozenset(a.name for a in known if host in a.kvm_hosts), "it was probed")


def abilities(host: str) -> list[Ability]:
    """Return everything, nothing, and all but one architecture, for each of them."""
    full = able(host)
    partial = [full.without(name, "it was left out") for name in full.architectures]
    return [full, NOTHING, *partial]


class DecideTest(unittest.TestCase):
    def test_every_combination(self) -> None:
        names = list(architecture.TABLE)
        for virt_type, guest, host, fallback in itertools.product(
            VirtType, names, names, (True, False)
        ):
            for ability in abilities(host):
                with self.subTest(
                    virt_type=virt_type, guest=guest, host=host, fallback=fallback, able=ability
                ):
                    self.assert_decided(virt_type, guest, host, ability, fallback=fallback)

    def assert_decided(
        self, virt_type: VirtType, guest: str, host: str, ability: Ability, *, fallback: bool
    ) -> None:
        native = host in architecture.get(guest).kvm_hosts
        asked = virt_type is VirtType.KVM and native
        usable = guest in ability.architectures
        look = mock.Mock(return_value=ability)
        arguments = (virt_type, guest, host, look)
        if asked and not usable and not fallback:
            with self.assertRaisesRegex(
                exceptions.AccelerationUnavailable, "no usable KVM.*(vmx or svm|left out)"
            ):
                decide(*arguments, emulation_fallback=fallback)
            return
        decision = decide(*arguments, emulation_fallback=fallback)
        self.assertEqual(asked, look.called)  # a look may take seconds
        expected = Accelerator.KVM if asked and usable else Accelerator.TCG
        self.assertIs(expected, decision.accelerator)
        self.assertEqual(asked and not usable, decision.fallback)
        word = "virt_type is kvm" if expected is Accelerator.KVM else "emulation"
        self.assertIn(word, decision.reason)

    def test_the_reason_says_what_is_missing(self) -> None:
        decision = decide(
            VirtType.KVM, "x86_64", "x86_64", lambda: NOTHING, emulation_fallback=True
        )
        self.assertEqual(
            "no usable KVM for x86_64 guests: the processor has no vmx or svm flag; emulation"
            " instead",
            decision.reason,
        )

    def test_32_bit_arm_guests_are_emulated_everywhere(self) -> None:
        for host in ("aarch64", "armv7l"):
            decision = decide(
                VirtType.KVM,
                "armv7l",
                host,
                functools.partial(able, host),
                emulation_fallback=False,
            )
            self.assertIs(Accelerator.TCG, decision.accelerator)

    def test_a_foreign_guest_is_told_from_a_poor_host(self) -> None:
        decision = decide(
            VirtType.KVM, "s390x", "x86_64", lambda: NOTHING, emulation_fallback=False
        )
        self.assertIn("KVM on x86_64 cannot run s390x guests", decision.reason)

    def test_domain_types_are_libvirts(self) -> None:
        self.assertEqual(["kvm", "qemu"], [member.domain_type for member in Accelerator])

    def test_the_kind_of_virtualisation_is_told_honestly(self) -> None:
        self.assertEqual(
            ["hardware-assisted", "emulation"], [member.virtualization for member in Accelerator]
        )
