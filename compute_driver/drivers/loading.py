# SPDX-License-Identifier: Apache-2.0
"""Loads drivers and operations by their entry points.

Namespace ``compute_driver.drivers`` holds subclasses of
:class:`~compute_driver.driver.ComputeDriver`.  Namespace ``compute_driver.operations`` holds
callables whose first argument is a driver: methods of drivers, or functions of other distributions.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

from oslo_config import cfg

from compute_driver import exceptions, hardware, host, images, libvirt, network, operations, xml
from compute_driver.driver import ComputeDriver
from compute_driver.plugins import DRIVERS, OPERATIONS, load, names

Function = Callable[..., Any]


def load_driver(conf: cfg.ConfigOpts) -> ComputeDriver:
    """Return the driver that option ``[hypervisor] driver`` names, ready for use.

    :raises ConfigurationError: if there is no such driver.
    :raises PluginError: if the driver does not load.
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


def import_all() -> None:
    """Import the modules that drivers import on demand.

    A service calls this function at its start: an upgrade may replace the modules on the disk while
    the service runs.
    """
    for package in (hardware, host, images, libvirt, network, operations, xml):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def load_operation(name: str) -> Function:
    """Return the callable of one operation; its first parameter is the driver."""
    operation = load(OPERATIONS, name)
    if not callable(operation):
        raise exceptions.PluginError(OPERATIONS, name, f"{operation!r} is not callable")
    return operation  # type: ignore[no-any-return]


def bind(operation: Function, driver: ComputeDriver) -> Function:
    """Return *operation* as a callable without its first argument, which is *driver*.

    If *operation* is a method of another driver class, the driver's own method with the same name
    is called.  A function of another distribution is called itself.

    :raises HostError: if *operation* is a method of another driver class and *driver* has no method
        with its name.
    """
    name = _method_name(operation)
    if name is None:
        return functools.partial(operation, driver)
    if not hasattr(driver, name):
        raise exceptions.HostError(f"{type(driver).__name__} has no operation {name!r}")
    return getattr(driver, name)  # type: ignore[no-any-return]


def documentation(operation: Function) -> str:
    """Return the docstring of *operation*; for a method of a driver, the contract's docstring."""
    name = _method_name(operation)
    return inspect.getdoc(getattr(ComputeDriver, name or "", operation)) or ""


def _method_name(operation: Function) -> str | None:
    """Return the name of a method of any driver class; None for other callables."""
    name = getattr(operation, "__name__", "")
    methods = (getattr(cls, name, None) for cls in _classes(ComputeDriver))
    return name if any(method is operation for method in methods) else None


def _classes(base: type[Any]) -> Iterator[type[Any]]:
    """Yield a class and all classes that are derived from it."""
    yield base
    for derived in base.__subclasses__():
        yield from _classes(derived)
