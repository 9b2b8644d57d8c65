# SPDX-License-Identifier: Apache-2.0
"""The guests of a host, their use of resources, and the host itself."""

from __future__ import annotations

import abc
from collections.abc import Callable, Collection

from compute_driver import exceptions
from compute_driver.choices import PowerState
from compute_driver.guest import as_uuid
from compute_driver.info import Check, Finding, GuestInfo, GuestStats, HostInfo

#: Called with a guest's UUID and its state.
Listener = Callable[[str, PowerState], None]


class Host(abc.ABC):
    """Lists and watches the guests of a host, and describes the host."""

    @abc.abstractmethod
    def list(self) -> tuple[GuestInfo, ...]:
        """Return all guests of this driver, sorted by name; no guests of other programs."""

    @abc.abstractmethod
    def show(self, uuid: str) -> GuestInfo:
        """Return everything that is known of one guest."""

    def state(self, uuid: str) -> PowerState:
        """Return the power state of one guest, also if nothing else of the guest is known."""
        return self.show(uuid).state

    def find(self, guest: str) -> str:
        """Return the UUID of the guest with this name or UUID; no guest's name is a UUID.

        A guest without a domain whose files are there is found by its UUID, too.

        :param guest: a name, or a UUID in any case, with its hyphens or without.
        :raises GuestNotFound: if this driver has no such guest.
        """
        guests = [info.guest for info in self.list()]
        names = {found.name: found.uuid for found in guests}
        wanted = as_uuid(guest) or names.get(guest)
        if wanted in names.values():
            return str(wanted)
        raise exceptions.GuestNotFound(guest)

    @abc.abstractmethod
    def subscribe(self, listener: Listener) -> None:
        """Call *listener* from now on whenever a guest may have changed its state.

        The driver calls the listener when no operation runs on the guest, with the state at this
        time: a reboot does not report a stopped guest, and a destroyed guest is not reported.
        The log has the reason for the state, as a warning if the reason is a fault.
        The listener may call the driver; several threads may call the listener at a time.
        """

    @abc.abstractmethod
    def stats(self, uuid: str | None = None) -> tuple[GuestStats, ...]:
        """Return the use of resources by one guest or by all guests, sorted by name."""

    @abc.abstractmethod
    def host_show(self, architectures: Collection[str] = ()) -> HostInfo:
        """Describe the host.

        :param architectures: guest architectures to describe in full, besides those of option
            architectures; the driver starts the emulators of these architectures only.
        :raises InvalidParameter: if an architecture is not supported; names the supported ones.
        """

    @abc.abstractmethod
    def host_check(self) -> tuple[Check, ...]:
        """Check what this host can run and what it lacks, with causes and remedies."""

    @abc.abstractmethod
    def audit(self, *, repair: bool = False) -> tuple[Finding, ...]:
        """List resources without a guest, and faults of guests.

        A guest has a fault if it lacks a file or its metadata, if an I/O error has paused it, or if
        another client of libvirt has changed it.

        :param repair: remove resources without a guest, define the domains of running guests again,
            restore the metadata of guests, and correct the modes of directories.  All other
            findings are only listed; no guest is removed.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Close connections and end threads; the guests run on."""
