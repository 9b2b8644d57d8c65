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
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.choices import PowerState, Quiesce, RebootKind, SnapshotFormat
from compute_driver.consoles import DisplayKind
from compute_driver.guest import ConfigDrive, Guest, Image, Interface, Rescue
from compute_driver.info import (
    Address,
    CacheEntry,
    Check,
    Display,
    Finding,
    GuestInfo,
    GuestStats,
    HostInfo,
)

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
        :raises InvalidParameter: if no host can make such a guest; :class:`NotOnThisHost`, which is
            one of them, if another may.
        :raises ImageError: if its image cannot be had or used.
        :raises OpenVSwitchUnavailable: if an interface needs Open vSwitch and it does not answer.
        :raises PlugFailed: if an interface cannot be plugged.
        :raises HostError: if the host fails otherwise; nothing of the guest is left.
        """

    @abc.abstractmethod
    def destroy(self, uuid: str, *, keep_files: bool = False) -> None:
        """Power a guest off and remove all that it owned.

        A snapshot of it that is being made is given up.  Nothing happens, and nothing is raised, if
        there is no such guest.

        :param keep_files: leave its files, for a later spawn with its UUID, its image and its disk,
            or for revert_resize; a destroy without this, by its UUID, removes them as well.
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
    def inject_nmi(self, uuid: str) -> None:
        """Send a guest's processors a non-maskable interrupt, to make it write a crash dump.

        It does if it is set up so; a paused one once it goes on.

        :raises InvalidGuestState: if it does not run.
        :raises InterruptUnsupported: if its machine has none, such as those of ARM.
        """

    @abc.abstractmethod
    def snapshot(
        self,
        uuid: str,
        target: Path,
        *,
        image_format: SnapshotFormat | None = None,
        quiesce: Quiesce = Quiesce.TRY,
        progress: Progress = no_progress,
    ) -> None:
        """Copy a guest's root disk, as it is at one moment, into one image file.

        A running guest goes on, and whatever state it is in, it stays in.  The image is whole or
        not there, and depends on no other file.

        :param target: the file to make, readable by its owner only.
        :param image_format: of the target; if not given, what its suffix says (.qcow2, .raw or
            .img, .vdi, .vmdk), qcow2 for any other.
        :param quiesce: whether the file systems of a running guest are frozen at that moment.
        :raises InvalidParameter: if the target is taken, a guest's own, or in no directory.
        :raises SnapshotFailed: if the guest has no root disk, or its emulator fails.
        :raises OperationTimeout: if it takes longer than option snapshot_timeout says.
        :raises NotEnoughSpace: if there is no room for the image.
        :raises InvalidGuestState: if file systems have to be frozen and the guest is paused or
            suspended: what it has not written yet is in its memory.
        :raises AgentUnavailable: if they have to be and no agent answers.
        :raises AgentFailed: if they have to be and cannot, or cannot be thawed.
        """

    @abc.abstractmethod
    def quiesce(self, uuid: str) -> None:
        """Freeze the file systems of a running guest: what was written is on its disks.

        They thaw by :meth:`unquiesce`, by the next operation on the guest, whatever it is, or, once
        this process is gone, at the next start of a driver.

        :raises InvalidGuestState: if it does not run.
        :raises AgentUnavailable: if no agent answers.
        :raises QuiesceUnsupported: if the agent cannot do that.
        :raises AgentFailed: if it fails; nothing stays frozen.
        """

    @abc.abstractmethod
    def unquiesce(self, uuid: str) -> None:
        """Thaw the file systems of a guest; nothing if they are not frozen.

        Raises what :meth:`quiesce` raises.
        """

    @abc.abstractmethod
    def set_password(self, uuid: str, password: str, *, user: str = "root") -> None:
        """Give an account inside a running guest a password.

        :param user: the account's name.
        :raises InvalidGuestState: if it does not run.
        :raises AgentUnavailable: if no agent answers.
        :raises PasswordUnsupported: if the agent cannot do that.
        :raises AgentFailed: if it fails, since there is no such account, say.
        """

    @abc.abstractmethod
    def rescue(
        self,
        uuid: str,
        rescue: Rescue,
        *,
        timeout: float | None = None,
        progress: Progress = no_progress,
    ) -> None:
        """Shut a guest down and boot another system on its machine, with its disks attached.

        It is booted by reboots and starts too, until :meth:`unrescue`.  On failure the guest is as
        it was before, booted anew perhaps.

        :param timeout: seconds that the guest may take to shut down; option stop_timeout if not
            given.
        :raises InvalidGuestState: if it is being rescued already, is paused or suspended.
        :raises InvalidParameter: if its machine cannot have such a system.
        :raises ImageError: if the image cannot be had or used; the guest runs on.
        """

    @abc.abstractmethod
    def unrescue(self, uuid: str) -> None:
        """Power the rescue system off, remove it and boot the guest's own.

        :raises InvalidGuestState: if the guest is not being rescued.
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
            made anew unless it is described as it is stored.  It may be of the size that it has.
        :param timeout: seconds that the guest may take to shut down; option stop_timeout if not
            given.
        :param power_on: whether it runs in the end; if not given, whether it did before.
        :param check_only: only refuse what cannot be done.
        :raises InvalidParameter: if a disk would shrink, or the host cannot make such a guest.
        :raises InvalidGuestState: if it is suspended or being rescued, or an earlier resize is not
            confirmed yet.
        :raises NotEnoughSpace: if there is no room for copies of its disks.
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
        :raises OperationTimeout: if its emulator does not answer.
        :raises InvalidGuestState: if the guest is suspended.
        """

    @abc.abstractmethod
    def replace_interfaces(self, uuid: str, interfaces: Sequence[Interface]) -> None:
        """Give a guest that is off these interfaces, in this order, in place of all that it has.

        Failure leaves it those that it had.

        :raises InvalidParameter: if a MAC address or a device is there twice, or the machine or the
            host lacks what one needs.
        :raises InvalidGuestState: if the guest is not off.
        :raises HostError: if the host fails otherwise.
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

    def state(self, uuid: str) -> PowerState:
        """Return what one guest is doing, even if nothing else of it can be told."""
        return self.show(uuid).state

    def find(self, guest: str) -> str:
        """Return the UUID of the guest with that name or UUID.

        A guest of which the files were kept is found by its UUID, too.

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
    def console_address(self, uuid: str) -> Address:
        """Tell where a running guest's serial console is served by TCP.

        One client at a time is served; an open session of :meth:`console_attach` is one, too.

        :raises InvalidGuestState: if it does not run.
        :raises ConsoleUnavailable: if it is not served so.
        """

    @abc.abstractmethod
    def screenshot(self, uuid: str) -> bytes:
        """Return the guest's first screen as a PNG image.

        :raises InvalidGuestState: if it does not run.
        :raises GuestError: if it has no display.
        """

    @abc.abstractmethod
    def display(self, uuid: str, *, kind: DisplayKind | None = None) -> Display:
        """Tell where a running guest's screen is served by VNC or SPICE.

        :param kind: the protocol; by default whichever there is, VNC first.
        :raises InvalidGuestState: if it does not run.
        :raises ConsoleUnavailable: if its screen is not served so.
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
    def image_list(self) -> tuple[CacheEntry, ...]:
        """Return the images that are kept for guests to come, the latest wanted first."""

    @abc.abstractmethod
    def image_cache(
        self, image: Image, *, boot: bool = False, progress: Progress = no_progress
    ) -> bool:
        """Fetch an image for guests to come that name it in the same words.

        :param boot: whether it is a kernel or a ramdisk.
        :return: whether it had to be fetched.
        :raises ImageError: if it cannot be had or used.
        """

    @abc.abstractmethod
    def image_prune(self, *, unused: float | None = None) -> tuple[CacheEntry, ...]:
        """Remove the images that no guest needs and that none has for some time.

        :param unused: how long, in seconds; option image_unused_seconds if not given.
        :return: what was removed.
        :raises HostError: if it cannot be told what a guest needs; nothing is removed then.
        """

    @abc.abstractmethod
    def audit(self, *, repair: bool = False) -> tuple[Finding, ...]:
        """List what no guest owns and what guests lack.

        :param repair: remove what no guest owns; what a guest lacks is only listed.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of connections and threads; the guests go on."""
