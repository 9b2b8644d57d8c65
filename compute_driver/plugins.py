# SPDX-License-Identifier: Apache-2.0
"""Finds entry points by stevedore; the one place where any namespace of plugins is read."""

from __future__ import annotations

import importlib.metadata
from typing import Any, NoReturn

import stevedore
import stevedore.exception

from compute_driver import exceptions

DRIVERS = "compute_driver.drivers"
OPERATIONS = "compute_driver.operations"


class _Manager(stevedore.DriverManager):  # type: ignore[type-arg]
    """A manager that looks at what is installed now.

    stevedore keeps entry points in a file, found again by modification times of a precision of
    minutes: a verb that was just installed or changed would be missed.
    """

    def list_entry_points(self) -> list[importlib.metadata.EntryPoint]:
        """Return the entry points of the namespace, loading none of them."""
        return list(importlib.metadata.entry_points(group=self.namespace))


def load(namespace: str, name: str) -> Any:
    """Return what the entry point *name* of *namespace* names.

    :raises PluginError: if there is none or it does not load; names both and the cause.
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
    except (Exception, SystemExit) as error:  # whatever another's module does when imported
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise exceptions.PluginError(namespace, name, cause) from error


def names(namespace: str) -> list[str]:
    """Return the names of all entry points of *namespace*, loading none of them."""
    return sorted({point.name for point in importlib.metadata.entry_points(group=namespace)})
