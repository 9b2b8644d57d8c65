# SPDX-License-Identifier: Apache-2.0
"""Bridges of the host for the interfaces of test guests."""

from __future__ import annotations

import contextlib
import os
import subprocess
import unittest
from collections.abc import Iterator
from pathlib import Path

from compute_driver.choices import InterfaceKind
from compute_driver.guest import Interface


@contextlib.contextmanager
def bridge() -> Iterator[str]:
    """Make a bridge for the time of the block, with a link-local IPv6 address only.

    :return: the bridge's name.
    :raises unittest.SkipTest: if the tests do not run as root.
    """
    if os.geteuid() != 0:
        raise unittest.SkipTest("only root can make a bridge")
    name = f"cdt{os.urandom(4).hex()}"
    subprocess.run(["ip", "link", "add", name, "type", "bridge"], check=True)
    try:
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "link", "delete", name], check=True)


def can_shape() -> bool:
    """Tell whether the kernel has the queueing discipline by which libvirt limits traffic."""
    add = ["tc", "qdisc", "add", "dev", "lo", "root", "sfq"]
    unshared = ["unshare", "--net", *add]
    return not subprocess.run(unshared, check=False, capture_output=True).returncode


def ports(name: str) -> list[str]:
    """Return the names of the interfaces that are plugged into a bridge."""
    return sorted(path.name for path in Path("/sys/class/net", name, "brif").iterdir())


def plugged(name: str) -> Interface:
    """Return a guest's interface on a bridge."""
    return Interface(kind=InterfaceKind.BRIDGE, source=name)


def link_local(interface: Interface) -> str:
    """Return the IPv6 address that a guest makes of its MAC address (RFC 4291, appendix A)."""
    octets = bytes.fromhex(interface.mac.replace(":", ""))
    identifier = bytes([octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]]).hex()
    return "fe80::" + ":".join(identifier[at : at + 4] for at in range(0, 16, 4))
