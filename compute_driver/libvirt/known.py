# SPDX-License-Identifier: Apache-2.0
"""What libvirt has told about all domains, kept as long as libvirt's events tell each change.

libvirt has no call for the metadata of all domains.  A driver that listens to events asks once for
each domain, and again after an event of the domain.  A driver that does not listen keeps nothing.

A lost connection may have lost events: then everything is forgotten.  Answers have a largest age,
for a change without an event.

Source: libvirt, "virConnectDomainEventID": lifecycle and metadata changes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TypeVar

import libvirt

from compute_driver.choices import PowerState
from compute_driver.libvirt import domain as domains
from compute_driver.system import concurrency
from compute_driver.xml import metadata

V = TypeVar("V")

#: Seconds after which all states are asked for again, by a few calls for all domains.
STATES_AGE = 10.0

#: Longest time in seconds after which the metadata of a domain is read again.
METADATA_AGE = 600.0


@dataclasses.dataclass(frozen=True)
class Told:
    """The element of this package in a domain's metadata; its parts are read once.

    :param text: the element; empty without one.
    :param until: when libvirt is asked again, by :func:`time.monotonic`, in seconds.
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


@dataclasses.dataclass
class _Question:
    """A question to libvirt that is under way.

    :param answers_hold: whether events tell each change of the answers.
    :param changed: the UUIDs of the domains that have changed since the question began.
    """

    answers_hold: bool
    changed: set[str] = dataclasses.field(default_factory=set)


class Known:
    """The metadata of all domains, and the states of this driver's guests, by UUID.

    The methods may be called on any native thread.
    """

    def __init__(self) -> None:
        threading = concurrency.native("threading")
        self._guard, self._one_asks = threading.Lock(), threading.Lock()
        self._told: dict[str, Told] = {}
        self._states: dict[str, PowerState] = {}
        self._asked_at = -math.inf
        self._listens = False
        self._questions: list[_Question] = []

    def listen(self) -> None:
        """Keep answers from now on: the events of all later changes arrive."""
        with self._guard:
            self._listens = True

    def forget(self, uuid: str) -> None:
        """Forget a domain, which has changed."""
        with self._guard:
            self._told.pop(uuid, None)
            self._states.pop(uuid, None)
            for question in self._questions:
                question.changed.add(uuid)

    def forget_all(self) -> None:
        """Forget all domains: events may be lost, and no more arrive."""
        with self._guard:
            self._told, self._states = {}, {}
            self._asked_at, self._listens = -math.inf, False
            for question in self._questions:
                question.answers_hold = False

    def told(self, found: Collection[libvirt.virDomain]) -> dict[str, Told]:
        """Return the metadata of domains by UUID; libvirt is asked for what is not known.

        :param found: the domains, each once; the answers are in their order.
        """
        now = time.monotonic()
        answers: dict[str, Told] = {}
        with self._question() as question:
            for domain in found:
                uuid = domain.UUIDString()
                told = self._told.get(uuid)
                if told is None or told.until < now:
                    # Domains that were read together are not read again together.
                    until = now + METADATA_AGE * (1 - int(uuid[:2], 16) / 512)
                    told = Told(domains.metadata_of(domain), until)
                answers[uuid] = told
            with self._guard:
                if question.answers_hold:
                    kept = {uuid: told for uuid, told in self._told.items() if told.until >= now}
                    self._told = kept | _without(answers, question.changed)
        return answers

    def state(self, uuid: str) -> PowerState | None:
        """Return the state of a guest; None if the state is not known."""
        return None if self.has_old_states else self._states.get(uuid.lower())

    @property
    def has_old_states(self) -> bool:
        """Whether the kept states are too old."""
        return self._listens and time.monotonic() > self._asked_at + STATES_AGE

    def keep_state(self, uuid: str, ask: Callable[[], PowerState]) -> PowerState:
        """Return the state of one guest of this driver.

        :param ask: asks libvirt for the state.
        :raises: the errors of *ask*.
        """
        with self._question() as question:
            state = ask()
            with self._guard:
                if question.answers_hold:
                    self._states |= _kept({uuid.lower(): state}, question.changed)
        return state

    def keep_states(self, ask: Callable[[], Mapping[str, PowerState]]) -> None:
        """Ask for the states of all guests of this driver, unless another thread asks.

        :param ask: asks libvirt for the states.
        :raises: the errors of *ask*.
        """
        if not self._one_asks.acquire(blocking=False):
            return
        try:
            asked_at = time.monotonic()
            with self._question() as question:
                states = ask()
                with self._guard:
                    if question.answers_hold:
                        self._states = _kept(states, question.changed)
                        self._asked_at = asked_at
        finally:
            self._one_asks.release()

    @contextlib.contextmanager
    def _question(self) -> Iterator[_Question]:
        """Watch meanwhile which domains change."""
        with self._guard:
            question = _Question(self._listens)
            self._questions.append(question)
        try:
            yield question
        finally:
            with self._guard:
                self._questions = [other for other in self._questions if other is not question]


def _kept(states: Mapping[str, PowerState], changed: Collection[str]) -> dict[str, PowerState]:
    """Return the states that events tell each change of: the loss of saved memory has no event."""
    unchanged = _without(states, changed).items()
    return {uuid: state for uuid, state in unchanged if state is not PowerState.SUSPENDED}


def _without(answers: Mapping[str, V], changed: Collection[str]) -> dict[str, V]:
    return {uuid: answer for uuid, answer in answers.items() if uuid not in changed}
