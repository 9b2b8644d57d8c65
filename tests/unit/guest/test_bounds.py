# SPDX-License-Identifier: Apache-2.0
"""Sizes for messages, and UUIDs as users write them."""

from __future__ import annotations

import unittest

from compute_driver.guest import GIB, MIB, as_uuid, is_uuid, shown_size

UUID = "0fa1b2c3-d4e5-4f60-8a7b-0123456789ab"


class BoundsTest(unittest.TestCase):
    def test_a_size_has_the_largest_unit_that_fits(self) -> None:
        for size, shown in {
            0: "0 bytes",
            1023: "1023 bytes",
            1536: "1.50 KiB (1536 bytes)",
            4 * MIB: "4.00 MiB (4194304 bytes)",
            GIB - 1: "1024.00 MiB (1073741823 bytes)",
            5 * GIB: "5.00 GiB (5368709120 bytes)",
        }.items():
            with self.subTest(size):
                self.assertEqual(shown, shown_size(size))

    def test_a_uuid_is_read_in_any_case_and_without_hyphens(self) -> None:
        for text in (UUID, UUID.upper(), UUID.replace("-", ""), UUID.replace("-", "").upper()):
            with self.subTest(text):
                self.assertEqual(UUID, as_uuid(text))
        for text in ("", "web", f"{{{UUID}}}", f"urn:uuid:{UUID}", UUID[:-1], UUID[1:]):
            with self.subTest(text):
                self.assertIsNone(as_uuid(text))

    def test_only_the_canonical_form_is_a_uuid(self) -> None:
        self.assertTrue(is_uuid(UUID))
        self.assertFalse(is_uuid(UUID.replace("-", "")))
