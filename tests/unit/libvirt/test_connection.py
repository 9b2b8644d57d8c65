# SPDX-License-Identifier: Apache-2.0
"""The words of libvirt's errors on their way to users."""

from __future__ import annotations

import unittest

import libvirt

from compute_driver import exceptions
from compute_driver.libvirt import connection

#: Texts of libvirt, and the texts for users.
TEXTS = {
    "internal error: process exited while connecting to monitor: qemu: invalid kernel header": (
        "the emulator ended: invalid kernel header"
    ),
    "internal error: qemu unexpectedly closed the monitor: 2026-01-02T03:04:05.678901Z"
    " qemu-system-ppc64le: error loading k": "the emulator ended: error loading k",
    "internal error: process exited while connecting to monitor": "the emulator ended: no reason",
    "internal error: cannot do": "cannot do",
    "Requested operation is not valid: no": "Requested operation is not valid: no",
}


class TranslateTest(unittest.TestCase):
    def test_every_failure_is_told_without_libvirts_own_words_for_it(self) -> None:
        for text, expected in TEXTS.items():
            with self.subTest(text):
                found = connection.translate(libvirt.libvirtError(text))
                self.assertIs(exceptions.LibvirtError, type(found))
                self.assertEqual(expected, str(found))
