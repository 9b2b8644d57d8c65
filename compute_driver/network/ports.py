# SPDX-License-Identifier: Apache-2.0
"""Plugs the interfaces of guests into what this host has, whatever their kinds are."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from oslo_config import cfg

from compute_driver.guest import Guest, Interface
from compute_driver.network import openvswitch


@dataclasses.dataclass(frozen=True)
class Ports:
    """The ports of the guests whose files are in one directory.

    :param conf: configuration with group ``[hypervisor]``.
    :param instances: the directory of all guests of this driver.
    """

    conf: cfg.ConfigOpts
    instances: Path

    def check(self, guest: Guest) -> None:
        """Refuse interfaces that cannot be plugged; see :func:`openvswitch.check`."""
        openvswitch.check(self.conf, guest)

    def prepare(self, guest: Guest) -> bool:
        """Make ready for a power-on; see :func:`openvswitch.prepare`."""
        return openvswitch.prepare(self.conf, guest, self.instances)

    def plug(self, guest: Guest) -> None:
        """Plug in what :meth:`prepare` did not; see :func:`openvswitch.plug`."""
        openvswitch.plug(self.conf, guest, self.instances)

    def unplug(self, uuid: str, interfaces: Iterable[Interface]) -> None:
        """Unplug what is plugged in; see :func:`openvswitch.unplug`."""
        openvswitch.unplug(self.conf, uuid, interfaces)

    def plugged(self) -> dict[str, list[Interface]]:
        """Return what is plugged in, by the guest's UUID; see :func:`openvswitch.plugged`."""
        return openvswitch.plugged(self.conf, self.instances)
