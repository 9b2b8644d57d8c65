# SPDX-License-Identifier: Apache-2.0
"""The words of libvirt's errors on their way to users."""

from __future__ import annotations

import functools
import unittest
from unittest import mock

import libvirt

from compute_driver import exceptions
from compute_driver.libvirt import agent, connection
from tests.unit import base

#: Texts of libvirt, and the texts for users.
TEXTS = {
    "internal error: process exited while connecting to monitor: qemu: invalid kernel header": (
        "the emulator ended: invalid kernel header"
    ),
    "internal error: qemu unexpectedly closed the monitor: 2026-01-02T03:04:05.678901Z"
    " qemu-system-ppc64le: error loading k": "the emulator ended: error loading k",
    "internal error: process exited while connecting to monitor": "the emulator ended: no reason",
    "internal error: Child process (LC_ALL=C PATH=/a b:/c HOME=/d /usr/bin/qemu-system-x86_64"
    " -name g=(h) -S) unexpected exit status 1": "/usr/bin/qemu-system-x86_64 ended: exit status 1",
    "internal error: Child process (/usr/bin/swtpm_setup --tpm2) unexpected exit status 1: no"
    " space": "/usr/bin/swtpm_setup ended: exit status 1: no space",
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


class LogTest(unittest.TestCase):
    def test_a_debug_log_names_functions_and_uuids_and_nothing_else(self) -> None:
        uuid = "0fa1b2c3-d4e5-4f60-8a7b-0123456789ab"
        secret = functools.partial(agent.set_password, password="secret")
        shown = connection._shown(libvirt.virConnect.getCapabilities, [uuid, secret, "<secret/>"])
        self.assertEqual(f"libvirt.virConnect.getCapabilities({uuid}, agent.set_password)", shown)

    def test_a_call_is_logged_with_its_result_and_duration(self) -> None:
        made = connection.Connection(base.configuration())
        with (
            mock.patch.object(made, "_run", side_effect=exceptions.LibvirtError("no")),
            self.assertLogs(connection.LOG, "DEBUG") as logged,
            self.assertRaises(exceptions.LibvirtError),
        ):
            made.run(libvirt.virConnect.getHostname)
        (line,) = logged.output
        self.assertRegex(line, r"virConnect\.getHostname\(\): failed after [\d.]+ s")


class LostErrorTest(unittest.TestCase):
    """The garbage collector frees an object of libvirt between a failure and its error."""

    def setUp(self) -> None:
        super().setUp()
        self.opened = libvirt.open("test:///default")
        self.addCleanup(self.opened.close)
        made = connection.Connection(base.configuration(connection_uri="test:///default"))
        opening = mock.patch.object(made, "open", return_value=self.opened)
        self.addCleanup(opening.stop)
        opening.start()
        self.connection = made
        self.calls = 0

    def look_up(self, opened: libvirt.virConnect, times: int) -> bool:
        """Look up a domain that is not there; free another domain the first times."""
        other = opened.lookupByName("test")
        found = libvirt.libvirtmod.virDomainLookupByName(opened._o, "nowhere")
        self.calls += 1
        if self.calls <= times:
            del other
        if found is None:
            raise libvirt.libvirtError("virDomainLookupByName() failed")
        return True

    def test_the_call_is_repeated_once(self) -> None:
        for times, text in ((0, "not found"), (1, "not found"), (9, "failed")):
            with (
                self.subTest(times=times),
                self.assertRaisesRegex(exceptions.LibvirtError, text),
            ):
                self.calls = 0
                self.connection.run(self.look_up, times)
            self.assertEqual(min(times, 1) + 1, self.calls)
