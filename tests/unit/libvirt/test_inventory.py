# SPDX-License-Identifier: Apache-2.0
"""Reports of guests, and of this host."""

from __future__ import annotations

import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import libvirt

from compute_driver import exceptions
from compute_driver.host import facts
from compute_driver.libvirt import inventory
from compute_driver.libvirt.connection import Connection
from compute_driver.libvirt.known import Known
from compute_driver.libvirt.ownership import Ownership
from compute_driver.operations import host_check
from compute_driver.operations.base.context import Parts
from compute_driver.storage import exchange, layout
from compute_driver.system import filesystem, tools
from compute_driver.xml import metadata
from tests.unit import base


class InventoryTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.connection = mock.create_autospec(Connection, instance=True)
        ownership = Ownership(Path("/instances"), Known())
        self.inventory = inventory.Inventory(self.connection, ownership)

    def test_a_damaged_guest_is_in_the_log(self) -> None:
        damaged = exceptions.MetadataDamaged("domain 'x': bad")
        self.connection.run.return_value = [], [damaged]
        with self.assertLogs(inventory.LOG, "WARNING") as logged:
            self.assertEqual((), self.inventory.guests())
        self.assertIn("Not listed: domain 'x': bad", logged.output[0])

    def test_counters_that_libvirt_lacks_are_none(self) -> None:
        domain = mock.create_autospec(libvirt.virDomain, instance=True)
        domain.UUIDString.return_value, domain.name.return_value = "uuid", "web"
        counted = {"name": "tap0", "rx.bytes": 9, "rx.pkts": 1, "tx.bytes": 0, "tx.pkts": 0}
        values = {"net.count": 2, **{f"net.1.{key}": value for key, value in counted.items()}}
        user, tap = inventory._guest_stats(domain, values, set()).interfaces
        self.assertEqual(("0", None, None), (user.name, user.received_bytes, user.sent_packets))
        self.assertEqual(("tap0", 9, 0), (tap.name, tap.received_bytes, tap.sent_packets))

    def test_counters_of_all_guests_wait_for_no_emulator(self) -> None:
        opened = mock.create_autospec(libvirt.virConnect, instance=True)
        self.connection.run.side_effect = lambda function, *more: function(opened, *more)
        opened.listAllDomains.return_value = opened.getAllDomainStats.return_value = []
        self.assertEqual((), self.inventory.stats())
        self.assertEqual(
            libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT,
            opened.getAllDomainStats.call_args.args[1],
        )


class BeforeTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.directory = Path(home.name)
        self.description = self.directory / exchange.KEPT / layout.DESCRIPTION

    def test_a_guest_without_a_resize_has_no_earlier_description(self) -> None:
        with self.assertNoLogs(inventory.LOG):
            self.assertIsNone(inventory._before(self.directory))

    def test_a_damaged_earlier_description_does_not_hide_the_guest(self) -> None:
        damaged = f'<guest xmlns="{metadata.NAMESPACE}">no description</guest>'.encode()
        self.description.parent.mkdir()
        for content in (b"", b"<domain", b"\xff", damaged):
            self.description.write_bytes(content)
            with self.subTest(content), self.assertLogs(inventory.LOG, "WARNING"):
                self.assertIsNone(inventory._before(self.directory))
        denied = mock.patch.object(Path, "read_text", side_effect=PermissionError(13, "denied"))
        with denied, self.assertLogs(inventory.LOG, "WARNING") as logged:
            self.assertIsNone(inventory._before(self.directory))
        self.assertIn("denied", logged.output[0])


class WordsTest(unittest.TestCase):
    def test_version(self) -> None:
        self.assertEqual("9.10.1", facts.dotted(9010001))

    def test_nearest_path(self) -> None:
        self.assertEqual(Path("/usr"), filesystem.existing_parent(Path("/usr/nonexistent/x")))
        self.assertEqual(Path("/usr"), filesystem.existing_parent(Path("/usr")))


class ConfinementTest(unittest.TestCase):
    def verdicts(self, user: int, uri: str | None) -> list[str]:
        parts = mock.create_autospec(Parts, instance=True)
        parts.conf = base.configuration(connection_uri=uri)
        with mock.patch.object(os, "geteuid", return_value=user):
            return [found.verdict for found in host_check._confinement(parts)]

    def test_only_the_embedded_daemon_of_root_causes_a_warning(self) -> None:
        self.assertEqual(["warning"], self.verdicts(0, None))
        self.assertEqual([], self.verdicts(0, "qemu:///system"))
        self.assertEqual([], self.verdicts(1000, None))


class ProgramsTest(unittest.TestCase):
    def test_only_the_programs_of_every_guest_are_failures(self) -> None:
        with mock.patch.object(tools, "locate", return_value=None):
            found = {check.subject: check for check in host_check._tools(mock.Mock())}
        self.assertEqual(tools.PROGRAMS.keys(), found.keys())
        for name, program in tools.PROGRAMS.items():
            with self.subTest(name):
                verdict = "failure" if name in ("prlimit", "qemu-img") else "warning"
                self.assertEqual(verdict, found[name].verdict)
                self.assertIn(program.purpose or "every guest", found[name].detail)
                self.assertEqual(f"install {program.package}", found[name].remedy)
