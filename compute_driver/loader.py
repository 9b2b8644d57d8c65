# SPDX-License-Identifier: Apache-2.0
"""Finds drivers and operations by stevedore.

Namespace ``compute_driver.drivers`` holds subclasses of
:class:`~compute_driver.driver.ComputeDriver`, namespace ``compute_driver.operations`` callables
that take a driver first: its own methods, or functions of other distributions.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.driver import ComputeDriver
from compute_driver.plugins import load, names

__all__ = ["DRIVERS", "OPERATIONS", "bind", "load", "load_driver", "load_operation", "names"]

DRIVERS = "compute_driver.drivers"
OPERATIONS = "compute_driver.operations"

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

    An entry point names the method of one driver class; another driver answers with its own
    method of that name.  Functions of other distributions get the driver as first argument.
    """
    own = getattr(type(driver), operation.__name__, None)
    if own is not None and "." in getattr(operation, "__qualname__", ""):
        operation = own
    return functools.partial(operation, driver)
