# SPDX-License-Identifier: Apache-2.0
"""Powering guests on and off."""

from __future__ import annotations

import abc
import contextlib

from compute_driver.choices import RebootKind
from compute_driver.contract.progress import Progress, no_progress
from compute_driver.guest import Rescue


class Power(abc.ABC):
    """Starts, stops, pauses and reboots guests, with their own system or a rescue system."""

    @abc.abstractmethod
    def start(self, uuid: str) -> None:
        """Start a stopped guest, or continue a paused or suspended guest; nothing if it runs.

        A guest whose domain another client of libvirt has removed gets its domain back before.
        """

    @abc.abstractmethod
    def stop(self, uuid: str, *, timeout: float | None = None) -> None:
        """Shut a guest down, by force after the timeout; nothing if the guest is stopped.

        A suspended guest loses its saved memory.

        :param timeout: seconds that the guest may take to shut down; 0 powers the guest off at
            once; by default option stop_timeout.
        """

    @abc.abstractmethod
    def reboot(
        self,
        uuid: str,
        *,
        kind: RebootKind = RebootKind.SOFT,
        timeout: float | None = None,
        network: contextlib.AbstractContextManager[object] | None = None,
        fall_back: bool = True,
    ) -> RebootKind:
        """Reboot a guest.

        :param timeout: seconds that a soft reboot may take before the driver makes a hard reboot;
            by default option soft_reboot_timeout.
        :param network: entered before the power-on of a hard reboot, and left when all interfaces
            are plugged in and before the guest runs.
        :param fall_back: whether the driver makes a hard reboot if the soft reboot fails.
        :return: the kind of the reboot that the driver made in the end.
        :raises OperationTimeout: if a soft reboot fails, and *fall_back* is false.
        :raises InvalidGuestState: if *kind* is soft and the guest does not run.
        :raises DiskUnusable: if a disk is gone, or another client of libvirt has put the disk where
            the driver cannot use it; the guest stays as it is.
        """

    @abc.abstractmethod
    def pause(self, uuid: str) -> None:
        """Freeze a running guest in memory; nothing if the guest is paused.

        :raises InvalidGuestState: if the guest is neither running nor paused.
        """

    @abc.abstractmethod
    def resume(self, uuid: str) -> None:
        """Continue a paused or suspended guest; nothing if the guest runs.

        :raises InvalidGuestState: if the guest is stopped.
        :raises HostError: if an I/O error has paused the guest and repeats, for example
            :class:`NotEnoughSpace` because the host's disk is still full; the guest stays paused.
        :raises DiskUnusable: if another client of libvirt has moved a disk since the memory of a
            suspended guest was saved.
        """

    @abc.abstractmethod
    def suspend(self, uuid: str) -> None:
        """Save a guest's memory to disk and power it off; nothing if the guest is suspended.

        :raises InvalidGuestState: if the guest is stopped.
        """

    @abc.abstractmethod
    def inject_nmi(self, uuid: str) -> None:
        """Send a guest's processors a non-maskable interrupt (NMI), to start a crash dump.

        The guest writes the dump if its system is configured to; a paused guest writes the dump
        after it is resumed.

        :raises InvalidGuestState: if the guest is not powered on.
        :raises InterruptUnsupported: if the guest's machine has no such interrupt, as on ARM.
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

        Reboots and starts boot the rescue system too, until :meth:`unrescue`.  If the rescue fails,
        the guest is as before, possibly after a boot.

        :param timeout: seconds that the guest may take to shut down; by default option
            stop_timeout.
        :raises InvalidGuestState: if the guest is in rescue already, is paused or suspended.
        :raises DiskUnusable: if a disk is gone, or another client of libvirt has put the disk where
            the driver cannot use it; the guest stays as it is.
        :raises InvalidParameter: if the guest's machine cannot have such a system.
        :raises ImageError: if the driver cannot get or use the image; the guest runs on.
        """

    @abc.abstractmethod
    def unrescue(self, uuid: str) -> None:
        """Power the rescue system off, remove it and boot the guest's own system.

        :raises InvalidGuestState: if the guest is not in rescue.
        :raises DiskUnusable: if a disk is gone, or another client of libvirt has put the disk where
            the driver cannot use it; the guest stays as it is.
        """
