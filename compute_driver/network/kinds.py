# SPDX-License-Identifier: Apache-2.0
"""The kinds of interfaces, and the backend of each kind."""

from __future__ import annotations

from collections.abc import Mapping

from compute_driver.choices import InterfaceKind
from compute_driver.network.backend import Backend
from compute_driver.network.native import Native, bridges, networks
from compute_driver.network.openvswitch import OpenVSwitch
from compute_driver.network.user import UserMode

BACKENDS: Mapping[InterfaceKind, Backend] = {
    InterfaceKind.USER: UserMode(),
    InterfaceKind.NETWORK: Native(
        "network", networks, needs="libvirt's network driver, libvirt-daemon-driver-network"
    ),
    InterfaceKind.BRIDGE: Native("bridge", bridges),
    InterfaceKind.OVS: OpenVSwitch(),
}
