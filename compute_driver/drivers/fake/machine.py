# SPDX-License-Identifier: Apache-2.0
"""One simulated guest, and the store of all simulated guests."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Iterator

from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.choices import ACTIVE, PowerState, StateReason, VirtType
from compute_driver.consoles import DisplayKind
from compute_driver.contract.agent import check_channel
from compute_driver.contract.states import Request
from compute_driver.driver import ComputeDriver, ConsoleSession, Listener
from compute_driver.guest import Guest, Image, require_unpublished
from compute_driver.hardware import acceleration, architecture, resolve
from compute_driver.hardware.description import Hardware
from compute_driver.info import Address, Device, Display, GuestInfo

#: Text that every simulated guest writes on its console at the end of a boot.
BANNER = "simulated guest is up"


_REASONS = {
    PowerState.PAUSED: StateReason.USER,
    PowerState.STOPPED: StateReason.POWERED_OFF,
}


class Machine:
    """One simulated guest; every reader and writer holds ``changed``."""

    def __init__(self, guest: Guest, decision: acceleration.Decision) -> None:
        self.guest = guest
        self.decision = decision
        self.changed = threading.Condition()
        self.removed = False
        self.state = PowerState.STOPPED
        self.log = bytearray()
        self.boots = 0
        self.booted = 0.0
        self.session: Session | None = None
        self.displays: dict[DisplayKind, Display] = {}
        self.address: Address | None = None
        self.before: tuple[Guest, acceleration.Decision, bool] | None = None

    @property
    def state_reason(self) -> str:
        """The reason for the state, as a driver reports it."""
        return str(_REASONS.get(self.state, StateReason.NONE))

    def start(self, network: contextlib.AbstractContextManager[object] | None) -> None:
        """Boot the guest after the network is ready."""
        if network is not None:
            with network:
                self.enter(PowerState.PAUSED)
        self.boot()

    def boot(self) -> None:
        """Let the guest run and write the banner."""
        self.boots += 1
        self.booted = time.monotonic()
        self.enter(PowerState.RUNNING)
        self.write(f"{self.guest.name}: boot {self.boots}\r\n{BANNER}\r\n".encode())

    def enter(self, state: PowerState) -> None:
        """Give the guest a power state; a guest that is off ends its console session."""
        self.state = state
        if state not in ACTIVE:
            self.session = None
        self.changed.notify_all()

    def write(self, data: bytes) -> None:
        """Append data to the console log and to the open session."""
        self.log += data
        if self.session is not None:
            self.session.arrived += data
        self.changed.notify_all()

    def require(self, request: Request) -> None:
        """Refuse a request that the guest's power state does not accept."""
        request.check(self.guest.name, self.state)

    def require_agent(self, request: Request) -> None:
        """Refuse a request that no agent can answer."""
        self.require(request)
        check_channel(self.guest)

    def info(self) -> GuestInfo:
        """Describe the guest as a driver reports it."""
        return GuestInfo(
            guest=self.guest,
            state=self.state,
            state_reason=self.state_reason,
            accelerator=self.decision.accelerator,
            reason=self.decision.reason,
            devices=tuple(
                Device(
                    name=nic.device or "", mac=nic.mac, bus="pci", address=f"0000:{number:02x}:00.0"
                )
                for number, nic in enumerate(self.guest.interfaces, 1)
            ),
            before=self.before[0] if self.before else None,
        )


class Session(ConsoleSession):
    """A console that echoes its input until the guest stops or the session is closed."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.arrived = bytearray()

    def _open(self) -> bool:
        return self._machine.session is self

    def receive(self) -> bytes:
        with self._machine.changed:
            self._machine.changed.wait_for(lambda: self.arrived or not self._open())
            data = bytes(self.arrived)
            self.arrived.clear()
            return data

    def send(self, data: bytes) -> None:
        with self._machine.changed:
            if self._open():
                self._machine.write(data)

    def close(self) -> None:
        with self._machine.changed:
            if self._open():
                self._machine.session = None
                self._machine.changed.notify_all()


class Machines(ComputeDriver):
    """Holds the simulated guests; the base of all sections of the in-memory driver."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__(conf)
        self._machines: dict[str, Machine] = {}
        self._ports = itertools.count(5900)
        self._guard = threading.Lock()
        self._listeners: tuple[Listener, ...] = ()
        self._images: dict[Image, tuple[float, int]] = {}
        self._released: dict[str, Machine] = {}

    @contextlib.contextmanager
    def _machine(self, uuid: str) -> Iterator[Machine]:
        """Lock one guest for the time of an operation, and report its new state afterwards."""
        with self._guard:
            machine = self._machines.get(uuid)
        if machine is None:
            raise exceptions.GuestNotFound(uuid)
        with machine.changed:
            if machine.removed:
                raise exceptions.GuestNotFound(uuid)
            before = machine.state
            yield machine
            state = machine.state
        if state is not before and not machine.removed:
            self._report(uuid, state)

    def _report(self, uuid: str, state: PowerState) -> None:
        for listener in self._listeners:
            listener(uuid, state)

    def _add(self, machine: Machine) -> None:
        guest = machine.guest
        with self._guard:
            for other in self._machines.values():
                if guest.uuid == other.guest.uuid or guest.name == other.guest.name:
                    raise exceptions.GuestExists(
                        f"there is a guest {other.guest.name!r} with UUID {other.guest.uuid}"
                    )
            self._machines[guest.uuid] = machine

    def _remove(self, machine: Machine) -> None:
        machine.removed = True
        machine.enter(PowerState.STOPPED)
        with self._guard:
            del self._machines[machine.guest.uuid]

    def _all(self) -> tuple[Machine, ...]:
        with self._guard:
            machines = tuple(self._machines.values())
        return tuple(sorted(machines, key=lambda machine: machine.guest.name))

    def _require_ports(self, guest: Guest) -> None:
        """Refuse published ports that another guest publishes."""
        require_unpublished(guest, guest.published, (machine.guest for machine in self._all()))

    def _serve(self, machine: Machine) -> None:
        """Serve the guest's consoles by the present configuration."""
        hardware = self._hardware(machine.guest, machine.decision)
        machine.displays = {
            kind: Display(kind=kind, host=address, port=next(self._ports))
            for kind, address in hardware.display.screens
        }
        machine.address = None
        if hardware.console.address:
            machine.address = Address(host=hardware.console.address, port=next(self._ports))

    def _hardware(self, guest: Guest, decision: acceleration.Decision) -> Hardware:
        """Return a guest's hardware by the present configuration; refuse impossible hardware."""
        return resolve.as_configured(guest, decision.accelerator, self.conf.hypervisor)

    def _decide(self, name: str) -> acceleration.Decision:
        host = architecture.of_host()
        native = frozenset(a.name for a in architecture.TABLE.values() if host in a.kvm_hosts)
        return acceleration.decide(
            VirtType(self.conf.hypervisor.virt_type),
            architecture.get(name).name,
            host,
            lambda: acceleration.Ability(native, "simulated"),
            emulation_fallback=self.conf.hypervisor.emulation_fallback,
        )
