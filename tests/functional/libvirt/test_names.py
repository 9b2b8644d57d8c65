# SPDX-License-Identifier: Apache-2.0
"""The longest accepted name leaves room in the paths of sockets for every number of a domain."""

from __future__ import annotations

import unittest

from lxml import etree

from compute_driver.choices import RebootKind
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.libvirt.embedded import short_names
from tests.functional import base, tiny

#: Digits of the largest number, which is an int.
DIGITS = 10


class NamesTest(unittest.TestCase):
    def test_longest_name_starts_with_every_number(self) -> None:
        driver = LibvirtDriver(base.configuration())
        self.addCleanup(driver.close)
        guest = tiny.guest(name="\u865a" * 9 + "-1")
        self.addCleanup(driver.destroy, guest.uuid)
        driver.spawn(guest)
        driver.reboot(guest.uuid, kind=RebootKind.HARD)
        number, text = driver._parts.on_domain(guest.uuid, lambda d: (d.ID(), d.XMLDesc()))
        paths = etree.fromstring(text).xpath("//channel/source/@path")
        self.assertEqual(1, len(paths))
        longest = len(paths[0].encode()) + DIGITS - len(str(number))
        self.assertLessEqual(longest, short_names.SOCKET_PATH_MAX)
