# SPDX-License-Identifier: Apache-2.0
"""Servers with floating IP addresses, and the ways to look at them."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import uuid
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import libvirt
import openstack.exceptions
import paramiko
from lxml import etree

from tests.cloud import network, populate
from tests.cloud.errors import CloudError
from tests.cloud.layout import Layout
from tests.cloud.processes import eventually, marked

#: Seconds that one operation may take, emulated on a busy machine.
DEADLINE = float(os.environ.get("COMPUTE_DRIVER_TEST_BOOT_SECONDS", "180"))

#: Seconds that each step of a login by SSH may take in a guest that is busy with its boot.
_LOGIN_SECONDS = 60

#: Characters of the console that the error of a silent server has.
_CONSOLE_TAIL = 2000

#: Rules that the default security group gets.
_INGRESS = ({"protocol": "icmp"}, {"protocol": "tcp", "port_range_min": 22, "port_range_max": 22})


def create(
    cloud: Layout,
    flavor: str = "tiny",
    image: str = populate.IMAGE,
    count: int = 1,
    ports: Sequence[Any] = (),
    **more: Any,
) -> list[Server]:
    """Make servers by one call of the API; the caller closes them.

    :param cloud: a cloud that is up
    :param flavor: a flavor's name
    :param image: an image's name or ID
    :param ports: neutron's, in the server's order; none: a new port in the tenant's network
    :param more: parameters of ``create_server``
    """
    session = populate.connect(cloud)
    key = paramiko.ECDSAKey.generate()
    name = f"server-{uuid.uuid4().hex[:8]}"
    _open_security_group(session)
    session.compute.create_keypair(name=name, public_key=f"{key.get_name()} {key.get_base64()}")
    try:
        request = session.compute.create_server(
            name=name,
            image_id=session.image.find_image(image).id,
            flavor_id=session.compute.find_flavor(flavor).id,
            networks=[{"port": port.id} for port in ports]
            or [{"uuid": session.network.find_network(populate.TENANT).id}],
            key_name=name,
            min_count=count,
            max_count=count,
            **more,
        )
    finally:
        session.compute.delete_keypair(name)
    made = [
        Server(cloud, session, server, image, key)
        for server in session.compute.servers(name=f"^{name}")
    ]
    for server in made:
        server.admin_password = request.admin_password
        server.user = session.image.find_image(image).os_admin_user or "root"
        if ports:
            server.port = ports[0]
    return made


class Server:
    """A server of the cloud.

    :param session: of the server's owner
    :param made: openstacksdk's description of the server
    :param image: name or ID of the server's image
    :param key: the key for SSH
    """

    def __init__(
        self, cloud: Layout, session: Any, made: Any, image: str, key: paramiko.PKey
    ) -> None:
        self._cloud, self._session = cloud, session
        self._compute, self._network = session.compute, session.network
        self._key = key
        #: The account for SSH, and the password that nova made.
        self.user, self.admin_password = "root", ""
        self.id, self.name, self.image = made.id, made.name, image
        self._ports: set[str] = set()
        self._stack = contextlib.ExitStack()
        self._stack.callback(self.delete)

    def close(self) -> None:
        """Delete the server with all its resources."""
        self._stack.close()

    @property
    def status(self) -> str:
        return str(self._get().status)

    @property
    def task_state(self) -> str | None:
        """Nova's current task with the server."""
        task: str | None = self._get().task_state
        return task

    @cached_property
    def domain(self) -> str:
        """Nova's name of the server's domain."""
        return str(self._get().instance_name)

    @cached_property
    def port(self) -> Any:
        """The port that gets the floating IP address."""
        (port,) = self._network.ports(device_id=self.id)
        return port

    @cached_property
    def address(self) -> str:
        """The server's floating IP address, which the first call makes."""
        external = self._network.find_network(populate.EXTERNAL)
        made = self._network.create_ip(floating_network_id=external.id, port_id=self.port.id)
        self._stack.callback(self._network.delete_ip, made.id)
        return str(made.floating_ip_address)

    def act(self, action: str, status: str, **arguments: Any) -> None:
        """Call an action of the API, and wait for its end.

        :param action: openstacksdk's name, such as ``reboot`` or ``confirm resize``
        :param status: of the server in the end
        """
        verb, _, rest = action.partition(" ")
        getattr(self._compute, "_".join(filter(None, (verb, "server", rest))))(self.id, **arguments)
        self.wait(status)

    def get(self, path: str = "", version: str | None = None) -> dict[str, Any]:
        """Return the answer of the API.

        :param path: below the server's own
        :param version: of the API; the first version by default
        """
        return self._answer(self._compute.get, path, version)

    def post(self, path: str, content: Any, version: str | None = None) -> dict[str, Any]:
        """Send content to the API, and return the answer."""
        return self._answer(self._compute.post, path, version, json=content)

    def _answer(
        self, method: Callable[..., Any], path: str, version: str | None, **content: Any
    ) -> dict[str, Any]:
        answer = method(f"/servers/{self.id}{path}", microversion=version, **content)
        if not answer.ok:
            raise AssertionError(f"{self.name}{path}: {answer.status_code} {answer.text}")
        return dict(answer.json()) if answer.content else {}

    def wait(self, status: str) -> None:
        """Wait until the server has a status and no task."""

        def done() -> bool:
            server = self._get()
            if server.status == "ERROR" != status:
                raise AssertionError(f"{self.name}: {server.fault}")
            return server.status == status and server.task_state is None

        eventually(f"{self.name}: {status}", DEADLINE, done)

    def begin(self, task: str) -> None:
        """Wait until nova begins a task with the new server, or has finished the server."""

        def begun() -> bool:
            server = self._get()
            if server.status == "ERROR":
                raise AssertionError(f"{self.name}: {server.fault}")
            return server.task_state == task or server.status == "ACTIVE"

        eventually(f"{self.name}: {task}", DEADLINE, begun)

    def delete(self) -> None:
        """Delete the server, and wait until nova has removed it."""
        self.request_deletion()
        self.wait_gone()

    def request_deletion(self) -> None:
        """Ask nova to delete the server by force; otherwise nova keeps the server for some time."""
        with contextlib.suppress(openstack.exceptions.NotFoundException):
            self._compute.delete_server(self.id, force=True)

    def wait_gone(self) -> None:
        """Wait until nova has removed the server."""
        gone = lambda: self._compute.find_server(self.id, all_projects=True) is None  # noqa: E731
        eventually(f"{self.name}: deleted", DEADLINE, gone)

    def console(self) -> str:
        """Return the server's console output."""
        return str(self._compute.get_server_console_output(self.id)["output"])

    def ping(self) -> bool:
        """Tell whether the server answers a ping."""
        command = ("ping", "-c", "1", "-W", "1", self.address)
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def ssh(self, command: str, password: str | None = None, seconds: float = 30) -> str:
        """Run a command in the server by SSH, and return the output.

        :param password: of the account, instead of the key
        :param seconds: the longest wait for more output
        """
        # The timeout of paramiko's own connection limits the handshake too.
        connection = socket.create_connection((self.address, 22), timeout=5)
        with connection, paramiko.SSHClient() as client:
            client.set_missing_host_key_policy(_AnyHostKey())
            client.connect(
                self.address,
                sock=connection,
                username=self.user,
                password=password,
                pkey=None if password else self._key,
                timeout=_LOGIN_SECONDS,
                banner_timeout=_LOGIN_SECONDS,
                auth_timeout=_LOGIN_SECONDS,
                allow_agent=False,
                look_for_keys=False,
            )
            _, output, _ = client.exec_command(command, timeout=seconds)
            return output.read().decode()

    def write(self, text: str, partition: str = "/dev/vda1") -> None:
        """Write a text to a partition of a disk made from the server's image."""
        mounted = f"mount -t vfat {partition} /disk && echo {text} >/disk/marker"
        self.ssh(f"{mounted}; umount /disk; sync")

    def read(self, partition: str = "/dev/vda1") -> str:
        """Return the text of such a partition; empty without one."""
        mounted = f"mount -t vfat -o ro {partition} /disk && cat /disk/marker"
        return self.ssh(f"{mounted}; umount /disk").strip()

    def boot_id(self, seconds: float = DEADLINE) -> str:
        """Return the kernel's boot ID as soon as SSH works.

        :param seconds: the longest wait for SSH
        """
        boot_ids = []

        def works() -> bool:
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                boot_ids.append(self.ssh("cat /proc/sys/kernel/random/boot_id").strip())
            return bool(boot_ids and boot_ids[-1])

        try:
            eventually(f"{self.name}: SSH", seconds, works)
        except CloudError as error:
            console = self.console()[-_CONSOLE_TAIL:]
            raise CloudError(
                f"{error}; answers ping: {self.ping()}; console:\n{console}"
            ) from error
        return boot_ids[-1]

    def description(self) -> etree._Element:
        """Return libvirt's description of the server's domain."""
        with _libvirt(self._cloud) as connection:
            return etree.fromstring(connection.lookupByUUIDString(self.id).XMLDesc())

    def allocations(self) -> dict[str, Any]:
        """Return the server's allocations in placement."""
        placement = self._session.placement
        return dict(placement.get(f"/allocations/{self.id}").json()["allocations"])

    def traces(self) -> list[str]:
        """Return all traces of the server on this machine, in neutron and placement.

        Ports that neutron has removed are only traced if an earlier call saw them.
        """
        ports = {str(port.id) for port in self._network.ports(device_id=self.id)}
        self._ports |= ports
        instances = self._cloud.state / "nova/instances"
        return [
            *(name for name in domains(self._cloud) if self.domain in name or self.id in name),
            *(f"file {path}" for path in instances.glob(f"{self.id}*")),
            *(trace for port in self._ports for trace in self.taps(port)),
            *(f"allocation in {provider}" for provider in self.allocations()),
            *(f"port {port} of neutron" for port in ports),
        ]

    def taps(self, port: str) -> list[str]:
        """Return all traces of a port of neutron on this machine."""
        tap = f"tap{port[:11]}"
        return [
            *(f"interface {path.name}" for path in Path("/sys/class/net").glob(tap)),
            *[f"port {tap} of Open vSwitch"] * (tap in network.vsctl(self._cloud, "show")),
        ]

    def _get(self) -> Any:
        return self._compute.get_server(self.id)


def domains(cloud: Layout) -> list[str]:
    """Return the domains of all guests, with names and UUIDs."""
    with _libvirt(cloud) as connection:
        all_domains = connection.listAllDomains()
        return [f"domain {domain.name()} {domain.UUIDString()}" for domain in all_domains]


def cut_power(cloud: Layout) -> None:
    """End all guests at once, as a power failure of the host does."""
    with _libvirt(cloud) as connection:
        for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            domain.destroy()


def emulators(cloud: Layout) -> set[int]:
    """Return the process IDs of all guests' emulators."""
    names = {pid: Path(f"/proc/{pid}/comm") for pid in marked(cloud)}
    return {pid for pid, name in names.items() if name.read_text().startswith("qemu-system")}


def resident_mib(pid: int) -> int:
    """Return the resident memory of a process, in MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) >> 10


def _libvirt(cloud: Layout) -> contextlib.closing[Any]:
    return contextlib.closing(libvirt.open(cloud.libvirt.ensure()))


def _open_security_group(session: Any) -> None:
    project = session.current_project_id
    (group,) = session.network.security_groups(name="default", project_id=project)
    have = {rule["protocol"] for rule in group.security_group_rules}
    for rule in _INGRESS:
        if rule["protocol"] not in have:
            session.network.create_security_group_rule(
                security_group_id=group.id, direction="ingress", ethertype="IPv4", **rule
            )


class _AnyHostKey(paramiko.MissingHostKeyPolicy):
    """Accepts any key, as a guest makes its host keys at every boot."""

    def missing_host_key(self, *_arguments: object) -> None:
        pass
