# SPDX-License-Identifier: Apache-2.0
"""Turns this package's errors into those that nova handles."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ParamSpec, TypeVar

from nova import exception as nova

from compute_driver import exceptions

P = ParamSpec("P")
R = TypeVar("R")

#: For each of our classes, and those derived from it that are not named, nova's.  In a build,
#: InvalidInput and errors of images end it; with the others it is tried on another host.  So what
#: no host of this driver could do is InvalidParameter, what this one cannot is NotOnThisHost.
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
    """Return nova's error for one of ours, with its text."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)(str(error))


@contextlib.contextmanager
def unless_running(kind: type[nova.NovaException], instance: Any) -> Iterator[None]:
    """Say of an instance that does not run what nova expects there.

    :raises: *kind*, in place of InvalidGuestState.
    """
    try:
        yield
    except exceptions.InvalidGuestState as error:
        raise kind(instance_id=instance.uuid) from error


@contextlib.contextmanager
def failing_as(kind: type[nova.NovaException]) -> Iterator[None]:
    """Have nova told of *kind* whatever fails meanwhile, but that there is no such guest."""
    try:
        yield
    except exceptions.GuestNotFound:
        raise
    except exceptions.ComputeDriverError as error:
        raise kind(str(error)) from error


def translated(method: Callable[P, R]) -> Callable[P, R]:
    """Make *method* raise nova's errors in place of ours."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except exceptions.ComputeDriverError as error:
            raise translate(error) from error

    return call
