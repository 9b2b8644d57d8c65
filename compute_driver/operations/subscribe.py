# SPDX-License-Identifier: Apache-2.0
"""Calls a listener after each change of a guest's state, by the guest or by an operation."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time

import libvirt

from compute_driver import exceptions
from compute_driver.choices import FAULTS, PowerState, StateReason
from compute_driver.driver import Listener
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt import events, reasons
from compute_driver.operations.base import journal
from compute_driver.operations.base.context import Parts

LOG = logging.getLogger(__name__)

_KINDS = frozenset(
    {
        libvirt.VIR_DOMAIN_EVENT_STARTED,
        libvirt.VIR_DOMAIN_EVENT_SUSPENDED,
        libvirt.VIR_DOMAIN_EVENT_RESUMED,
        libvirt.VIR_DOMAIN_EVENT_STOPPED,
        libvirt.VIR_DOMAIN_EVENT_CRASHED,
        libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED,
    }
)


#: Seconds between looks at all guests after a lost connection: a libvirtd that has just started
#: notices late that an emulator has ended, and sends no event (seen with 9.0).
_PAUSES = (1.0, 5.0, 20.0)

#: Seconds between two tries to listen again to a libvirt that cannot be reached.
_RETRY_SECONDS = 10.0


class Changes:
    """Calls a listener for changed guests, each on a thread of its own.

    The listener gets the state at the end of the operation that runs on the guest, if one runs.  A
    guest has at most one such thread.  After a lost connection the listener also gets the states
    that have changed meanwhile.

    :param parts: the parts of the driver.
    :param listener: see :meth:`compute_driver.driver.ComputeDriver.subscribe`.
    """

    def __init__(self, parts: Parts, listener: Listener) -> None:
        self._parts = parts
        self._listener = listener
        self._guard = threading.Lock()
        self._waiting: set[str] = set()
        self._seen: dict[str, PowerState] = {}
        self._watching = contextlib.ExitStack()
        self._watch: events.Watch | None = None

    def start(self) -> None:
        """Begin to listen.

        :raises LibvirtUnavailable: if there is no connection.
        """
        self._watch = self._watching.enter_context(self._parts.connection.watch(None))
        self._seen = self._states()
        threading.Thread(
            target=self._listen, args=(self._watch,), name="guest-changes", daemon=True
        ).start()

    def stop(self) -> None:
        """Stop listening."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.push(None)

    def _listen(self, watch: events.Watch) -> None:
        deadline, pauses = math.inf, iter(_PAUSES)
        with self._watching:
            while self._watch is not None:
                event = watch.wait(_KINDS, deadline)
                if event is not None:
                    self._changed(event.uuid)
                elif self._watch is not None:
                    if time.monotonic() < deadline:  # the connection is lost
                        pauses = iter(_PAUSES)
                    listens = self._listen_again()
                    pause = next(pauses, math.inf) if listens else _RETRY_SECONDS
                    deadline = time.monotonic() + pause

    def _listen_again(self) -> bool:
        """Listen after a lost connection, and report the guests that have changed meanwhile.

        :return: False if libvirt cannot be reached.
        """
        try:
            self._parts.connection.listen()
            states = self._states()
        except exceptions.ComputeDriverError as error:
            LOG.warning("Changes of guests' states are not seen: %s", error)
            return False
        for uuid, state in states.items():
            if self._seen.get(uuid) is not state:
                self._changed(uuid)
        return True

    def _states(self) -> dict[str, PowerState]:
        return {info.guest.uuid: info.state for info in self._parts.inventory.guests()}

    def _changed(self, uuid: str) -> None:
        with self._guard:
            if uuid in self._waiting:
                return
            self._waiting.add(uuid)
        threading.Thread(target=self._tell, args=(uuid,), name="guest-change", daemon=True).start()

    def _tell(self, uuid: str) -> None:
        try:
            self._parts.state(uuid)  # fails before the lock for a guest of another program
            with journal.exclusive(self._parts, uuid):
                self._forget(uuid)
                state, reason = self._parts.on_domain(uuid, _state_and_reason)
            if reason is not StateReason.NONE:
                level = logging.WARNING if reason in FAULTS else logging.INFO
                LOG.log(level, "Guest %s is %s: %s", uuid, state, reason)
            self._seen[uuid] = state
            self._listener(uuid, state)
        except exceptions.GuestNotFound:
            LOG.debug("Guest %s is gone, or another program's", uuid)
        except Exception:
            LOG.exception("The change of guest %s could not be reported", uuid)
        finally:
            self._forget(uuid)

    def _forget(self, uuid: str) -> None:
        with self._guard:
            self._waiting.discard(uuid)


def _state_and_reason(domain: libvirt.virDomain) -> tuple[PowerState, StateReason]:
    number, reason = domain.state()
    return domains.present_state(domain, number), reasons.reason(number, reason)
