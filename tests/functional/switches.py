# SPDX-License-Identifier: Apache-2.0
"""A private Open vSwitch with its userspace datapath, in a private network namespace."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import subprocess
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from compute_driver import exceptions
from compute_driver.choices import InterfaceKind, RebootKind
from compute_driver.guest import Guest, Interface
from compute_driver.libvirt.daemon import EmbeddedDaemon
from tests import guests
from tests.functional import base, inside

_PROGRAMS = ("ovsdb-tool", "ovsdb-server", "ovs-vswitchd", "ovs-vsctl", "dnsmasq")
_SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
_CLONE_NEWNET = 0x40000000

#: The bridge's own address, and its DHCP server's.
ADDRESS = "192.0.2.1"
#: Beginning of all addresses that the DHCP server leases.
LEASES = "192.0.2."

#: UUID of a port of the network service.
PORT = "0f9f2a36-6d4c-44d4-9d4b-ae2b1c1a94d6"


@contextlib.contextmanager
def network_namespace() -> Iterator[None]:
    """Give this thread and its children a network with only a loopback device.

    :raises unittest.SkipTest: if the tests do not run as root.
    """
    if os.geteuid() != 0:
        raise unittest.SkipTest("only root can make a network namespace")
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as before:
        if libc.unshare(_CLONE_NEWNET):
            raise unittest.SkipTest(f"no network namespace: {os.strerror(ctypes.get_errno())}")
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            yield
        finally:
            if libc.setns(before.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "cannot return to the first network")


class Switch:
    """Open vSwitch with one bridge, ``br0``, and a DHCP server.

    :param directory: for all files of the switch.
    """

    bridge = "br0"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.connection = f"unix:{directory}/db.sock"
        self._variables = os.environ | {
            f"OVS_{name}DIR": str(directory) for name in ("RUN", "LOG", "DB")
        }

    def vsctl(self, *words: str) -> str:
        """Run ``ovs-vsctl`` and return its output."""
        command = ["ovs-vsctl", f"--db={self.connection}", "--timeout=10", *words]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()

    def ports(self) -> list[str]:
        """Return the names of the bridge's ports."""
        return self.vsctl("list-ports", self.bridge).split()

    def interfaces(self) -> str:
        """Return the state and the counters of all interfaces, for people to read."""
        columns = "name,ofport,ifindex,error,link_state,mac_in_use,statistics"
        return self.vsctl(f"--columns={columns}", "list", "interface")

    def devices(self, bridge: str | None = None) -> set[str]:
        """Return the names of the network's devices, or of those in a bridge of the kernel."""
        master = [] if bridge is None else ["master", bridge]
        command = ["ip", "-oneline", "link", "show", *master]
        shown = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        return {line.split(": ")[1].partition("@")[0] for line in shown.splitlines()}

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run the switch's daemons for the time of the block."""
        database = str(self.directory / "conf.db")
        subprocess.run(["ovsdb-tool", "create", database, _SCHEMA], check=True)
        remote = f"--remote=p{self.connection}"
        with (
            self._daemon("ovsdb-server", database, remote, "--pidfile", "--detach", "--no-chdir"),
            self._daemon("ovs-vswitchd", self.connection, "--pidfile", "--detach", "--no-chdir"),
        ):
            self.vsctl(
                "add-br", self.bridge, "--", "set", "bridge", self.bridge, "datapath_type=netdev"
            )
            for words in (["link", "set", self.bridge, "up"], ["addr", "add", f"{ADDRESS}/24"]):
                at = ["dev", self.bridge] if words[0] == "addr" else []
                subprocess.run(["ip", *words, *at], check=True)
            with self._daemon(
                "dnsmasq",
                *("--conf-file=/dev/null", "--port=0", "--user=root", "--bind-interfaces"),
                *(f"--interface={self.bridge}", f"--dhcp-range={LEASES}10,{LEASES}99"),
                f"--dhcp-leasefile={self.directory}/leases",
                f"--pid-file={self.directory}/dnsmasq.pid",
            ):
                yield

    @contextlib.contextmanager
    def _daemon(self, name: str, *words: str) -> Iterator[None]:
        """Start a daemon, which is ready when its command returns, and end it by its pid file."""
        command = [name, *words]
        if name.startswith("ovs"):
            command += ["-vconsole:off", "--log-file"]
        subprocess.run(command, check=True, env=self._variables)
        try:
            yield
        finally:
            process = int((self.directory / f"{name}.pid").read_text())
            descriptor = os.pidfd_open(process)
            os.kill(process, 15)
            select.select([descriptor], [], [], 10)
            os.close(descriptor)


def require() -> None:
    """Skip the test if the machine lacks Open vSwitch."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        raise unittest.SkipTest(f"not installed: {', '.join(missing)}")


def plugged(**fields: Any) -> Interface:
    """Return a guest's interface on the switch."""
    return Interface(kind=InterfaceKind.OVS, source=Switch.bridge, **fields)


def kernel_only() -> dict[str, Any]:
    """Return the fields of a guest that boots the test kernel and works with the switch.

    The userspace datapath does not fill in checksums, so the guest must.
    """
    return {"boot": base.kernel("virtio_net.csum=0")}


class SwitchTestCase(base.HostTestCase):
    """A test on an Open vSwitch, which checks that no port and no device remains."""

    switch: ClassVar[Switch]
    devices: ClassVar[set[str]]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        require()
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        guests.build()  # needs the machine's network
        stack.enter_context(network_namespace())
        # A private libvirt in the private network.
        state = Path(tempfile.mkdtemp(prefix="cd-", dir="/var/tmp"))
        stack.callback(shutil.rmtree, state)
        stack.callback(EmbeddedDaemon(state).stop)
        # One directory per process: os-vif keeps one connection to one address per process.
        directory = Path(f"/var/tmp/cd-switch-{os.getpid()}")
        directory.mkdir()
        stack.callback(shutil.rmtree, directory)
        cls.switch = Switch(directory)
        stack.enter_context(cls.switch.running())
        cls.options = {"state_path": str(state), "ovsdb_connection": cls.switch.connection}
        cls.devices = cls.switch.devices()

    def _nothing_is_left(self) -> None:
        super()._nothing_is_left()
        self.assertEqual([], self.switch.ports())
        self.assertEqual(self.devices, self.switch.devices())

    def has_an_address(self, made: Guest, skip_bytes: int = 0) -> None:
        """Wait for the guest's lease and banner; a failure shows the switch and the console."""
        for text in (f"GUEST-LEASE: eth0 {LEASES}", base.BANNER):
            try:
                self.driver.console_wait(
                    made.uuid, text, timeout=base.BOOT_TIMEOUT, skip_bytes=skip_bytes
                )
            except exceptions.OperationTimeout as error:
                said = self.driver.console_log(made.uuid)[skip_bytes:].decode(errors="replace")
                self.fail(f"{error}\n{self.switch.interfaces()}\n{said}")

    def answers(self, made: Guest) -> None:
        inside.run(self.driver, made, f"ping -c 1 -W 10 {ADDRESS}")
        got = inside.run(self.driver, made, f"ping -c 3 -W 10 {ADDRESS} | tail -n 2")
        self.assertIn(" 0% packet loss", got)

    @contextlib.contextmanager
    def gets_an_address(self, made: Guest) -> Iterator[None]:
        before = len(self.driver.console_log(made.uuid))
        yield
        self.has_an_address(made, before)
        self.answers(made)

    def answers_after_each_power_on(self, made: Guest) -> None:
        with self.subTest("hard reboot"), self.gets_an_address(made):
            self.driver.reboot(made.uuid, kind=RebootKind.HARD)
        with self.subTest("suspend"):
            self.driver.suspend(made.uuid)
            self.driver.resume(made.uuid)
            self.answers(made)
        with self.subTest("stop"), self.gets_an_address(made):
            self.driver.stop(made.uuid)
            self.driver.start(made.uuid)
