# SPDX-License-Identifier: Apache-2.0
"""``ssh``: log in to a guest."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tenacity

from compute_driver import consoles, exceptions
from compute_driver.choices import InterfaceKind, Protocol
from compute_driver.cmd import keys, verb
from compute_driver.guest import ANY_ADDRESS, SSH_PORT, Guest
from compute_driver.info import Address
from compute_driver.system import tools

LOG = logging.getLogger(__name__)

#: Seconds after which the guest is asked again: no event tells that an agent has begun, that an
#: address is known or that a server listens.
_AGAIN = 1.0

#: The exit status of ssh after a failure of its own; ssh(1).
_SSH_FAILED = 255

_OWN_KEY = (
    "a guest knows the driver's own SSH key only from a config drive that 'spawn' makes without"
    " --key; --identity names another key"
)

#: The first port of the host that a remedy proposes.
_FIRST_PORT = 2222

#: Seconds that a server may take to greet.
_ANSWER = 5.0


class _Parser(verb.Parser):
    """Takes options before and after the guest, and after them the words of the command."""

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> argparse.Namespace:
        """Return the values of the words."""
        parsed: argparse.Namespace = self.parse_intermixed_args(args, namespace)
        return parsed


class Ssh(verb.Verb):
    """Log in to a guest by SSH, or run a command in the guest.

    The guest itself tells the key of its SSH server, by its agent or its serial console; without
    this key the command does not connect.  The exit status is the status of ssh.
    """

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = _Parser(description=self.get_description(), prog=prog_name)
        verb.add_guest(parser)
        parser.add_argument(
            "--user",
            type=verb.words,
            default="root",
            help="account in the guest (default: root)",
        )
        parser.add_argument(
            "--identity",
            type=verb.path,
            metavar="FILE",
            help="private key (default: the driver's own key)",
        )
        parser.add_argument(
            "--timeout",
            type=verb.seconds,
            default=300.0,
            metavar="SECONDS",
            help="seconds to wait for the guest's SSH server and its key (default: 300)",
        )
        parser.add_argument(
            "command",
            metavar="COMMAND",
            nargs="*",
            default=[],  # without a default, argparse calls the command required
            help="command for the guest's shell, its words joined by blanks as ssh does; after --,"
            " if the command has options",
        )
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        if parsed_args.identity is not None:
            keys.read_file("--identity", parsed_args.identity, keys.MAX_FILE_BYTES)
        uuid, program = self.find(parsed_args.guest), tools.require_program("ssh")
        state = Path(self.driver.conf.hypervisor.state_path)
        guest = self.driver.show(uuid).guest
        self._require_way(guest)
        identity = parsed_args.identity or str(keys.own_key(state))
        if guest.config_drive is None and parsed_args.identity is None:
            LOG.warning("Guest %s has no config drive: %s", guest.name, _OWN_KEY)
        deadline = time.monotonic() + parsed_args.timeout
        self._wait_for_keys(guest, deadline)
        address = self._wait_for_server(guest, deadline)
        with tempfile.NamedTemporaryFile("w", prefix="compute-driver-ssh.") as hosts:
            # Since the wait, the guest may have made new keys: in rescue, or at its first boot.
            hosts.writelines(f"{uuid} {key}\n" for key in self.driver.ssh_host_keys(uuid))
            hosts.flush()
            settings = {
                "UserKnownHostsFile": hosts.name,
                "GlobalKnownHostsFile": "/dev/null",
                "KnownHostsCommand": "none",
                "VerifyHostKeyDNS": "no",
                "StrictHostKeyChecking": "yes",
                "HostKeyAlias": uuid,
                "CheckHostIP": "no",
                "IdentitiesOnly": "yes",
            }
            options = [f"-o{name}={value}" for name, value in settings.items()]
            target = ["-i", identity, "-p", str(address.port), "-l", parsed_args.user]
            # After "--", ssh takes no word for an option.
            status = _run([program, *options, *target, "--", address.host, *parsed_args.command])
        if status == _SSH_FAILED and parsed_args.identity is None and guest.config_drive:
            LOG.warning("If guest %s denies permission: %s", guest.name, _OWN_KEY)
        return status

    def _require_way(self, guest: Guest) -> None:
        """Refuse a guest that no program can reach by SSH.

        :raises GuestError: names the remedy.
        """
        if not guest.interfaces:
            raise exceptions.GuestError(f"guest {guest.name!r} has no network interface")
        if not _has_network(guest) and not _published(guest):
            taken = {
                port.port
                for info in self.driver.list()
                for port in info.guest.published
                if port.protocol is Protocol.TCP
            }
            free = next(port for port in itertools.count(_FIRST_PORT) if port not in taken)
            raise exceptions.GuestError(
                f"no port of the host leads to the SSH server of guest {guest.name!r};"
                f" 'compute-driver publish {guest.name} {free}:{SSH_PORT}' publishes its port"
            )

    def _wait_for_keys(self, guest: Guest, deadline: float) -> None:
        """Return when the guest has told the key of its SSH server.

        :param deadline: when to give up, by :func:`time.monotonic`, in seconds.
        :raises OperationTimeout: if the guest does not tell.
        """
        begun, told = time.monotonic(), False
        for left in _remaining(deadline):
            searched = len(self.driver.console_log(guest.uuid))
            if self.driver.ssh_host_keys(guest.uuid):
                return
            if not told and self.app.stderr.isatty():
                self.app.stderr.write(
                    f"compute-driver: guest {guest.name} has not told the key of its SSH server"
                    f" yet; waiting {left:.0f} s at most\n"
                )
            told = True
            with contextlib.suppress(exceptions.OperationTimeout):  # the agent may answer by now
                seconds = min(left, _ANSWER)
                self.driver.console_wait(
                    guest.uuid, consoles.HOST_KEYS_END, timeout=seconds, skip_bytes=searched
                )
        raise exceptions.OperationTimeout(
            f"guest {guest.name!r} has not told the key of its SSH server in"
            f" {time.monotonic() - begun:.0f} s; cloud-init writes this key to the serial console,"
            " and the guest agent can read the key; 'compute-driver console log"
            f" {guest.name}' shows how far the guest is"
        )

    def _wait_for_server(self, guest: Guest, deadline: float) -> Address:
        """Return the address at which the guest's SSH server answers.

        User-mode networking accepts a connection before the guest's server does, and resets it.

        :param deadline: see :meth:`_wait_for_keys`.
        :raises OperationTimeout: if no address is known, or the server does not answer.
        """
        tried: list[Address] = []

        def find() -> Address | None:
            tried[:] = self._addresses(guest)
            return next(filter(_greets, tried), None)

        try:
            found = tenacity.Retrying(
                stop=tenacity.stop_after_delay(max(0.0, deadline - time.monotonic())),
                wait=tenacity.wait_fixed(_AGAIN),
                retry=tenacity.retry_if_result(lambda found: found is None),
            )(find)
        except tenacity.RetryError as error:
            places = " and ".join(f"{place.host} port {place.port}" for place in tried)
            where = f"does not answer at {places}" if places else "has no address that is known"
            text = f"the SSH server of guest {guest.name!r} {where}"
            raise exceptions.OperationTimeout(text) from error
        assert found is not None
        return found

    def _addresses(self, guest: Guest) -> list[Address]:
        """Return the addresses at which the guest's SSH server may be reached."""
        published = _published(guest)
        if published or not _has_network(guest):
            return published
        return [Address(host=host, port=SSH_PORT) for host in self.driver.addresses(guest.uuid)]


def _has_network(guest: Guest) -> bool:
    """Tell whether the guest has an interface that the host can reach."""
    return any(nic.kind is not InterfaceKind.USER for nic in guest.interfaces)


def _published(guest: Guest) -> list[Address]:
    """Return the host's addresses that lead to the guest's SSH server."""
    return [
        Address(host="127.0.0.1" if port.address == ANY_ADDRESS else port.address, port=port.port)
        for port in guest.published
        if (port.guest_port, port.protocol) == (SSH_PORT, Protocol.TCP)
    ]


def _remaining(deadline: float) -> Iterator[float]:
    """Yield the seconds that are left, once more after the deadline has passed."""
    while True:
        left = deadline - time.monotonic()
        yield max(0.0, left)
        if left <= 0:
            return


def _greets(address: Address) -> bool:
    """Tell whether a server sends the first bytes of SSH (RFC 4253, 4.2)."""
    try:
        with socket.create_connection((address.host, address.port), _ANSWER) as connection:
            return connection.recv(4).startswith(b"SSH-")
    except OSError:
        return False


def _run(command: list[str]) -> int:
    """Run a program in the terminal of this command, to its end, and return its status."""
    # The terminal's Ctrl-C is for ssh, which has the default action of the signal.
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        return subprocess.call(command)
    finally:
        signal.signal(signal.SIGINT, before)
