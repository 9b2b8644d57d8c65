# SPDX-License-Identifier: Apache-2.0
"""Finds drivers and operations by stevedore.

Namespace ``compute_driver.drivers`` holds subclasses of
:class:`~compute_driver.driver.ComputeDriver`, namespace ``compute_driver.operations`` callables
that take a driver first: its own methods, or functions of other distributions.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.driver import ComputeDriver
from compute_driver.plugins import DRIVERS, OPERATIONS, load, names

__all__ = [
    "DRIVERS",
    "OPERATIONS",
    "bind",
    "documentation",
    "load",
    "load_driver",
    "load_operation",
    "names",
]

Operation = Callable[..., Any]


def load_driver(conf: cfg.ConfigOpts) -> ComputeDriver:
    """Return the driver that option ``[hypervisor] driver`` names, ready for use.

    :raises ConfigurationError: if there is no such driver.
    :raises PluginError: if it does not load.
    """
    name = conf.hypervisor.driver
    known = names(DRIVERS)
    if name not in known:
        raise exceptions.ConfigurationError(
            f"driver in [hypervisor]: {name!r} is not usable; accepted: {', '.join(known)}"
        )
    cls = load(DRIVERS, name)
    if not (inspect.isclass(cls) and issubclass(cls, ComputeDriver)):
        raise exceptions.PluginError(DRIVERS, name, f"{cls!r} is not a ComputeDriver")
    return cls(conf)


def load_operation(name: str) -> Operation:
    """Return the callable of one operation; its first parameter is the driver."""
    operation = load(OPERATIONS, name)
    if not callable(operation):
        raise exceptions.PluginError(OPERATIONS, name, f"{operation!r} is not callable")
    return operation  # type: ignore[no-any-return]


def bind(operation: Operation, driver: ComputeDriver) -> Operation:
    """Return *operation* ready to be called on *driver*.

    An entry point may name the method of one driver class; another driver answers with its own
    method of that name.  Functions of other distributions get the driver as first argument.

    :raises HostError: if the operation is another driver's and this one has none of that name.
    """
    if _is_method_of_driver(operation):
        name = operation.__name__
        if not hasattr(type(driver), name):
            raise exceptions.HostError(f"{type(driver).__name__} has no operation {name!r}")
        operation = getattr(type(driver), name)
    return functools.partial(operation, driver)


def documentation(operation: Operation) -> str:
    """Return what *operation* says of itself; for drivers' methods, what the contract says."""
    if _is_method_of_driver(operation):
        operation = getattr(ComputeDriver, operation.__name__, operation)
    return inspect.getdoc(operation) or ""


def _is_method_of_driver(operation: Operation) -> bool:
    owner, _dot, _name = getattr(operation, "__qualname__", "").rpartition(".")
    cls = getattr(sys.modules.get(operation.__module__), owner, None) if owner else None
    return inspect.isclass(cls) and issubclass(cls, ComputeDriver)
