# SPDX-License-Identifier: Apache-2.0
"""What was found out about the host, kept as long as the host stays as it is.

It is kept in the process and, for the next one, in small JSON files; a directory that cannot be
written and files that are damaged cost time and nothing else.
"""

from __future__ import annotations

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

#: Seconds after which what failed is tried again.
_DOUBTFUL = 60

T = TypeVar("T")

#: Grows whenever what is kept, or how it was found out, changes its meaning.
_VERSION = 2


class Cache:
    """Facts, each with the fingerprint of what it depends on.

    :param directory: where they are kept; made when needed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        #: By name: pairs of fingerprint and fact in JSON's types, the newest first.
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
        """Return a fact; find it out only if it is not known for this fingerprint.

        :param name: what it is about: a file name without an ending.
        :param fingerprint: all that the fact depends on, in JSON's types (lists, no tuples).
        :param kind: the fact's type: a dataclass without defaults, of JSON's types, tuples and
            such dataclasses.
        :param find_out: returns the fact; what it raises is passed on, and is not kept.
        :param holds: whether a known fact still holds, where that takes more than a fingerprint.
        :param most: for how many fingerprints facts of that name are kept: the newest.
        """
        wanted = [_VERSION, fingerprint]

        def find(known: list[tuple[Any, Any]]) -> T | None:
            facts = (_structured(fact, kind) for found, fact in known if found == wanted)
            return next((fact for fact in facts if fact is not None and holds(fact)), None)

        with self._guards.setdefault(name, threading.Lock()):
            known = self._known.get(name, [])
            fact = find(known)
            if fact is None:
                known = self._read(name) or known  # another process may have found it out
                fact = find(known)
            if fact is None:
                fact = find_out()
                others = [each for each in known if each[0] != wanted]
                known = [(wanted, cattrs.unstructure(fact)), *others][:most]
                self._write(name, known)
            self._known[name] = known
            return fact

    def _read(self, name: str) -> list[tuple[Any, Any]]:
        try:
            return [(found, fact) for found, fact in json.loads(_own_text(self._path(name)))]
        except (OSError, ValueError, TypeError, RecursionError):
            return []

    def _write(self, name: str, known: list[tuple[Any, Any]]) -> None:
        path = self._path(name)
        try:
            filesystem.make_directory(self._directory, 0o700)
            # Processes may write at the same time.
            with files.new_file(path) as new:
                new.write_text(json.dumps(known), encoding="utf-8")
        except exceptions.HostError as error:
            LOG.debug("Not kept for the next process: %s: %s", path, error)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json"


def is_recent(at: float) -> bool:
    """Tell whether a failure still counts as known; somebody may mend its cause.

    :param at: when it was seen, in seconds since the epoch.
    """
    return 0 <= time.time() - at < _DOUBTFUL


def _own_text(path: Path) -> str:
    """Read a file that nobody but root and this user has written.

    :raises OSError: if it is another's, is no regular file or is not there.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, encoding="utf-8") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid not in (0, os.geteuid()):
            raise PermissionError(f"{path} is not trusted")
        return file.read()


def _structured(fact: Any, kind: type[T]) -> T | None:
    """Return a fact with its type; None if it is of another."""
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
