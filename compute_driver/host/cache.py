# SPDX-License-Identifier: Apache-2.0
"""Facts about the host, kept as long as the host stays as it is.

The process keeps the facts in memory and, for the next process, in small JSON files.  If the files
cannot be written or are damaged, the driver finds the facts out again.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import cattrs

from compute_driver import exceptions
from compute_driver.system import files, filesystem

LOG = logging.getLogger(__name__)

#: Seconds until the driver tries again after a failure.
_DOUBTFUL = 60

T = TypeVar("T")

#: Version of the facts; grows when a fact or the way to find it out changes its meaning.
_VERSION = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attempt:
    """A fact that may be a failure; a failure holds for a minute, since its cause may go.

    :param problem: the reason of the failure; empty after success.
    :param at: time of the attempt, in seconds since the epoch.
    """

    problem: str
    at: float

    def holds(self) -> bool:
        """Tell whether the driver need not try again."""
        return not self.problem or 0 <= time.time() - self.at < _DOUBTFUL


class Cache:
    """Facts, each with a fingerprint of all that the fact depends on.

    :param directory: directory of the JSON files; made when needed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        #: By name, pairs of fingerprint and fact in JSON's types, newest first.
        self._known: dict[str, list[tuple[Any, Any]]] = {}
        self._guards: dict[str, threading.Lock] = {}

    def get(
        self,
        name: str,
        fingerprint: Any,
        kind: type[T],
        find_out: Callable[[], T],
        *,
        holds: Callable[[T], bool] = lambda _fact: True,
        most: int = 1,
    ) -> T:
        """Return the fact for this fingerprint; find it out only if it is not known.

        :param name: name of the fact: a file name without suffix.
        :param fingerprint: all that the fact depends on, in JSON's types (lists, no tuples).
        :param kind: type of the fact: a dataclass without defaults, of JSON's types, tuples and
            such dataclasses.
        :param find_out: returns the fact; its errors pass through and are not kept.
        :param holds: tells whether a known fact still holds, beyond its fingerprint.
        :param most: number of fingerprints to keep for this name; the oldest go first.
        """
        wanted = [_VERSION, fingerprint]

        def look_up(known: list[tuple[Any, Any]]) -> T | None:
            facts = (_structured(fact, kind) for key, fact in known if key == wanted)
            return next((fact for fact in facts if fact is not None and holds(fact)), None)

        with self._guards.setdefault(name, threading.Lock()):
            known = self._known.get(name, [])
            fact = look_up(known)
            if fact is None:
                known = self._read(name) or known  # another process may know the fact
                fact = look_up(known)
            if fact is None:
                fact = find_out()
                others = [pair for pair in known if pair[0] != wanted]
                known = [(wanted, cattrs.unstructure(fact)), *others][:most]
                self._write(name, known)
            self._known[name] = known
            return fact

    def _read(self, name: str) -> list[tuple[Any, Any]]:
        try:
            return [(key, fact) for key, fact in json.loads(_own_text(self._path(name)))]
        except (OSError, ValueError, TypeError, RecursionError):
            return []

    def _write(self, name: str, known: list[tuple[Any, Any]]) -> None:
        path = self._path(name)
        try:
            filesystem.make_directory(self._directory, 0o700)
            # Several processes may write at the same time.
            with files.new_file(path) as new:
                new.write_text(json.dumps(known), encoding="utf-8")
        except exceptions.HostError as error:
            LOG.debug("Cannot keep facts for the next process in %s: %s", path, error)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"


def _own_text(path: Path) -> str:
    """Read a file that belongs to root or to this user.

    :raises OSError: if the file belongs to another user, is not regular or does not exist.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, encoding="utf-8") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()):
            raise PermissionError(f"{path} is not trusted")
        return file.read()


def _structured(fact: Any, kind: type[T]) -> T | None:
    """Return a fact in its type; None if the stored fact has another type."""
    try:
        return _CONVERTER.structure(fact, kind)
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def _exactly(value: Any, kind: type[T]) -> T:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=False)
    for kind in (bool, int, float, str):
        converter.register_structure_hook(kind, _exactly)
    return converter


_CONVERTER = _make_converter()
