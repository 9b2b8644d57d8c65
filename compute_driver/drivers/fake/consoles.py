# SPDX-License-Identifier: Apache-2.0
"""The consoles of simulated guests."""

from __future__ import annotations

import io

from compute_driver import consoles, exceptions
from compute_driver.choices import ACTIVE, VideoModel
from compute_driver.consoles import DisplayKind
from compute_driver.contract.states import Request
from compute_driver.driver import ConsoleSession
from compute_driver.drivers.fake.machine import Machines, Session
from compute_driver.info import Address, Display


class Consoles(Machines):
    """Shows the log and a picture of simulated guests."""

    def console_log(self, uuid: str, *, max_bytes: int | None = None) -> bytes:
        with self._machine(uuid) as machine:
            kept = len(machine.log) if max_bytes is None else max_bytes
            return bytes(machine.log[max(0, len(machine.log) - kept) :])

    def console_wait(self, uuid: str, text: str, *, timeout: float, skip_bytes: int = 0) -> None:
        wanted = text.encode()
        with self._machine(uuid) as machine:

            def shown() -> bool:
                return machine.log.find(wanted, skip_bytes) >= 0

            machine.changed.wait_for(lambda: shown() or machine.state not in ACTIVE, timeout)
            if shown():
                return
            machine.require(Request.WAIT_FOR_CONSOLE)
            raise consoles.not_shown(machine.guest.name, text, timeout)

    def console_attach(self, uuid: str) -> ConsoleSession:
        with self._machine(uuid) as machine:
            machine.require(Request.ATTACH_TO_CONSOLE)
            if machine.session is not None:
                raise consoles.in_use(machine.guest.name)
            machine.session = Session(machine)
            return machine.session

    def console_address(self, uuid: str) -> Address:
        with self._machine(uuid) as machine:
            machine.require(Request.CONNECT_TO_CONSOLE)
            if machine.address is None:
                raise consoles.no_address(machine.guest.name)
            return machine.address

    def screenshot(self, uuid: str) -> bytes:
        with self._machine(uuid) as machine:
            machine.require(Request.SCREENSHOT)
            hardware = self._hardware(machine.guest, machine.decision)
            if hardware.display.model is VideoModel.NONE:
                raise exceptions.GuestError(f"guest {machine.guest.name!r} has no display")
        return _picture()

    def display(self, uuid: str, *, kind: DisplayKind | None = None) -> Display:
        with self._machine(uuid) as machine:
            machine.require(Request.SHOW_SCREEN)
            wanted = next(iter(machine.displays), None) if kind is None else kind
            if wanted not in machine.displays:
                raise consoles.no_display(machine.guest.name, kind)
            return machine.displays[wanted]


def _picture() -> bytes:
    from PIL import Image  # slow to import, and rarely used

    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "navy").save(buffer, "PNG")
    return buffer.getvalue()
