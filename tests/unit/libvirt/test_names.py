# SPDX-License-Identifier: Apache-2.0
"""A guest's name must fit into the paths of libvirt's sockets after any number of starts."""

from __future__ import annotations

import os
import unittest
from unittest import mock

from compute_driver import exceptions
from compute_driver.libvirt import names
from compute_driver.libvirt.embedded import short_names
from tests.unit import base

LARGEST_NUMBER = 2**31 - 1


class NamesTest(unittest.TestCase):
    def as_user(self, uid: int) -> None:
        self.enter(mock.patch("os.geteuid", return_value=uid))

    def enter(self, patch: mock._patch) -> None:
        patch.start()
        self.addCleanup(patch.stop)

    def accepted(self, name: str, **options: str) -> bool:
        try:
            names.check_length(name, base.configuration(**options).hypervisor)
        except exceptions.InvalidParameter:
            return False
        return True

    def test_longest_accepted_name_fits_with_the_largest_number(self) -> None:
        for uid, directory in ((0, "/var/lib/libvirt"), (4242, "/tmp/cd-12345678/libvirt")):
            self.as_user(uid)
            longest = next(
                n for n in range(128, 0, -1) if self.accepted("ä" * (n // 2) + "x" * (n % 2))
            )
            start = f"{directory}/qemu/channel/target/domain-{LARGEST_NUMBER}-"
            path = f"{start}{'x' * longest}/org.qemu.guest_agent.0"
            with self.subTest(uid):
                limit = short_names.SOCKET_PATH_MAX
                self.assertIn(len(path), (limit - 1, limit))

    def test_every_ascii_name_is_accepted(self) -> None:
        for uid in (0, 4242):
            self.as_user(uid)
            self.assertTrue(self.accepted("x" * 128), uid)

    def test_characters_after_the_cut_do_not_count(self) -> None:
        self.as_user(0)
        self.assertTrue(self.accepted("x" * 20 + "虚" * 30))
        self.assertFalse(self.accepted("虚" * 12 + "-1"))

    def test_refusal_states_the_reason_and_the_accepted_length(self) -> None:
        self.as_user(0)
        with self.assertRaisesRegex(
            exceptions.InvalidParameter, "at most 29 bytes in UTF-8: .*sockets in /var/lib/libvirt"
        ):
            names.check_length("🙂" * 10, base.configuration().hypervisor)

    def test_libvirt_of_the_host_has_its_own_directories(self) -> None:
        self.as_user(4242)
        name = "虚" * 9
        self.assertTrue(self.accepted(name, connection_uri="qemu:///system"))
        for home, accepted in (("/h", True), ("/home/" + "x" * 20, False)):
            self.enter(mock.patch.dict(os.environ, HOME=home, XDG_CONFIG_HOME=""))
            self.assertEqual(accepted, self.accepted(name, connection_uri="qemu:///session"))
