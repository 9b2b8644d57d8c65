# SPDX-License-Identifier: Apache-2.0
"""The contract that every driver keeps.

Guests are named by their UUID.  Every method is safe to call from any thread; two operations on
one guest run one after the other, operations on different guests never wait for each other.
Methods raise the classes of :mod:`compute_driver.exceptions` and nothing else on purpose, and
leave nothing half-made when they do.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Collection

from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.guest import ConfigDrive, Guest, Interface, PowerState, RebootKind
from compute_driver.info import Check, Finding, GuestInfo, GuestStats, HostInfo

#: Called with (what, done, total) while a long step makes progress, both in bytes; a total of 0
#: means that it is not known.
Progress = Callable[[str, int, int], None]


def no_progress(what: str, done: int, total: int) -> None:
    """Ignore the progress."""


#: A network that is not waited for.
NO_GATE = contextlib.nullcontext()


#: Called with a guest's UUID and its state.
Listener = Callable[[str, PowerState], None]


class ConsoleSession(abc.ABC):
    """An open, interactive serial console."""

    @abc.abstractmethod
    def receive(self) -> bytes:
        """Return what the guest wrote next; empty once the console has ended."""

    @abc.abstractmethod
    def send(self, data: bytes) -> None:
        """Type *data* at the guest's console."""

    @abc.abstractmethod
    def close(self) -> None:
        """End the session; the guest does not notice."""


class ComputeDriver(abc.ABC):
    """Runs guests on one host.

    :param conf: configuration with group ``[hypervisor]`` registered.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf

    @abc.abstractmethod
    def spawn(
        self,
        guest: Guest,
        *,
        progress: Progress = no_progress,
        network: contextlib.AbstractContextManager[object] = NO_GATE,
        power_on: bool = True,
        told: Callable[[GuestInfo], ConfigDrive | None] | None = None,
    ) -> GuestInfo:
        """Make a guest and start it.

        :param network: entered before the interfaces are plugged, and left when they are and the
            guest is there, still paused; its exit returns when the network is ready.  If it raises,
            nothing of the guest is left, and the exception goes on to the caller.
        :param power_on: false only makes the guest; *network* is not entered then.
        :param told: called when it is known where the guest's devices are attached, and before it
            starts; what it returns is on the config drive, if the guest has one.

        Where :meth:`destroy` has kept files of that guest, it gets those; failure leaves them.

        :raises GuestExists: if its name or UUID is taken.
        :raises InvalidParameter: if the host cannot make such a guest.
        :raises ImageError: if its image cannot be had or used.
        :raises OpenVSwitchUnavailable: if an interface needs Open vSwitch and it does not answer.
        :raises PlugFailed: if an interface cannot be plugged.
        :raises HostError: if the host fails otherwise; nothing of the guest is left.
        """

    @abc.abstractmethod
    def destroy(self, uuid: str, *, keep_files: bool = False) -> None:
        """Power a guest off and remove all that it owned.

        Nothing happens, and nothing is raised, if there is no such guest.

        :param keep_files: leave its files and what is needed to bring it back, by :meth:`spawn` or
            :meth:`revert_resize`; :meth:`destroy` without this removes them as well.
        """

    @abc.abstractmethod
    def reboot(
        self, uuid: str, *, kind: RebootKind = RebootKind.SOFT, timeout: float | None = None
    ) -> RebootKind:
        """Reboot a guest.

        :param timeout: seconds that a soft reboot may take before it is made hard; option
            soft_reboot_timeout if not given.
        :return: the kind that was carried out in the end.
        :raises InvalidGuestState: if a soft reboot is asked of a guest that does not run.
        """

    @abc.abstractmethod
    def start(self, uuid: str) -> None:
        """Power a stopped guest on, or continue a paused or suspended one; nothing if it runs."""

    @abc.abstractmethod
    def stop(self, uuid: str, *, timeout: float | None = None) -> None:
        """Shut a guest down, by force after the deadline; nothing if it is stopped.

        A suspended guest loses the memory that was saved.

        :param timeout: seconds to wait for the guest; 0 pulls the plug at once; option stop_timeout
            if not given.
        """

    @abc.abstractmethod
    def pause(self, uuid: str) -> None:
        """Freeze a running guest in memory; nothing if it is paused.

        :raises InvalidGuestState: if it is neither running nor paused.
        """

    @abc.abstractmethod
    def resume(self, uuid: str) -> None:
        """Continue a paused or suspended guest; nothing if it runs.

        :raises InvalidGuestState: if it is stopped.
        """

    @abc.abstractmethod
    def suspend(self, uuid: str) -> None:
        """Save a guest's memory to disk and power it off; nothing if it is suspended.

        :raises InvalidGuestState: if it is stopped.
        """

    @abc.abstractmethod
    def resize(
        self,
        uuid: str,
        guest: Guest,
        *,
        timeout: float | None = None,
        power_on: bool | None = None,
        check_only: bool = False,
    ) -> None:
        """Stop a guest and give it another size; what it was is kept until that is confirmed.

        Until then it takes all verbs but a further resize.  Failure leaves it what it was.

        :param guest: what it is to be.  UUID, name and architecture stay the same, image and kernel
            are not looked at.  Disks grow or stay; a root disk of size 0 stays.  A config drive is
            made anew unless it is described as it is stored.
        :param timeout: seconds that the guest may take to shut down; option stop_timeout if not
            given.
        :param power_on: whether it runs in the end; if not given, whether it did before.
        :param check_only: only refuse what cannot be done.
        :raises InvalidParameter: if a disk would shrink, or the host cannot make such a guest.
        :raises InvalidGuestState: if it is suspended, or an earlier resize is not confirmed yet.
        :raises HostError: if the host fails otherwise.
        """

    @abc.abstractmethod
    def confirm_resize(self, uuid: str) -> None:
        """Let go of what a guest was before its resize; nothing if no resize waits for that."""

    @abc.abstractmethod
    def revert_resize(
        self, uuid: str, *, timeout: float | None = None, power_on: bool | None = None
    ) -> None:
        """Make a guest what it was before its resize, with the disks of then.

        Nothing happens to one that was not resized; a guest that was destroyed with its files kept
        is brought back first.

        :param timeout: seconds that the guest may take to shut down; option stop_timeout if not
            given.
        :param power_on: whether it runs in the end; if not given, whether it did before the resize.
        """

    @abc.abstractmethod
    def attach_interface(self, uuid: str, interface: Interface) -> None:
        """Give a guest a further interface: at once if it runs, and in its description.

        Failure leaves it neither here nor there.

        :raises InvalidParameter: if its MAC address or device is taken, or the host lacks what it
            is to be plugged into.
        :raises InvalidGuestState: if the guest is suspended.
        :raises PlugFailed: if it cannot be plugged.
        :raises HostError: if the host fails otherwise, or the machine has no slot left.
        """

    @abc.abstractmethod
    def detach_interface(self, uuid: str, mac: str, *, timeout: float | None = None) -> None:
        """Take an interface from a guest: at once if it runs, and from its description.

        :param mac: the interface's hardware address.
        :param timeout: seconds that a guest may take to let go of it; option detach_timeout if not
            given.
        :raises InterfaceNotFound: if the guest has none with that address.
        :raises DeviceBusy: if the guest has not let go by then: it keeps the interface.
        :raises InvalidGuestState: if the guest is suspended.
        """

    @abc.abstractmethod
    def subscribe(self, listener: Listener) -> None:
        """Call *listener* from now on whenever a guest may have changed its state.

        It is called once no operation is under way on the guest, which has the state then: one
        that is being rebooted is not told of as stopped, one that was destroyed not at all.  The
        listener may call the driver, and may be called from several threads at a time.
        """

    @abc.abstractmethod
    def list(self) -> tuple[GuestInfo, ...]:
        """Return all guests of this driver, by name; never those of others."""

    @abc.abstractmethod
    def show(self, uuid: str) -> GuestInfo:
        """Return what is known of one guest."""

    def find(self, guest: str) -> str:
        """Return the UUID of the guest with that name or UUID.

        :raises GuestNotFound: if this driver has no such guest.
        """
        for info in self.list():
            if guest in (info.guest.name, info.guest.uuid):
                return info.guest.uuid
        raise exceptions.GuestNotFound(guest)

    @abc.abstractmethod
    def console_log(self, uuid: str, *, max_bytes: int | None = None) -> bytes:
        """Return what the guest wrote on its serial console, over all its boots.

        :param max_bytes: return at most so many, the latest ones.
        """

    @abc.abstractmethod
    def console_wait(self, uuid: str, text: str, *, timeout: float, skip_bytes: int = 0) -> None:
        """Return when the serial console has shown *text*.

        :param timeout: seconds.
        :param skip_bytes: how much of the log, from its beginning, does not count: the length
            that it had before a reboot, say.
        :raises OperationTimeout: if it did not by then.
        :raises InvalidGuestState: if the guest stopped without showing it.
        """

    @abc.abstractmethod
    def console_attach(self, uuid: str) -> ConsoleSession:
        """Open the interactive serial console of a running guest.

        :raises GuestBusy: if somebody else has it open.
        """

    @abc.abstractmethod
    def screenshot(self, uuid: str) -> bytes:
        """Return the guest's first screen as a PNG image.

        :raises InvalidGuestState: if it does not run.
        :raises GuestError: if it has no display.
        """

    @abc.abstractmethod
    def stats(self, uuid: str | None = None) -> tuple[GuestStats, ...]:
        """Return the use of resources by one guest or by all of them, by name."""

    @abc.abstractmethod
    def host_show(self, architectures: Collection[str] = ()) -> HostInfo:
        """Describe the host.

        :param architectures: guest architectures to look at in full, besides those of option
            architectures; only their emulators are started.
        :raises InvalidParameter: if one is not supported; names those that are.
        """

    @abc.abstractmethod
    def host_check(self) -> tuple[Check, ...]:
        """Find out what this host can run, what it cannot and why, and what would help."""

    @abc.abstractmethod
    def audit(self, *, repair: bool = False) -> tuple[Finding, ...]:
        """List what no guest owns and what guests lack.

        :param repair: remove what no guest owns; what a guest lacks is only listed.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of connections and threads; the guests go on."""
