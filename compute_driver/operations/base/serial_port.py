# SPDX-License-Identifier: Apache-2.0
"""Finds a TCP port for a guest's serial console; no other guest gets the port meanwhile."""

from __future__ import annotations

import contextlib
import errno
import socket
import uuid as uuidlib
from collections.abc import Collection, Iterator

from lxml import etree

from compute_driver import exceptions
from compute_driver.libvirt import domain as domains
from compute_driver.operations.base import locks
from compute_driver.operations.base.context import Parts
from compute_driver.system import concurrency
from compute_driver.xml import console


@contextlib.contextmanager
def assigned(
    parts: Parts, uuid: str, avoided: Collection[int | None], *, suspended: bool
) -> Iterator[int | None]:
    """Give a guest a port, and hold the port while the guest is started.

    :param avoided: ports that are taken although they look free.
    :param suspended: whether the guest continues from its saved memory.
    :return: the port; None if its console needs none.
    :raises NoFreePort: if no port is free.
    """
    xml = parts.on_domain(uuid, domains.saved if suspended else domains.description)
    domain = etree.fromstring(xml)
    address = console.address(domain)
    if address is None:
        yield None
        return
    with _held(parts, uuid, address.host, avoided) as port:
        if port != address.port:
            console.assign(domain, port)
            xml = etree.tostring(domain, encoding="unicode")
            if suspended:
                parts.on_domain(uuid, lambda domain: domain.managedSaveDefineXML(xml, 0))
            else:
                parts.define_again(xml)
        yield port


@contextlib.contextmanager
def _held(parts: Parts, uuid: str, host: str, avoided: Collection[int | None]) -> Iterator[int]:
    """Hold a free port of the configured ones.

    The search begins at a port that depends on the UUID, so a guest has the same port again after
    most restarts.  A client that kept the address seldom meets another guest.
    """
    first, last = parts.conf.hypervisor.serial_port_range
    count = last - first + 1
    begin = uuidlib.UUID(uuid).int % count
    for step in range(count):
        port = first + (begin + step) % count
        if port in avoided or not is_free(host, port):
            continue
        with concurrency.try_lock(locks.port(parts, port)) as held:
            # The guest of the last holder may have taken the port since.
            if held is not None and is_free(host, port):
                yield port
                return
    raise exceptions.NoFreePort(
        f"all TCP ports for serial consoles are taken; widen [hypervisor] serial_port_range,"
        f" which is {first}:{last}"
    )


def is_free(host: str, port: int) -> bool:
    """Tell whether QEMU can listen at a port; QEMU and this check ignore old connections."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise exceptions.NoFreePort(
            f"[hypervisor] serial_listen: nothing can listen at {host!r}, port {port}: {error}"
        ) from error
    return True
