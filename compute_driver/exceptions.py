# SPDX-License-Identifier: Apache-2.0
"""One small tree of typed errors.

Every error that a user can cause or cure derives from :class:`ComputeDriverError` and is written
as one line: what was wrong, then what would be right.  Adapters translate the classes, never the
texts.
"""

from __future__ import annotations

from collections.abc import Iterable


class ComputeDriverError(Exception):
    """Base of everything this package raises on purpose."""


class Interrupted(SystemExit):
    """A signal asks this process to end; whatever is under way unwinds."""


class InvalidParameter(ComputeDriverError):
    """A value that cannot be used, refused before anything is made.

    :param field: name of the parameter or option as its user wrote it.
    :param value: what was given.
    :param accepted: what would be right, in words or as the list of accepted values.
    """

    def __init__(self, field: str, value: object, accepted: str | Iterable[str]) -> None:
        self.field = field
        self.value = value
        self.accepted = accepted if isinstance(accepted, str) else ", ".join(sorted(accepted))
        shown = repr(value)
        if len(shown) > 120:
            shown = shown[:117] + "..."
        verdict = f"{field} is missing" if value is None else f"{field}: {shown} is not usable"
        super().__init__(f"{verdict}; accepted: {self.accepted}")


class NotOnThisHost(InvalidParameter):
    """A value that this host cannot give a guest, though another host may."""


class ConfigurationError(ComputeDriverError):
    """A configuration file or option that cannot be used."""


class PluginError(ComputeDriverError):
    """An entry point that is missing or does not load.

    :param namespace: the entry-point group that was searched.
    :param name: the entry point.
    :param cause: why it does not load, and what is there instead.
    """

    def __init__(self, namespace: str, name: str, cause: object) -> None:
        self.namespace = namespace
        self.name = name
        super().__init__(f"plugin {name!r} of {namespace!r} cannot be loaded: {cause}")


class HostError(ComputeDriverError):
    """The host cannot do what was asked."""


class LibvirtUnavailable(HostError):
    """No connection to libvirt can be had."""


class LibvirtError(HostError):
    """libvirt refused or failed a call, for a reason that has no class of its own."""


class MissingDependency(HostError):
    """A program, a firmware or an emulator that the host lacks."""


class AccelerationUnavailable(HostError):
    """Hardware acceleration was demanded and cannot be had."""


class NotEnoughSpace(HostError):
    """The file system of an image or a disk is full."""


class ToolFailed(HostError):
    """A helper program such as ``qemu-img`` failed or passed its limits."""


class OpenVSwitchUnavailable(HostError):
    """Open vSwitch's database cannot be reached."""


class PlugFailed(HostError):
    """An interface could not be plugged or unplugged."""


class NoFreePort(HostError):
    """All TCP ports for serial consoles are taken, or none can be used."""


class GuestError(ComputeDriverError):
    """An operation on one guest failed."""


class GuestNotFound(GuestError):
    """No guest of this driver has that name or UUID."""

    def __init__(self, guest: str) -> None:
        self.guest = guest
        super().__init__(f"no such guest: {guest!r}")


class MetadataDamaged(GuestError):
    """A domain is this driver's, but the description stored in it cannot be understood."""


class GuestExists(GuestError):
    """The name or the UUID is taken."""


class GuestBusy(GuestError):
    """Another operation on the same guest has not ended."""


class InterfaceNotFound(GuestError):
    """The guest has no such interface."""

    def __init__(self, guest: str, mac: str) -> None:
        super().__init__(f"guest {guest!r} has no interface {mac!r}")


class DeviceBusy(GuestError):
    """The guest does not let go of a device."""


class InvalidGuestState(GuestError):
    """The guest's power state does not allow the operation.

    :param guest: its name.
    :param operation: the verb that was asked for.
    :param state: the state it is in.
    :param accepted: the states in which the verb is possible.
    """

    def __init__(self, guest: str, operation: str, state: str, accepted: Iterable[str]) -> None:
        wanted = " or ".join(sorted(accepted))
        super().__init__(f"cannot {operation} guest {guest!r}: it is {state}, not {wanted}")


class InterruptUnsupported(GuestError):
    """The guest's machine has no non-maskable interrupts."""


class ConsoleUnavailable(GuestError):
    """The guest's screen or serial console is not served, or not in that way.

    :param guest: its name.
    :param console: what it has not.
    :param option: what to set so that guests have it.
    """

    def __init__(self, guest: str, console: str, option: str) -> None:
        super().__init__(
            f"guest {guest!r} has no {console}; set [hypervisor] {option}, and reboot it hard"
        )


class AgentUnavailable(GuestError):
    """No agent answers in the guest, or it has no channel for one."""


class AgentFailed(GuestError):
    """The guest's agent could not do what it was asked for."""


class QuiesceUnsupported(AgentFailed):
    """The guest's agent does not know how to freeze file systems, or may not."""


class PasswordUnsupported(AgentFailed):
    """The guest's agent does not know how to set a password, or may not."""


class SnapshotFailed(GuestError):
    """The disk of a guest could not be copied."""


class OperationTimeout(GuestError):
    """What was waited for did not come before the deadline."""


class ImageError(ComputeDriverError):
    """An image cannot be used."""


class ImageNotFound(ImageError):
    """There is no image at that source."""


class ImageFetchFailed(ImageError):
    """The image could not be fetched whole."""


class ImageUnacceptable(ImageError):
    """The image's bytes are not what they claim, or not safe to use."""


class ImageTooLarge(ImageError):
    """The image's virtual size does not fit the disk it is for."""
