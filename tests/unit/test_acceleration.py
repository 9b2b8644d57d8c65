# SPDX-License-Identifier: Apache-2.0
"""Which accelerator a guest gets, over every combination of what matters."""

from __future__ import annotations

import itertools
import unittest

from compute_driver import architecture, exceptions
from compute_driver.acceleration import Ability, Accelerator, VirtType, decide

NOTHING = Ability(frozenset(), "the processor has no vmx or svm flag")


def able(host: str) -> Ability:
    known = architecture.TABLE.values()
    return Ability(frozenset(a.name for a in known if host in a.kvm_hosts), "it was probed")


class DecideTest(unittest.TestCase):
    def test_every_combination(self) -> None:
        names = list(architecture.TABLE)
        for virt_type, guest, host, usable, fallback in itertools.product(
            VirtType, names, names, (True, False), (True, False)
        ):
            with self.subTest(virt_type=virt_type, guest=guest, host=host, usable=usable):
                native = host in architecture.get(guest).kvm_hosts
                arguments = (virt_type, guest, host, able(host) if usable else NOTHING)
                if virt_type is VirtType.KVM and native and not usable and not fallback:
                    with self.assertRaisesRegex(exceptions.AccelerationUnavailable, "vmx or svm"):
                        decide(*arguments, emulation_fallback=fallback)
                    continue
                decision = decide(*arguments, emulation_fallback=fallback)
                hardware = virt_type is VirtType.KVM and native and usable
                expected = Accelerator.KVM if hardware else Accelerator.TCG
                self.assertIs(decision.accelerator, expected)
                asked_in_vain = virt_type is VirtType.KVM and native and not usable
                self.assertEqual(decision.fallback, asked_in_vain)

    def test_the_reason_says_what_is_missing(self) -> None:
        decision = decide(VirtType.KVM, "x86_64", "x86_64", NOTHING, emulation_fallback=True)
        self.assertIn(NOTHING.reason, decision.reason)

    def test_a_foreign_guest_is_told_from_a_poor_host(self) -> None:
        decision = decide(VirtType.KVM, "s390x", "x86_64", NOTHING, emulation_fallback=False)
        self.assertIn("KVM on x86_64 cannot run s390x guests", decision.reason)

    def test_domain_types_are_libvirts(self) -> None:
        self.assertEqual(["kvm", "qemu"], [member.domain_type for member in Accelerator])
