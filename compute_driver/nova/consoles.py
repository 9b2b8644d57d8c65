# SPDX-License-Identifier: Apache-2.0
"""An instance's consoles: what nova's proxies are told of them, and logs that are root's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nova.conf
import nova.privsep.path
from nova import exception
from nova.console import type as ctype

from compute_driver.consoles import DisplayKind
from compute_driver.driver import ComputeDriver
from compute_driver.libvirt.consoles.log import log_files
from compute_driver.nova.errors import unless_running


def vnc(driver: ComputeDriver, instance: Any) -> ctype.ConsoleVNC:
    """Return where an instance's screen is served by VNC, as the proxy sees this host."""
    with unless_running(exception.InstanceNotReady, instance):
        found = driver.display(instance.uuid, kind=DisplayKind.VNC)
    return ctype.ConsoleVNC(host=nova.conf.CONF.vnc.server_proxyclient_address, port=found.port)


def spice(driver: ComputeDriver, instance: Any) -> ctype.ConsoleSpice:
    """Return where an instance's screen is served by SPICE, as the proxy sees this host."""
    with unless_running(exception.InstanceNotReady, instance):
        found = driver.display(instance.uuid, kind=DisplayKind.SPICE)
    return ctype.ConsoleSpice(
        host=nova.conf.CONF.spice.server_proxyclient_address,
        # Nova's tokens have to have one, be there no other than that of encrypted connections.
        port=found.port or found.tls_port,
        tlsPort=found.tls_port,
    )


def serial(driver: ComputeDriver, instance: Any) -> ctype.ConsoleSerial:
    """Return where an instance's serial console is served, as the proxy sees this host."""
    with unless_running(exception.InstanceNotReady, instance):
        found = driver.console_address(instance.uuid)
    return ctype.ConsoleSerial(
        host=nova.conf.CONF.serial_console.proxyclient_address, port=found.port
    )


def last_bytes(log: Path, max_bytes: int) -> bytes:
    """Return the end of a console log that only root may read, by nova's privileged helper.

    libvirt's virtlogd makes the file, for root alone, in a directory that is nova's.
    """
    data = b""
    for path in reversed(log_files(log)):
        if len(data) < max_bytes:
            found, _more = nova.privsep.path.last_bytes(str(path), max_bytes - len(data))
            data = found + data
    return data
