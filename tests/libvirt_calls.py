# SPDX-License-Identifier: Apache-2.0
"""Counts the calls of this process that libvirt's daemon answers."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import libvirt

#: Functions of libvirt's client that ask no daemon.
_LOCAL = frozenset(
    {
        *("virConnectIsAlive", "virConnectSetKeepAlive", "virInitialize"),
        *("virDomainFree", "virDomainGetConnect", "virDomainGetID", "virDomainGetName"),
        *("virDomainGetUUID", "virDomainGetUUIDString"),
        *("virGetLastError", "virResetLastError"),
    }
)


@contextlib.contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the calls of libvirt's functions, by name, of all threads."""
    calls: Counter[str] = Counter()
    module = libvirt.libvirtmod

    def counting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def count(*words: Any) -> Any:
            calls[name] += 1
            return function(*words)

        return count

    with contextlib.ExitStack() as patches:
        for name in dir(module):
            function = getattr(module, name)
            asks = name.startswith("vir") and not name.startswith("virEvent")
            if asks and callable(function) and name not in _LOCAL:
                patches.enter_context(mock.patch.object(module, name, counting(name, function)))
        yield calls
