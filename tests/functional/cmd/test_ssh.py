# SPDX-License-Identifier: Apache-2.0
"""Published ports lead to a guest on user-mode networking, and ``ssh`` logs in by such a port."""

from __future__ import annotations

import contextlib
import socket
import unittest

from tests.functional import base
from tests.functional.command import CommandLine
from tests.ports import free_port

NAME = "reached"


class SshTest(unittest.TestCase):
    """One guest with an SSH server."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.line = CommandLine.of_root()
        cls.ports = [str(free_port()) for _ in range(3)]
        image = base.disk_image("agent").location
        cls.addClassCleanup(cls.line.run, "destroy", NAME)
        cls.line.done(
            *("spawn", NAME, "--image", image, "--memory", "192"),
            *("--publish", f"{cls.ports[0]}:22", "--publish", f"0.0.0.0:{cls.ports[1]}:53/udp"),
        )

    def test_ssh_runs_commands_by_the_published_port_from_the_boot_on(self) -> None:
        self.assertEqual(f"{NAME}\n", self.line.done("ssh", NAME, "hostname").out)
        failed = self.line.run("ssh", NAME, "echo gone; exit 7")
        self.assertEqual((7, "gone\n"), (failed.status, failed.out))
        with self.subTest("again after a hard reboot"):
            self.reboot()
            self.assertEqual("root\n", self.line.done("ssh", NAME, "id -un").out)

    def test_another_key_of_the_server_is_refused(self) -> None:
        change = (
            "dropbearkey -t ed25519 -f /run/other >/run/told 2>&1",
            "kill $(awk '/PPid/ {print $2}' /proc/$PPID/status)",
            "dropbear -r /run/other -s",
        )
        self.line.done("ssh", NAME, "; ".join(change))
        try:
            refused = self.line.run("ssh", NAME, "echo reached")
        finally:
            self.reboot()
        self.assertEqual((255, ""), (refused.status, refused.out))
        self.assertIn("Host key verification failed", refused.err)

    def test_ports_of_a_running_guest_are_published_and_closed(self) -> None:
        port = f"{self.ports[2]}:22"
        self.line.done("publish", NAME, port)
        self.assertIn(f"127.0.0.1:{port}/tcp", self.published())
        self.assertTrue(listens(self.ports[2]))
        with self.subTest("the same port of the host"):
            taken = self.line.refused(2, "publish", NAME, f"{self.ports[2]}:80")
            self.assertIn("PORT: ", taken)
        self.line.done("unpublish", NAME, port)
        self.assertFalse(listens(self.ports[2]))
        self.assertNotIn(f"127.0.0.1:{port}/tcp", self.published())
        self.assertIn("PORT: ", self.line.refused(2, "unpublish", NAME, port))

    def test_a_port_of_another_program_is_refused_and_nothing_is_left(self) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            taken = f"{other.getsockname()[1]}:22"
            self.assertIn("Address already in use", self.line.refused(1, "publish", NAME, taken))
            words = ("--kernel", base.kernel().kernel.location, "--publish", taken)
            self.assertIn("Address already in use", self.line.refused(1, "spawn", "other", *words))
        self.assertEqual([NAME], self.line.names())
        self.assertNotIn(taken, self.published())

    def reboot(self) -> None:
        """Boot the guest anew; this guest has another key after each boot."""
        self.line.done("reboot", NAME, "--hard", "--wait", base.BANNER)

    def published(self) -> str:
        return self.line.done("show", NAME, "-f", "value", "-c", "published").out


def listens(port: str) -> bool:
    """Tell whether a program listens at a port of this host."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), 10):
        return True
    return False
