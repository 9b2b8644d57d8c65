# SPDX-License-Identifier: Apache-2.0
"""One small tree of typed errors.

Every error that a user can cause or cure derives from :class:`ComputeDriverError`.  Its text is one
line: first the fault, then the accepted values.  Adapters translate the classes, never the texts.
"""

from __future__ import annotations

from collections.abc import Iterable


class ComputeDriverError(Exception):
    """Base of all errors that this package raises on purpose."""


class Interrupted(SystemExit):
    """A signal asks this process to end; running operations undo their steps."""


class InvalidParameter(ComputeDriverError):
    """A value is not usable; the operation has made nothing yet.

    :param field: name of the parameter or option as its user wrote it.
    :param value: the value; None means a missing value.
    :param accepted: the accepted values, in words or as a list.
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
    """A guest cannot have the value on this host; another host may give it."""


class NameUnusable(InvalidParameter):
    """Another client of libvirt has given a guest a name that no guest can have."""


class ConfigurationError(ComputeDriverError):
    """A configuration file or option is not usable."""


class PluginError(ComputeDriverError):
    """An entry point is missing or does not load.

    :param namespace: the group of entry points.
    :param name: name of the entry point.
    :param cause: why the entry point does not load, and which others exist.
    """

    def __init__(self, namespace: str, name: str, cause: object) -> None:
        self.namespace = namespace
        self.name = name
        super().__init__(f"plugin {name!r} of {namespace!r} cannot be loaded: {cause}")


class HostError(ComputeDriverError):
    """The host cannot carry out the operation."""


class LibvirtUnavailable(HostError):
    """libvirt is not reachable."""


class LibvirtError(HostError):
    """libvirt refused a call or failed, for a reason without its own class."""


class MissingDependency(HostError):
    """The host lacks a program, a firmware or an emulator."""


class AccelerationUnavailable(HostError):
    """The configuration demands hardware acceleration, and the host has none."""


class NotEnoughSpace(HostError):
    """The file system of an image or a disk is full."""


class ToolFailed(HostError):
    """A helper program such as ``qemu-img`` failed or reached its limits."""


class OpenVSwitchUnavailable(HostError):
    """Open vSwitch's database is not reachable."""


class PlugFailed(HostError):
    """An interface could not be plugged or unplugged."""


class NoFreePort(HostError):
    """All TCP ports for serial consoles are taken or unusable."""


class GuestError(ComputeDriverError):
    """An operation on one guest failed."""


class GuestNotFound(GuestError):
    """No guest of this driver has that name or UUID.

    :param hint: what is there instead, and what to do.
    """

    def __init__(self, guest: str, hint: str = "") -> None:
        self.guest = guest
        super().__init__(f"no such guest: {guest!r}" + (hint and f"; {hint}"))


class MetadataDamaged(GuestError):
    """A domain belongs to this driver, but its stored description is not readable."""


class GuestExists(GuestError):
    """Another guest has the name or the UUID."""


class GuestBusy(GuestError):
    """Another operation or session uses the guest."""


class InterfaceNotFound(GuestError):
    """The guest has no interface with this MAC address."""

    def __init__(self, guest: str, mac: str) -> None:
        super().__init__(f"guest {guest!r} has no interface {mac!r}")


class DeviceBusy(GuestError):
    """The guest does not release a device."""


class InvalidGuestState(GuestError):
    """The guest's power state does not allow the operation.

    :param guest: name of the guest.
    :param operation: the requested verb.
    :param state: the guest's state.
    :param accepted: the states that allow the verb.
    """

    def __init__(self, guest: str, operation: str, state: str, accepted: Iterable[str]) -> None:
        wanted = ", ".join(sorted(accepted))
        super().__init__(f"cannot {operation} guest {guest!r}: it is {state}; accepted: {wanted}")


class InterruptUnsupported(GuestError):
    """The guest's machine has no non-maskable interrupts."""

    def __init__(self, guest: str) -> None:
        super().__init__(f"the machine of guest {guest!r} has no non-maskable interrupts")


class ConsoleUnavailable(GuestError):
    """QEMU does not serve the guest's screen or serial console by the requested protocol.

    :param guest: name of the guest.
    :param console: the missing console.
    :param option: the option that gives guests this console.
    """

    def __init__(self, guest: str, console: str, option: str) -> None:
        super().__init__(
            f"guest {guest!r} has no {console}; set [hypervisor] {option}, and reboot it hard"
        )


class AgentUnavailable(GuestError):
    """No agent answers in the guest, or the guest has no channel for an agent."""


class AgentFailed(GuestError):
    """The guest's agent could not carry out a request."""


class QuiesceUnsupported(AgentFailed):
    """The guest's agent cannot freeze file systems, or may not freeze them."""


class PasswordUnsupported(AgentFailed):
    """The guest's agent cannot set passwords, or may not set them."""


class DiskUnusable(GuestError):
    """A disk of the guest is where the driver cannot use it, is gone, or lacks a backing file."""


class SnapshotFailed(GuestError):
    """The disk of a guest could not be copied."""


class OperationTimeout(GuestError):
    """An awaited event did not come before the deadline."""


class ImageError(ComputeDriverError):
    """An image cannot be used."""


class ImageNotFound(ImageError):
    """The source has no such image."""


class ImageFetchFailed(ImageError):
    """The image could not be fetched completely."""


class ImageUnacceptable(ImageError):
    """The image's bytes do not match its declared format, or are not safe to use."""


class ImageTooLarge(ImageError):
    """The virtual size of the image is larger than its disk."""
