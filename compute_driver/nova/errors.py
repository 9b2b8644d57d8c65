# SPDX-License-Identifier: Apache-2.0
"""Turns this package's errors into errors that nova handles."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import ParamSpec, TypeVar

from nova import exception as nova

from compute_driver import exceptions

P = ParamSpec("P")
R = TypeVar("R")

#: This package's errors and nova's error for each class.  A class without an entry has the entry of
#: its nearest base class.  InvalidInput and errors of images end a build; after the other errors
#: nova tries another host.  So InvalidParameter is for guests that no host of this driver can run,
#: and NotOnThisHost for guests that another host may run.
TABLE: Mapping[type[BaseException], type[nova.NovaException]] = {
    exceptions.ComputeDriverError: nova.NovaException,
    exceptions.InvalidParameter: nova.InvalidInput,
    exceptions.NotOnThisHost: nova.ComputeResourcesUnavailable,
    exceptions.ConfigurationError: nova.InvalidConfiguration,
    exceptions.LibvirtUnavailable: nova.HypervisorUnavailable,
    exceptions.MissingDependency: nova.ComputeResourcesUnavailable,
    exceptions.AccelerationUnavailable: nova.ComputeResourcesUnavailable,
    exceptions.NotEnoughSpace: nova.ComputeResourcesUnavailable,
    exceptions.OpenVSwitchUnavailable: nova.VirtualInterfacePlugException,
    exceptions.PlugFailed: nova.VirtualInterfacePlugException,
    exceptions.DeviceBusy: nova.DeviceDetachFailed,
    exceptions.InterfaceNotFound: nova.DeviceNotFound,
    exceptions.GuestNotFound: nova.InstanceNotFound,
    exceptions.GuestExists: nova.InstanceExists,
    exceptions.GuestBusy: nova.InstanceNotReady,
    exceptions.InvalidGuestState: nova.InstanceInvalidState,
    exceptions.InterruptUnsupported: nova.TriggerCrashDumpNotSupported,
    exceptions.NoFreePort: nova.SocketPortRangeExhaustedException,
    exceptions.ConsoleUnavailable: nova.ConsoleTypeUnavailable,
    exceptions.AgentUnavailable: nova.QemuGuestAgentNotEnabled,
    exceptions.QuiesceUnsupported: nova.InstanceQuiesceNotSupported,
    exceptions.PasswordUnsupported: nova.SetAdminPasswdNotSupported,
    exceptions.ImageNotFound: nova.ImageNotFound,
    exceptions.ImageUnacceptable: nova.ImageUnacceptable,
    exceptions.ImageTooLarge: nova.FlavorDiskTooSmall,
}


def translate(error: exceptions.ComputeDriverError) -> nova.NovaException:
    """Return nova's error for an error of this package, with the same text."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)(str(error))


@contextlib.contextmanager
def replaced(
    kind: type[exceptions.ComputeDriverError],
    make: Callable[[str], nova.NovaException],
    *,
    unchanged: tuple[type[exceptions.ComputeDriverError], ...] = (),
) -> Iterator[None]:
    """Raise another error than :data:`TABLE` has.

    :param kind: the class of this package's errors to replace.
    :param make: returns nova's error; its argument is the text of this package's error.
    :param unchanged: classes of errors that pass.
    """
    try:
        yield
    except unchanged:
        raise
    except kind as error:
        raise make(str(error)) from error


def translated(method: Callable[P, R]) -> Callable[P, R]:
    """Return *method* with nova's errors in place of this package's errors."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except exceptions.ComputeDriverError as error:
            raise translate(error) from error

    return call
