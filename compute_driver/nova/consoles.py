# SPDX-License-Identifier: Apache-2.0
"""What nova's console proxies are told: how they reach an instance's consoles."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import nova.conf
from nova import exception
from nova.console import type as ctype

from compute_driver import exceptions
from compute_driver.consoles import DisplayKind
from compute_driver.driver import ComputeDriver


def vnc(driver: ComputeDriver, instance: Any) -> ctype.ConsoleVNC:
    """Return where an instance's screen is served by VNC, as the proxy sees this host."""
    with _ready(instance):
        found = driver.display(instance.uuid, kind=DisplayKind.VNC)
    return ctype.ConsoleVNC(host=nova.conf.CONF.vnc.server_proxyclient_address, port=found.port)


def spice(driver: ComputeDriver, instance: Any) -> ctype.ConsoleSpice:
    """Return where an instance's screen is served by SPICE, as the proxy sees this host."""
    with _ready(instance):
        found = driver.display(instance.uuid, kind=DisplayKind.SPICE)
    return ctype.ConsoleSpice(
        host=nova.conf.CONF.spice.server_proxyclient_address,
        port=found.port,
        tlsPort=found.tls_port,
    )


def serial(driver: ComputeDriver, instance: Any) -> ctype.ConsoleSerial:
    """Return where an instance's serial console is served, as the proxy sees this host."""
    with _ready(instance):
        found = driver.console_address(instance.uuid)
    return ctype.ConsoleSerial(
        host=nova.conf.CONF.serial_console.proxyclient_address, port=found.port
    )


@contextlib.contextmanager
def _ready(instance: Any) -> Iterator[None]:
    """Say of one that does not run what nova's API understands.

    :raises InstanceNotReady: if it does not run.
    """
    try:
        yield
    except exceptions.InvalidGuestState as error:
        raise exception.InstanceNotReady(str(error), instance_id=instance.uuid) from error
