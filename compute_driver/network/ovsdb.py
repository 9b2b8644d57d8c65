# SPDX-License-Identifier: Apache-2.0
"""Reads and notes bridges and ports in Open vSwitch's database; nothing is kept between calls.

Sources: RFC 7047, "The Open vSwitch Database Management Protocol"; ovs-vswitchd.conf.db(5).
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping
from typing import Any

from compute_driver import exceptions
from compute_driver.system import concurrency

#: Open vSwitch's default address.
USUAL_ADDRESS = "unix:/run/openvswitch/db.sock"

#: Seconds that the database may take to answer.
TIMEOUT = 10.0

_DATABASE = "Open_vSwitch"


@dataclasses.dataclass(frozen=True)
class Port:
    """A port with one interface of the same name.

    :param bridge: the name of the port's bridge.
    :param external_ids: the notes of all programs about the interface.
    """

    bridge: str
    external_ids: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Switch:
    """All bridges and ports.

    :param datapaths: the type of each bridge's datapath, by the bridge's name.
    :param ports: the ports, by name.
    """

    datapaths: Mapping[str, str]
    ports: Mapping[str, Port]


def read_switch(address: str) -> Switch:
    """Return all bridges and ports.

    :param address: address of the database, in the form of ovsdb(7).
    :raises OpenVSwitchUnavailable: if the database does not answer.
    """
    bridges, ports, interfaces = _transact(
        address,
        _select("Bridge", "name", "datapath_type", "ports"),
        _select("Port", "_uuid", "name"),
        _select("Interface", "name", "external_ids"),
    )
    names = {row["_uuid"][1]: row["name"] for row in ports["rows"]}
    external_ids = {row["name"]: dict(row["external_ids"][1]) for row in interfaces["rows"]}
    return Switch(
        # An empty type means the kernel's.
        datapaths={row["name"]: row["datapath_type"] or "system" for row in bridges["rows"]},
        ports={
            names[port]: Port(bridge["name"], external_ids.get(names[port], {}))
            for bridge in bridges["rows"]
            for port in _references(bridge["ports"])
        },
    )


def note(address: str, interface: str, key: str, value: str) -> None:
    """Note *value* with an interface, in its external IDs.

    :raises OpenVSwitchUnavailable: if the database does not answer.
    """
    mutation = ["external_ids", "insert", ["map", [[key, value]]]]
    where = [["name", "==", interface]]
    update = {"op": "mutate", "table": "Interface", "where": where, "mutations": [mutation]}
    _transact(address, update)


def _select(table: str, *columns: str) -> dict[str, Any]:
    return {"op": "select", "table": table, "where": [], "columns": columns}


def _references(value: list[Any]) -> list[str]:
    """Return the row identifiers of a column; one identifier is no set (RFC 7047, 5.1)."""
    kind, content = value
    return [content] if kind == "uuid" else [reference[1] for reference in content]


def _transact(address: str, *operations: dict[str, Any]) -> list[dict[str, Any]]:
    """Carry out all operations in one transaction, and return their results."""
    answers: list[Any] = []
    # Under eventlet this library waits like a green thread and needs no native thread.
    if not concurrency.within(
        time.monotonic() + TIMEOUT, lambda: answers.append(call(address, operations))
    ):
        raise _unavailable(address, f"no answer within {TIMEOUT:g} s")
    results: list[dict[str, Any]] = answers[0]
    for result in results:
        if result and "error" in result:
            raise _unavailable(address, f"{result['error']}: {result.get('details', '')}")
    return results


def call(address: str, operations: tuple[dict[str, Any], ...]) -> Any:
    """Send one transaction to the database, without a deadline.

    :param address: of the database server.
    :param operations: of RFC 7047, section 5.2.
    :return: the results of the operations.
    :raises OpenVSwitchUnavailable: if the server does not answer.
    """
    from ovs import jsonrpc, stream  # slow to import, and few guests need them

    error, opened = stream.Stream.open_block(stream.Stream.open(address))
    if error:
        raise _unavailable(address, os.strerror(error))
    connection = jsonrpc.Connection(opened)
    try:
        request = jsonrpc.Message.create_request("transact", [_DATABASE, *operations])
        error, reply = connection.transact_block(request)
    finally:
        connection.close()
    if error:
        raise _unavailable(address, os.strerror(error) if error > 0 else "the connection ended")
    if reply.error:
        raise _unavailable(address, str(reply.error))
    return reply.result


def _unavailable(address: str, cause: str) -> exceptions.OpenVSwitchUnavailable:
    return exceptions.OpenVSwitchUnavailable(
        f"Open vSwitch's database at {address} cannot be used: {cause}"
    )
