# SPDX-License-Identifier: Apache-2.0
"""Plugs in the interfaces of guests, of all kinds."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from compute_driver import exceptions
from compute_driver.guest import Guest, Interface
from compute_driver.network.backend import Backend, Site
from compute_driver.system import tools

R = TypeVar("R")


@dataclasses.dataclass(frozen=True)
class Ports:
    """The ports of one driver's guests.

    :param site: the host and the driver.
    """

    site: Site

    def check_interfaces(self, guest: Guest) -> None:
        """Refuse interfaces that this host cannot plug or limit.

        :raises: see :meth:`Backend.check_interfaces`.
        :raises MissingDependency: if an interface has limits and there is no ``tc``.
        """
        limited = any(nic.inbound or nic.outbound for nic in guest.interfaces)
        if limited and tools.locate("tc") is None:
            raise exceptions.MissingDependency("tc is not installed (Debian package iproute2)")
        for backend, interfaces in _by_backend(guest.interfaces):
            backend.check_interfaces(self.site, guest.uuid, interfaces)

    def prepare(self, guest: Guest) -> bool:
        """Make ready for a power-on; see :meth:`Backend.prepare`.

        :return: whether interfaces are left for :meth:`plug`.
        """
        return any(self._with_all(guest, lambda backend: backend.prepare))

    def held(self, guest: Guest) -> contextlib.ExitStack:
        """Hold the ports of the host, before :meth:`plug`; see :meth:`Backend.held`."""
        with contextlib.ExitStack() as held:
            for backend, interfaces in _by_backend(guest.interfaces):
                held.enter_context(backend.held(interfaces))
            return held.pop_all()

    def plug(self, guest: Guest) -> None:
        """Plug in the interfaces that are left, when libvirt has made their devices.

        See :meth:`Backend.plug`.
        """
        self._with_all(guest, lambda backend: backend.plug)

    def restore(self, guest: Guest) -> None:
        """Plug in again the interfaces whose ports are lost; see :meth:`Backend.restore`."""
        for backend, interfaces in _by_backend(guest.interfaces):
            backend.restore(self.site, guest.uuid, interfaces)

    def unplug(self, uuid: str, interfaces: Iterable[Interface]) -> None:
        """Unplug the interfaces of a guest that are plugged in; see :meth:`Backend.unplug`."""
        for backend, own in _by_backend(interfaces):
            backend.unplug(self.site, uuid, own)

    def plugged(self) -> dict[str, list[Interface]]:
        """Return the plugged interfaces, by UUID of the guest; see :meth:`Backend.plugged`."""
        from compute_driver.network.kinds import BACKENDS

        plugged: dict[str, list[Interface]] = {}
        for backend in BACKENDS.values():
            for uuid, interfaces in backend.plugged(self.site).items():
                plugged.setdefault(uuid, []).extend(interfaces)
        return plugged

    def _with_all(
        self, guest: Guest, step: Callable[[Backend], Callable[[Site, str, list[Interface]], R]]
    ) -> list[R]:
        """Take a step with all interfaces of a guest; unplug them if a backend fails.

        A backend that fails has unplugged its own interfaces.
        """
        results = []
        with contextlib.ExitStack() as undo:
            for backend, interfaces in _by_backend(guest.interfaces):
                results.append(step(backend)(self.site, guest.uuid, interfaces))
                undo.callback(backend.unplug, self.site, guest.uuid, interfaces)
            undo.pop_all()
        return results


def _by_backend(interfaces: Iterable[Interface]) -> Iterator[tuple[Backend, list[Interface]]]:
    """Yield every backend with its interfaces; backends without interfaces are left out."""
    listed = list(interfaces)
    if not listed:
        return
    from compute_driver.network.kinds import BACKENDS

    for kind, backend in BACKENDS.items():
        own = [interface for interface in listed if interface.kind is kind]
        if own:
            yield backend, own
