# SPDX-License-Identifier: Apache-2.0
"""``ssh``: log in to a guest."""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from compute_driver import exceptions
from compute_driver.choices import InterfaceKind, Protocol
from compute_driver.cmd import keys, verb
from compute_driver.guest import ANY_ADDRESS, SSH_PORT, Guest
from compute_driver.info import Address
from compute_driver.system import tools

#: Seconds after which an agent that has not answered is asked again: no event of the console tells
#: that the agent has begun.
_AGENT_SECONDS = 10.0

#: Seconds that a server may take to greet, and seconds until it is asked again.
_ANSWER = 5.0
_AGAIN = 0.5


class Ssh(verb.Verb):
    """Log in to a guest by SSH, or run a command in the guest.

    The guest's own console or agent tells the key of the guest's SSH server; without this key the
    command does not connect.  The exit status is the status of ssh.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        verb.add_guest(parser)
        parser.add_argument("--user", default="root", help="account in the guest (default: root)")
        parser.add_argument(
            "--identity", metavar="FILE", help="private key (default: the driver's own key)"
        )
        parser.add_argument(
            "--timeout",
            type=verb.seconds,
            default=300.0,
            metavar="SECONDS",
            help="seconds to wait for the key of the guest's SSH server (default: 300)",
        )
        parser.add_argument(
            "command", metavar="COMMAND", nargs=argparse.REMAINDER, help="command for the guest"
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        uuid, program = self.find(parsed_args.guest), tools.require_program("ssh")
        state = Path(self.driver.conf.hypervisor.state_path)
        identity = parsed_args.identity or str(keys.own_key(state))
        guest = self.driver.show(uuid).guest
        address = self._address(guest)
        deadline = time.monotonic() + parsed_args.timeout
        known = self._host_keys(guest, deadline)
        _wait_for_server(guest, address, deadline)
        with tempfile.NamedTemporaryFile("w", prefix="compute-driver-ssh.") as hosts:
            hosts.writelines(f"{uuid} {key}\n" for key in known)
            hosts.flush()
            settings = {
                "UserKnownHostsFile": hosts.name,
                "GlobalKnownHostsFile": "/dev/null",
                "StrictHostKeyChecking": "yes",
                "HostKeyAlias": uuid,
                "CheckHostIP": "no",
                "IdentitiesOnly": "yes",
            }
            options = [f"-o{name}={value}" for name, value in settings.items()]
            target = ["-i", identity, "-p", str(address.port), "-l", parsed_args.user, address.host]
            return _run([program, *options, *target, *parsed_args.command])

    def _address(self, guest: Guest) -> Address:
        """Return the address at which the guest's SSH server can be reached.

        :raises GuestError: if no address is known; names the remedy.
        """
        for port in guest.published:
            if (port.guest_port, port.protocol) == (SSH_PORT, Protocol.TCP):
                host = "127.0.0.1" if port.address == ANY_ADDRESS else port.address
                return Address(host=host, port=port.port)
        if any(nic.kind is not InterfaceKind.USER for nic in guest.interfaces):
            addresses = self.driver.addresses(guest.uuid)
            if addresses:
                return Address(host=addresses[0], port=SSH_PORT)
            remedy = "its agent or libvirt's DHCP server must tell the address"
        else:
            remedy = f"'compute-driver publish {guest.name} 2222:{SSH_PORT}' publishes its SSH port"
        raise exceptions.GuestError(f"no address of guest {guest.name!r} is known: {remedy}")

    def _host_keys(self, guest: Guest, deadline: float) -> tuple[str, ...]:
        """Return the keys of the guest's SSH server, as the guest tells.

        :param deadline: when to give up, by :func:`time.monotonic`, in seconds.
        :raises OperationTimeout: if the guest does not tell.
        """
        while True:
            found = self._told(guest)
            left = deadline - time.monotonic()
            if found:
                return found
            if left <= 0:
                raise exceptions.OperationTimeout(
                    f"guest {guest.name!r} has not told the key of its SSH server; cloud-init"
                    " writes this key to the serial console, and the guest agent can read the key"
                )
            try:
                seconds = min(left, _AGENT_SECONDS)
                self.driver.console_wait(guest.uuid, keys.KEYS_END, timeout=seconds)
            except exceptions.OperationTimeout:
                continue  # the agent may answer by now

    def _told(self, guest: Guest) -> tuple[str, ...]:
        try:
            found = self.driver.ssh_host_keys(guest.uuid)
        except (exceptions.AgentUnavailable, exceptions.AgentFailed):
            found = ()
        return found or keys.host_keys(self.driver.console_log(guest.uuid))


def _wait_for_server(guest: Guest, address: Address, deadline: float) -> None:
    """Return when the guest's SSH server answers.

    User-mode networking accepts a connection before the guest's server does, and resets it.

    :param deadline: when to give up, by :func:`time.monotonic`, in seconds.
    :raises OperationTimeout: if the server does not answer.
    """
    while not _greets(address):
        if time.monotonic() >= deadline:
            raise exceptions.OperationTimeout(
                f"the SSH server of guest {guest.name!r} does not answer at {address.host} port"
                f" {address.port}"
            )
        time.sleep(_AGAIN)


def _greets(address: Address) -> bool:
    """Tell whether a server sends the first bytes of SSH (RFC 4253, 4.2)."""
    try:
        with socket.create_connection((address.host, address.port), _ANSWER) as connection:
            return connection.recv(4).startswith(b"SSH-")
    except OSError:
        return False


def _run(command: list[str]) -> int:
    """Run a program in the terminal of this command, to its end, and return its status."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is for ssh
    try:
        return subprocess.call(command, preexec_fn=_take_signals)
    finally:
        signal.signal(signal.SIGINT, before)


def _take_signals() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
