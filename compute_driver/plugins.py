# SPDX-License-Identifier: Apache-2.0
"""Loads entry points by stevedore; no other module reads a namespace of plugins."""

from __future__ import annotations

import importlib.metadata
from typing import Any, NoReturn

import stevedore
import stevedore.exception

from compute_driver import exceptions

DRIVERS = "compute_driver.drivers"
OPERATIONS = "compute_driver.operations"


class _Manager(stevedore.DriverManager):  # type: ignore[type-arg]
    """A manager that finds the entry points that are installed now.

    stevedore caches entry points in a file and compares modification times, with a precision of
    minutes: it misses a verb that was installed or changed a moment ago.
    """

    def list_entry_points(self) -> list[importlib.metadata.EntryPoint]:
        """Return the entry points of the namespace, without loading them."""
        return list(importlib.metadata.entry_points(group=self.namespace))


def load(namespace: str, name: str) -> Any:
    """Return the object of the entry point *name* of *namespace*.

    :raises PluginError: if the entry point is absent or does not load; names the cause.
    """

    def fail(manager: object, entrypoint: object, error: BaseException) -> NoReturn:
        raise error

    try:
        return _Manager(
            namespace, name, on_load_failure_callback=fail, on_missing_entrypoints_callback=None
        ).driver
    except stevedore.exception.NoMatches:
        known = ", ".join(names(namespace)) or "none"
        raise exceptions.PluginError(
            namespace, name, f"no such entry point; there are: {known}"
        ) from None
    except exceptions.Interrupted:
        raise
    except (Exception, SystemExit) as error:  # the import of a plugin may raise any error
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise exceptions.PluginError(namespace, name, cause) from error


def names(namespace: str) -> list[str]:
    """Return the names of all entry points of *namespace*, without loading them."""
    return sorted({point.name for point in importlib.metadata.entry_points(group=namespace)})
