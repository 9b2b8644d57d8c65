# SPDX-License-Identifier: Apache-2.0
"""Making, changing and removing guests."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from compute_driver import exceptions
from compute_driver.contract.progress import Progress, no_progress
from compute_driver.guest import ConfigDrive, Guest, Identity, shown_size
from compute_driver.info import GuestInfo


def check_same_guest(before: Guest, after: Guest) -> None:
    """Refuse a resize that makes another guest.

    :raises InvalidParameter: names the field that differs.
    """
    for field in ("uuid", "name", "architecture"):
        present, wanted = getattr(before, field), getattr(after, field)
        if present != wanted:
            raise exceptions.InvalidParameter(field, wanted, f"{present}, which no resize changes")


def check_sizes(guest: str, before: Mapping[str, int], after: Mapping[str, int]) -> None:
    """Refuse a resize that shrinks or removes a disk.

    :param guest: the guest's name.
    :param before: the sizes of the present disks, in bytes, by the disks' names.
    :param after: the sizes after the resize.
    :raises InvalidParameter: names the disk.
    """
    for name, size in before.items():
        wanted = after.get(name, 0)
        if wanted < size:
            accepted = f"{shown_size(size)} or more: disks of guest {guest!r} do not shrink"
            raise exceptions.InvalidParameter(name, shown_size(wanted), accepted)


class Lifecycle(abc.ABC):
    """Makes guests, gives them other sizes, and removes them."""

    @abc.abstractmethod
    def spawn(
        self,
        guest: Guest,
        *,
        progress: Progress = no_progress,
        network: AbstractContextManager[object] | None = None,
        power_on: bool = True,
        make_config_drive: Callable[[GuestInfo], ConfigDrive | None] | None = None,
    ) -> GuestInfo:
        """Make a guest and start it.

        A guest whose files :meth:`destroy` has kept gets these files; a failure leaves the files.

        :param network: entered before the driver plugs the interfaces, and left when the
            interfaces are plugged and the guest is paused; its exit returns when the network is
            ready.  If it raises, the driver removes the guest and passes the exception on.  None
            if the guest does not wait for the network.
        :param power_on: False makes the guest without a start; *network* is not entered then.
        :param make_config_drive: called before the guest starts, when the addresses of the guest's
            devices are known; returns the content of the guest's config drive, if it has one.
        :raises GuestExists: if the name or the UUID is taken.
        :raises InvalidParameter: if no host can make such a guest; its subclass
            :class:`NotOnThisHost` if another host may be able to.
        :raises ImageError: if the driver cannot get or use the image.
        :raises OpenVSwitchUnavailable: if an interface needs Open vSwitch, which does not answer.
        :raises PlugFailed: if an interface cannot be plugged.
        :raises HostError: if the host fails otherwise; nothing of the guest is left.
        """

    @abc.abstractmethod
    def destroy(self, uuid: str, *, keep_files: bool = False) -> None:
        """Power a guest off and remove everything that the guest owned.

        A running snapshot of the guest is cancelled.  If there is no such guest, the driver does
        nothing and raises nothing.

        :param keep_files: leave the guest's files, for a later spawn with the same UUID, image and
            disk, or for revert_resize; a later destroy without this option removes the files.
        """

    @abc.abstractmethod
    def resize(
        self, uuid: str, guest: Guest, *, timeout: float | None = None, power_on: bool | None = None
    ) -> None:
        """Stop a guest and give it another size; the old guest is kept for a revert.

        Until the resize is confirmed or reverted, the guest takes all verbs except another resize.
        If the resize fails, the guest stays as before.

        :param guest: the new description.  UUID, name and architecture stay the same; image and
            kernel are ignored.  Disks grow or stay; a root disk of size 0 stays.  A config drive is
            made anew unless the description equals the stored description.  The size may be the
            present size.
        :param timeout: seconds that the guest may take to shut down; by default option
            stop_timeout.
        :param power_on: whether the guest runs in the end; by default whether it ran before.
        :raises InvalidParameter: if a disk would shrink, or the host cannot make such a guest.
        :raises InvalidGuestState: if the guest is suspended or in rescue, or an earlier resize is
            neither confirmed nor reverted.
        :raises DiskUnusable: if a disk is gone, or another client of libvirt has put the disk where
            the driver cannot use it; the guest stays as it is.
        :raises NotEnoughSpace: if there is no room for copies of the guest's disks.
        :raises HostError: if the host fails otherwise.
        """

    @abc.abstractmethod
    def check_resize(self, uuid: str, guest: Guest) -> None:
        """Raise the errors of :meth:`resize` for a bad request; change nothing.

        :param guest: the new description, as :meth:`resize` takes it.
        """

    @abc.abstractmethod
    def identify(self, uuid: str, identity: Identity, annotations: Sequence[str]) -> None:
        """Change what a guest's system and other programs are told about the guest.

        :param identity: what the guest's system is told, from its next power-on.
        :param annotations: what other programs read in the domain, at once; see
            :class:`~compute_driver.guest.Guest`.
        :raises InvalidParameter: if an annotation is no XML element with a namespace and a prefix,
            or if two annotations share a namespace.
        """

    @abc.abstractmethod
    def confirm_resize(self, uuid: str) -> None:
        """Remove the old guest that a resize has kept; nothing if no resize waits for this."""

    @abc.abstractmethod
    def revert_resize(
        self, uuid: str, *, timeout: float | None = None, power_on: bool | None = None
    ) -> None:
        """Give a guest its size and disks of before its resize; nothing if no resize waits.

        A guest that was destroyed with its files kept is brought back first.

        :param timeout: seconds that the guest may take to shut down; by default option
            stop_timeout.
        :param power_on: whether the guest runs in the end; by default whether it ran before the
            resize.
        :raises DiskUnusable: if another client of libvirt has added a disk in the guest's
            directory; the guest stays as it is.
        """
