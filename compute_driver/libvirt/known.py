# SPDX-License-Identifier: Apache-2.0
"""What libvirt has told about all domains, kept as long as libvirt's events tell each change.

libvirt has no call for the metadata of all domains.  A driver that listens to events asks once for
each domain, and again after an event of the domain.  A driver that does not listen keeps nothing.

A lost connection may have lost events: then everything is forgotten.  A lost event on a good
connection does not lie for long: answers have a largest age.

Source: libvirt, "virConnectDomainEventID": lifecycle and metadata changes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import libvirt

from compute_driver.choices import PowerState
from compute_driver.libvirt import domain as domains
from compute_driver.system import concurrency
from compute_driver.xml import metadata

T = TypeVar("T")

#: Seconds after which all states are asked for again, by a few calls for all domains.
STATES_AGE = 10.0

#: Seconds after which the metadata of a domain is read again.
METADATA_AGE = 600.0


@dataclasses.dataclass(frozen=True)
class Told:
    """The element of this package in a domain's metadata; its parts are read once.

    :param text: the element; empty without one.
    :param until: when it is to be read again, by :func:`time.monotonic`, in seconds.
    """

    text: str
    until: float = math.inf

    @functools.cached_property
    def claim(self) -> metadata.Claim | None:
        """Whose the domain is; see :func:`compute_driver.xml.metadata.claim`."""
        return metadata.claim(self.text)

    @functools.cached_property
    def stored(self) -> metadata.Stored | None:
        """The content of the element.

        :raises MetadataDamaged: if the element cannot be understood.
        """
        return metadata.read(self.text)


class Known:
    """The metadata of all domains, and the states of this driver's guests.

    The methods may be called on any native thread.
    """

    def __init__(self) -> None:
        self._guard = concurrency.native("threading").Lock()
        self._told: dict[str, Told] = {}
        self._states: dict[str, PowerState] = {}
        self._asked_at = -math.inf
        self._listens = False
        # The domains that have changed since each open question.
        self._questions: list[set[str]] = []

    def listen(self) -> None:
        """Keep answers from now on: the events of all later changes arrive."""
        with self._guard:
            self._listens = True

    def forget(self, uuid: str) -> None:
        """Forget a domain, which has changed."""
        with self._guard:
            self._told.pop(uuid, None)
            self._states.pop(uuid, None)
            for changed in self._questions:
                changed.add(uuid)

    def forget_all(self) -> None:
        """Forget all domains: events may be lost, and no more arrive."""
        with self._guard:
            self._told, self._states, self._questions = {}, {}, []
            self._asked_at, self._listens = -math.inf, False

    def told(self, found: Iterable[libvirt.virDomain]) -> dict[str, Told]:
        """Return the metadata of domains by UUID; libvirt is asked for what is not known."""
        answers: dict[str, Told] = {}
        now = time.monotonic()
        with self._question(self._told, answers):
            for domain in found:
                uuid = domain.UUIDString()
                told = self._told.get(uuid)
                if told is None or told.until < now:
                    told = Told(domains.metadata_of(domain), now + METADATA_AGE)
                answers[uuid] = told
        return answers

    def state(self, uuid: str) -> PowerState | None:
        """Return the state of a guest; None if it is not known."""
        return None if self.has_old_states else self._states.get(uuid)

    @property
    def has_old_states(self) -> bool:
        """Whether the states of all guests are to be asked for before one is."""
        return self._listens and time.monotonic() > self._asked_at + STATES_AGE

    def keep_state(self, uuid: str, ask: Callable[[], PowerState]) -> PowerState:
        """Return the state of one guest of this driver."""
        answers: dict[str, PowerState] = {}
        with self._question(self._states, answers):
            answers[uuid] = ask()
        return answers[uuid]

    def keep_states(self, ask: Callable[[], Mapping[str, PowerState]]) -> None:
        """Keep the states of all guests of this driver."""
        answers: dict[str, PowerState] = {}
        asked_at = time.monotonic()
        with self._question(self._states, answers):
            answers |= ask()
        self._asked_at = asked_at

    @contextlib.contextmanager
    def _question(self, kept: dict[str, T], answers: dict[str, T]) -> Iterator[None]:
        """Keep the answers that are true when the question ends, if events arrive."""
        changed: set[str] = set()
        with self._guard:
            if self._listens:
                self._questions.append(changed)
        try:
            yield
        finally:
            with self._guard:
                others = [question for question in self._questions if question is not changed]
                if len(others) < len(self._questions):
                    kept.update((uuid, answers[uuid]) for uuid in answers.keys() - changed)
                self._questions = others
