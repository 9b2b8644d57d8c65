# SPDX-License-Identifier: Apache-2.0
"""A server of the cloud's with a floating IP address, and how it is reached."""

from __future__ import annotations

import contextlib
import os
import subprocess
import uuid
from functools import cached_property
from pathlib import Path
from typing import Any

import libvirt
import paramiko

from tests.cloud import network, populate
from tests.cloud.layout import Layout
from tests.cloud.processes import eventually

#: Seconds that one operation may take, emulated on a busy machine.
DEADLINE = float(os.environ.get("COMPUTE_DRIVER_TEST_BOOT_SECONDS", "180"))

#: What the default security group lets in.
_INGRESS = ({"protocol": "icmp"}, {"protocol": "tcp", "port_range_min": 22, "port_range_max": 22})


class Server:
    """A server, made at once; a context that deletes it.

    :param cloud: which is up
    :param flavor: one of ``populate``'s
    """

    def __init__(self, cloud: Layout, flavor: str = "tiny") -> None:
        self._cloud = cloud
        self._session = populate.connect(cloud)
        self._compute, self._network = self._session.compute, self._session.network
        self._stack = contextlib.ExitStack()
        self._key = paramiko.ECDSAKey.generate()
        self.name = f"server-{uuid.uuid4().hex[:8]}"
        with contextlib.ExitStack() as stack:
            self._open_security_group()
            self._compute.create_keypair(
                name=self.name, public_key=f"{self._key.get_name()} {self._key.get_base64()}"
            )
            stack.callback(self._compute.delete_keypair, self.name)
            self.id = self._compute.create_server(
                name=self.name,
                image_id=self._session.image.find_image(populate.IMAGE).id,
                flavor_id=self._compute.find_flavor(flavor).id,
                networks=[{"uuid": self._network.find_network(populate.TENANT).id}],
                key_name=self.name,
            ).id
            stack.callback(self.delete)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Deletes it with all that belongs to it."""
        self._stack.close()

    @property
    def status(self) -> str:
        return str(self._get().status)

    @cached_property
    def domain(self) -> str:
        """The name that nova gives its domain."""
        return str(self._get().instance_name)

    @cached_property
    def port(self) -> Any:
        (port,) = self._network.ports(device_id=self.id)
        return port

    @cached_property
    def address(self) -> str:
        """A floating IP address, made at the first call."""
        external = self._network.find_network(populate.EXTERNAL)
        made = self._network.create_ip(floating_network_id=external.id, port_id=self.port.id)
        self._stack.callback(self._network.delete_ip, made.id)
        return str(made.floating_ip_address)

    def act(self, action: str, status: str, **arguments: str) -> None:
        """Calls an action of the API, and waits until it is done.

        :param action: as openstacksdk has it, such as ``reboot``
        :param status: of the server in the end
        """
        getattr(self._compute, f"{action}_server")(self.id, **arguments)
        self.wait(status)

    def wait(self, status: str) -> None:
        """Waits until it has a status, and nothing is under way."""

        def done() -> bool:
            server = self._get()
            if server.status == "ERROR" != status:
                raise AssertionError(f"{self.name}: {server.fault}")
            return server.status == status and server.task_state is None

        eventually(f"{self.name}: {status}", DEADLINE, done)

    def delete(self) -> None:
        """Deletes it, and waits until nova has forgotten it."""
        self._compute.delete_server(self.id, ignore_missing=True)
        gone = lambda: self._compute.find_server(self.id, all_projects=True) is None  # noqa: E731
        eventually(f"{self.name}: deleted", DEADLINE, gone)

    def console(self) -> str:
        """Returns what it wrote on its console."""
        return str(self._compute.get_server_console_output(self.id)["output"])

    def ping(self) -> bool:
        """Whether it answers."""
        command = ("ping", "-c", "1", "-W", "1", self.address)
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def ssh(self, command: str) -> str:
        """Runs a command in it by SSH, with the key that nova gave it, and returns its output."""
        with paramiko.SSHClient() as client:
            client.set_missing_host_key_policy(_AnyHostKey())
            client.connect(
                self.address,
                username="root",
                pkey=self._key,
                timeout=5,
                banner_timeout=30,
                allow_agent=False,
                look_for_keys=False,
            )
            _, output, _ = client.exec_command(command, timeout=30)
            return output.read().decode()

    def boot_id(self) -> str:
        """Returns what its kernel makes up at each boot, as soon as SSH works."""
        found = []

        def works() -> bool:
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                found.append(self.ssh("cat /proc/sys/kernel/random/boot_id").strip())
            return bool(found and found[-1])

        eventually(f"{self.name}: SSH", DEADLINE, works)
        return found[-1]

    def allocations(self) -> dict[str, Any]:
        """Returns what placement says that it uses."""
        placement = self._session.placement
        return dict(placement.get(f"/allocations/{self.id}").json()["allocations"])

    def traces(self) -> list[str]:
        """Returns what there is of it on this machine, nova and placement."""
        instances = self._cloud.state / "nova/instances"
        tap = f"tap{self.port.id[:11]}"
        with contextlib.closing(libvirt.open(self._cloud.libvirt.ensure())) as connection:
            domains = [f"domain {domain.name()}" for domain in connection.listAllDomains()]
        return [
            *(name for name in domains if self.domain in name or self.id in name),
            *(f"file {path}" for path in instances.glob(f"{self.id}*")),
            *(f"interface {path.name}" for path in Path("/sys/class/net").glob(tap)),
            *[f"port {tap} of Open vSwitch"] * (tap in network.vsctl(self._cloud, "show")),
            *(f"allocation in {provider}" for provider in self.allocations()),
            *(f"port {port.id} of neutron" for port in self._network.ports(device_id=self.id)),
        ]

    def _get(self) -> Any:
        return self._compute.get_server(self.id)

    def _open_security_group(self) -> None:
        project = self._session.current_project_id
        (group,) = self._network.security_groups(name="default", project_id=project)
        have = {rule["protocol"] for rule in group.security_group_rules}
        for rule in _INGRESS:
            if rule["protocol"] not in have:
                self._network.create_security_group_rule(
                    security_group_id=group.id, direction="ingress", ethertype="IPv4", **rule
                )


class _AnyHostKey(paramiko.MissingHostKeyPolicy):
    """The guest makes its keys as it boots."""

    def missing_host_key(self, *_arguments: object) -> None:
        pass
