# SPDX-License-Identifier: Apache-2.0
"""A guest with a directory and a domain that only remembers its state."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import libvirt

from compute_driver.libvirt import domain as domains
from compute_driver.operations.base.context import Parts
from compute_driver.storage.home import Home
from tests.unit.base import configuration

UUID = "3b1f0e5e-7d3c-4a52-9d53-0d5d6f3c7a10"


class FakeDomain:
    """A domain that starts, goes on and ends; it writes its calls into a list."""

    def __init__(self, calls: list[str]) -> None:
        self._calls = calls
        self.number: int = libvirt.VIR_DOMAIN_SHUTOFF

    def XMLDesc(self, _flags: int = 0) -> str:  # noqa: N802
        return "<domain/>"

    managedSaveGetXMLDesc = XMLDesc  # noqa: N815

    def state(self) -> list[int]:
        return [self.number, 0]

    def isActive(self) -> bool:  # noqa: N802
        return self.number != libvirt.VIR_DOMAIN_SHUTOFF

    def hasManagedSaveImage(self) -> bool:  # noqa: N802
        return False

    def create(self) -> None:
        self._start("start", libvirt.VIR_DOMAIN_RUNNING)

    def createWithFlags(self, _flags: int) -> None:  # noqa: N802
        self._start("start paused", libvirt.VIR_DOMAIN_PAUSED)

    def resume(self) -> None:
        self._calls.append("resume")
        self.number = libvirt.VIR_DOMAIN_RUNNING

    def destroy(self) -> None:
        self._calls.append("power off")
        self.number = libvirt.VIR_DOMAIN_SHUTOFF

    def managedSave(self) -> None:  # noqa: N802
        self._calls.append("save")
        self.number = libvirt.VIR_DOMAIN_SHUTOFF

    def _start(self, call: str, number: int) -> None:
        self._calls.append(call)
        if self.isActive():
            raise libvirt.libvirtError("domain is already running")
        self.number = number


class OneGuestTestCase(unittest.TestCase):
    """A test with one guest, which is off.

    :ivar calls: the calls to the domain and its ports, in order.
    """

    def setUp(self) -> None:
        super().setUp()
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.directory = Path(place.name, UUID)
        self.directory.mkdir()
        self.calls: list[str] = []
        self.domain = FakeDomain(self.calls)
        self.parts: Any = mock.create_autospec(Parts, instance=True)
        self.parts.directory.return_value = self.directory
        self.parts.home.return_value = Home(configuration(), self.directory)
        self.parts.on_domain.side_effect = lambda _uuid, function: function(self.domain)
        self.parts.state.side_effect = lambda _uuid: domains.state_of(self.domain)  # type: ignore[arg-type]
        self.parts.ports = mock.MagicMock()

    def mark(self, name: str) -> Path:
        """Make a mark of the guest."""
        path = self.directory / name
        path.touch()
        return path

    def marks(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())
