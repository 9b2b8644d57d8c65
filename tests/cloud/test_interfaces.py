# SPDX-License-Identifier: Apache-2.0
"""A server's ports: attached, detached, deleted, and guarded by security groups."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

from tests.cloud.case import CloudCase
from tests.cloud.processes import eventually
from tests.cloud.results import recorded
from tests.cloud.servers import DEADLINE, Server

#: A port where no server of a guest listens.
_CLOSED_PORT = 8080

_ASK_FOR_METADATA = (
    r"printf 'GET /openstack/latest/meta_data.json HTTP/1.0\r\nHost: 169.254.169.254\r\n\r\n'"
    " | nc -w 10 169.254.169.254 80"
)


class TestInterfaces(CloudCase):
    def test_attach_and_detach(self) -> None:
        server, before = self.booted()
        network = self.network()
        body = {"interfaceAttachment": {"net_id": network.id, "tag": "second"}}
        with recorded("attach interface"):
            made = server.post("/os-interface", body, "2.49")["interfaceAttachment"]
            mac, (address,) = made["mac_addr"], made["fixed_ips"]
            eventually("the interface", DEADLINE, lambda: mac in _interfaces(server))
        with recorded("attached interface answers"):
            namespace = ("ip", "netns", "exec", f"qdhcp-{network.id}")
            ping = (*namespace, "ping", "-c", "1", "-W", "1", address["ip_address"])
            eventually(
                "an answer",
                DEADLINE,
                lambda: subprocess.run(ping, capture_output=True, check=False).returncode == 0,
            )
        with recorded("tag of the interface"):
            tag = re.compile(
                rf'"{mac}"[^}}]*"tags": \["second"\]|"tags": \["second"\][^}}]*"{mac}"'
            )
            asked = lambda: tag.search(server.ssh(_ASK_FOR_METADATA)) is not None  # noqa: E731
            eventually("the tag in the metadata", DEADLINE, asked)
        server.act("reboot", "ACTIVE", reboot_type="HARD")
        self.assertNotEqual(before, server.boot_id())
        self.assertIn(mac, _interfaces(server))
        with recorded("detach interface"):
            self.session.compute.delete_server_interface(made["port_id"], server=server.id)
            eventually("no interface", DEADLINE, lambda: mac not in _interfaces(server))
        ports = self.session.network.ports
        eventually("no port", DEADLINE, lambda: not list(ports(id=made["port_id"])))
        self.assertEqual([], server.taps(made["port_id"]))
        self.keep(server)

    def test_attach_to_a_stopped_server(self) -> None:
        server = self.use()
        server.act("stop", "SHUTOFF")
        port = self.session.network.create_port(network_id=self.network().id)
        self.addCleanup(self.session.network.delete_port, port.id)
        with recorded("attach interface stopped"):
            server.post("/os-interface", {"interfaceAttachment": {"port_id": port.id}})
        server.act("start", "ACTIVE")
        server.boot_id()
        self.assertIn(port.mac_address, _interfaces(server))
        server.act("stop", "SHUTOFF")
        with recorded("detach interface stopped"):
            self.session.compute.delete_server_interface(port.id, server=server.id)
            unbound = lambda: not self.session.network.get_port(port.id).device_id  # noqa: E731
            eventually("the port unbound", DEADLINE, unbound)
        server.act("start", "ACTIVE")
        server.boot_id()
        self.assertNotIn(port.mac_address, _interfaces(server))
        self.keep(server)

    def test_port_that_neutron_deletes_is_unplugged(self) -> None:
        server = self.use()
        port = self.session.network.create_port(network_id=self.network().id)
        self.addCleanup(self.session.network.delete_port, port.id, ignore_missing=True)
        server.post("/os-interface", {"interfaceAttachment": {"port_id": port.id}})
        eventually("the interface", DEADLINE, lambda: port.mac_address in _interfaces(server))
        with recorded("port deleted in neutron"):
            self.session.network.delete_port(port.id)
            gone = lambda: port.mac_address not in _interfaces(server)  # noqa: E731
            eventually("no interface", DEADLINE, gone)
            eventually("no tap", DEADLINE, lambda: not server.taps(port.id))
        self.keep(server)

    def test_security_groups_hold(self) -> None:
        server = self.use()
        for operation, steps in {
            "boot": (),
            "soft reboot": (("reboot", "ACTIVE", {"reboot_type": "SOFT"}),),
            "hard reboot": (("reboot", "ACTIVE", {"reboot_type": "HARD"}),),
            "stop and start": (("stop", "SHUTOFF", {}), ("start", "ACTIVE", {})),
            "suspend": (("suspend", "SUSPENDED", {}), ("resume", "ACTIVE", {})),
        }.items():
            for action, status, arguments in steps:
                server.act(action, status, **arguments)
            server.boot_id()
            with recorded(f"security group after {operation}"):
                self.assertEqual("dropped", self.connect(server))
                with self.rule(_CLOSED_PORT):
                    opened = lambda: self.connect(server) == "answered"  # noqa: E731
                    eventually("the port open", DEADLINE, opened)
                closed = lambda: self.connect(server) == "dropped"  # noqa: E731
                eventually("the port closed", DEADLINE, closed)
        self.keep(server)

    def network(self) -> Any:
        """Make a network without a router for the time of the test."""
        network = self.session.network.create_network(name="second")
        self.addCleanup(self.session.network.delete_network, network.id)
        self.session.network.create_subnet(
            network_id=network.id, ip_version=4, cidr="10.30.0.0/24", gateway_ip=None
        )
        return network

    def connect(self, server: Server) -> str:
        """Tell what becomes of a connection to a port where nothing listens."""
        try:
            socket.create_connection((server.address, _CLOSED_PORT), timeout=3).close()
        except ConnectionRefusedError:
            return "answered"
        except TimeoutError:
            return "dropped"
        return "listens"

    @contextlib.contextmanager
    def rule(self, port: int) -> Iterator[None]:
        """Allow TCP to a port for the time of the block."""
        network = self.session.network
        project = self.session.current_project_id
        (group,) = network.security_groups(name="default", project_id=project)
        rule = network.create_security_group_rule(
            security_group_id=group.id,
            direction="ingress",
            ethertype="IPv4",
            protocol="tcp",
            port_range_min=port,
            port_range_max=port,
        )
        try:
            yield
        finally:
            network.delete_security_group_rule(rule.id)


def _interfaces(server: Server) -> str:
    return server.ssh("cat /sys/class/net/*/address")
