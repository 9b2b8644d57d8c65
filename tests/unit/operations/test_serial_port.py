# SPDX-License-Identifier: Apache-2.0
"""Ports for serial consoles: which one a guest gets, and what happens if it is taken."""

from __future__ import annotations

import contextlib
import re
import socket
import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

from compute_driver import exceptions
from compute_driver.libvirt import domain as domains
from compute_driver.operations.base import power, serial_port
from compute_driver.operations.base.context import Parts
from compute_driver.system import concurrency
from tests.unit import base

XML = """
<domain><devices>
  <serial type='tcp'><source mode='bind' host='127.0.0.1' service='0'/></serial>
  <console type='tcp'><source mode='bind' host='127.0.0.1' service='0'/></console>
</devices></domain>
"""
UUID = "3b1f0e5e-7d3c-4a52-9d53-0d5d6f3c7a10"


class FakeDomain:
    """A domain that starts only at a port that nobody listens at."""

    def __init__(self, xml: str) -> None:
        self.xml = xml
        self.refusals: list[str] = []
        self.started = 0

    def XMLDesc(self, _flags: int) -> str:  # noqa: N802
        return self.xml

    managedSaveGetXMLDesc = XMLDesc  # noqa: N815

    def managedSaveDefineXML(self, xml: str, _flags: int) -> None:  # noqa: N802
        self.xml = xml

    @property
    def ports(self) -> set[int]:
        return {int(port) for port in re.findall("service=.(\\d+)", self.xml)}

    def create(self) -> None:
        if self.refusals:
            raise exceptions.LibvirtError(self.refusals.pop(0))
        self.started += 1


class SerialPortTest(unittest.TestCase):
    def setUp(self) -> None:
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.state = Path(place.name)
        self.first = self.free_ports()
        self.domain = FakeDomain(XML)

    def free_ports(self) -> int:
        """Return the first of three ports that are free."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            first = int(probe.getsockname()[1])
        return (
            first
            if first < 65533 and all(map(self.is_free, range(first, first + 3)))
            else (self.free_ports())
        )

    def is_free(self, port: int) -> bool:
        return serial_port.is_free("127.0.0.1", port)

    def parts(self) -> Any:
        parts = mock.create_autospec(Parts, instance=True)
        parts.conf = base.configuration(
            state_path=str(self.state), serial_port_range=f"{self.first}:{self.first + 2}"
        )
        parts.on_domain = lambda _uuid, function: function(self.domain)
        parts.define_again = self.define_again
        return parts

    def define_again(self, xml: str) -> None:
        self.domain.xml = xml

    def start(self, *, suspended: bool = False) -> None:
        power._start(self.parts(), UUID, domains.start, suspended=suspended)

    def test_port_is_given_and_kept_for_the_next_time(self) -> None:
        for suspended in (False, True, False):
            self.start(suspended=suspended)
            (port,) = self.domain.ports
            self.assertIn(port, range(self.first, self.first + 3))
            self.domain.xml = XML
        self.start()
        self.assertEqual({port}, self.domain.ports)
        self.assertEqual([], list((self.state / "locks").iterdir()))

    def test_port_that_is_taken_or_being_given_away_is_left_alone(self) -> None:
        self.start()
        (taken,) = self.domain.ports
        with socket.create_server(("127.0.0.1", taken)):
            self.start()
            (other,) = self.domain.ports
            self.assertNotEqual(taken, other)
            with concurrency.try_lock(self.state / "locks" / f"port-{other}") as held:
                self.assertIsNotNone(held)
                self.start()
                (last,) = self.domain.ports
        self.assertEqual(3, len({taken, other, last}))

    def test_start_is_tried_again_with_another_port(self) -> None:
        self.domain.refusals = ["QEMU: Failed to find an available port: Address already in use"]
        self.start()
        (port,) = self.domain.ports
        self.domain.xml = XML
        self.start()
        self.assertNotEqual({port}, self.domain.ports)
        self.assertEqual(2, self.domain.started)

    def test_other_failures_are_not_tried_again(self) -> None:
        self.domain.refusals = ["QEMU: no such machine", "never reached"]
        with self.assertRaisesRegex(exceptions.LibvirtError, "no such machine"):
            self.start()
        self.assertEqual(["never reached"], self.domain.refusals)

    def test_too_many_guests_are_refused(self) -> None:
        with contextlib.ExitStack() as stack:
            for port in range(self.first, self.first + 3):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            with self.assertRaisesRegex(exceptions.NoFreePort, "serial_port_range"):
                self.start()

    def test_console_at_a_terminal_needs_none(self) -> None:
        self.domain.xml = "<domain><devices><serial type='pty'/></devices></domain>"
        self.start()
        self.assertEqual(1, self.domain.started)
        self.assertFalse((self.state / "locks").exists())
