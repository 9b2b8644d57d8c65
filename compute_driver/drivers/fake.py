# SPDX-License-Identifier: Apache-2.0
"""A driver that keeps simulated guests in memory, for tests and for trying things out."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from oslo_config import cfg

from compute_driver import consoles, exceptions
from compute_driver.choices import (
    ACTIVE,
    ALIVE,
    DiskFormat,
    InterfaceKind,
    PowerState,
    Quiesce,
    RebootKind,
    SnapshotFormat,
    VideoModel,
    VirtType,
)
from compute_driver.consoles import DisplayKind
from compute_driver.driver import (
    NO_GATE,
    ComputeDriver,
    ConsoleSession,
    Listener,
    Progress,
    no_progress,
)
from compute_driver.guest import ConfigDrive, Guest, Image, Interface, Rescue
from compute_driver.hardware import acceleration, architecture, resolve
from compute_driver.hardware.description import Hardware
from compute_driver.info import (
    Address,
    ArchitectureInfo,
    CacheEntry,
    Check,
    Device,
    DiskStats,
    Display,
    Finding,
    GuestInfo,
    GuestStats,
    HostInfo,
    InterfaceStats,
)
from compute_driver.system import files

#: What every simulated guest writes on its console when it is up.
BANNER = "simulated guest is up"


class _Machine:
    """One simulated guest; whoever looks at it or changes it holds ``changed``."""

    def __init__(self, guest: Guest, decision: acceleration.Decision) -> None:
        self.guest = guest
        self.decision = decision
        self.changed = threading.Condition()
        self.removed = False
        self.state = PowerState.STOPPED
        self.log = bytearray()
        self.boots = 0
        self.booted = 0.0
        self.session: _Session | None = None
        self.displays: dict[DisplayKind, Display] = {}
        self.address: Address | None = None
        self.before: tuple[Guest, acceleration.Decision, bool] | None = None

    def start(self, network: contextlib.AbstractContextManager[object]) -> None:
        if not isinstance(network, contextlib.nullcontext):
            with network:
                self.enter(PowerState.PAUSED)
        self.boot()

    def boot(self) -> None:
        self.boots += 1
        self.booted = time.monotonic()
        self.enter(PowerState.RUNNING)
        self.write(f"{self.guest.name}: boot {self.boots}\r\n{BANNER}\r\n".encode())

    def enter(self, state: PowerState) -> None:
        self.state = state
        if state not in ACTIVE:
            self.session = None
        self.changed.notify_all()

    def write(self, data: bytes) -> None:
        self.log += data
        if self.session is not None:
            self.session.arrived += data
        self.changed.notify_all()

    def require(self, operation: str, *accepted: PowerState) -> None:
        if self.state not in accepted:
            raise exceptions.InvalidGuestState(
                self.guest.name, operation, str(self.state), map(str, accepted)
            )

    def require_agent(self) -> None:
        """Expect the guest's agent: each one that has a channel has it."""
        if not self.guest.guest_agent:
            raise exceptions.AgentUnavailable(
                f"guest {self.guest.name!r} has no channel for an agent"
            )


class _Session(ConsoleSession):
    """A console that echoes what is typed, until the guest stops or the session is closed."""

    def __init__(self, machine: _Machine) -> None:
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


class FakeDriver(ComputeDriver):
    """Simulates a host that runs guests of its own architecture on KVM and emulates others."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        super().__init__(conf)
        self._machines: dict[str, _Machine] = {}
        self._ports = itertools.count(5900)
        self._guard = threading.Lock()
        self._listeners: tuple[Listener, ...] = ()
        self._images: dict[Image, tuple[float, int]] = {}
        self._released: dict[str, _Machine] = {}

    @contextlib.contextmanager
    def _machine(self, uuid: str) -> Iterator[_Machine]:
        """Hold one guest for the time of an operation."""
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
            self._tell(uuid, state)

    def _tell(self, uuid: str, state: PowerState) -> None:
        for listener in self._listeners:
            listener(uuid, state)

    def subscribe(self, listener: Listener) -> None:
        """Call *listener* whenever a guest may have changed its state."""
        self._listeners += (listener,)

    def spawn(
        self,
        guest: Guest,
        *,
        progress: Progress = no_progress,
        network: contextlib.AbstractContextManager[object] = NO_GATE,
        power_on: bool = True,
        told: Callable[[GuestInfo], ConfigDrive | None] | None = None,
    ) -> GuestInfo:
        """Make a guest and start it."""
        decision = self._decide(guest.architecture)
        self._hardware(guest, decision)
        if guest.image is not None:
            self.image_cache(guest.image, progress=progress)
        machine = _Machine(guest, decision)
        self._serve(machine)
        with machine.changed:
            self._add(machine)
            try:
                if told is not None:
                    told(_info(machine))
                if power_on:
                    machine.start(network)
            except BaseException:
                self._remove(machine)
                raise
            made = _info(machine)
        self._released.pop(guest.uuid, None)
        self._tell(guest.uuid, made.state)
        return made

    def _add(self, machine: _Machine) -> None:
        guest = machine.guest
        with self._guard:
            for other in self._machines.values():
                if guest.uuid == other.guest.uuid or guest.name == other.guest.name:
                    raise exceptions.GuestExists(
                        f"there is a guest {other.guest.name!r} with UUID {other.guest.uuid}"
                    )
            self._machines[guest.uuid] = machine

    def _remove(self, machine: _Machine) -> None:
        machine.removed = True
        machine.enter(PowerState.STOPPED)
        with self._guard:
            del self._machines[machine.guest.uuid]

    def destroy(self, uuid: str, *, keep_files: bool = False) -> None:
        """Power a guest off and remove all that it owned; no error if there is none."""
        with contextlib.suppress(exceptions.GuestNotFound), self._machine(uuid) as machine:
            self._remove(machine)
            if keep_files:
                self._released[uuid] = machine
        if not keep_files:
            self._released.pop(uuid, None)

    def reboot(
        self, uuid: str, *, kind: RebootKind = RebootKind.SOFT, timeout: float | None = None
    ) -> RebootKind:
        """Reboot a guest."""
        with self._machine(uuid) as machine:
            if kind is RebootKind.SOFT:
                machine.require("reboot", PowerState.RUNNING)
            else:
                machine.enter(PowerState.STOPPED)
                self._serve(machine)
            machine.boot()
        return kind

    def start(self, uuid: str) -> None:
        """Power a stopped guest on, or continue a paused or suspended one; nothing if it runs."""
        with self._machine(uuid) as machine:
            if machine.state in ALIVE:
                machine.enter(PowerState.RUNNING)
            else:
                self._serve(machine)
                machine.boot()

    def stop(self, uuid: str, *, timeout: float | None = None) -> None:
        """Shut a guest down, by force after the deadline; nothing if it is stopped."""
        with self._machine(uuid) as machine:
            machine.enter(PowerState.STOPPED)

    def pause(self, uuid: str) -> None:
        """Freeze a running guest in memory; nothing if it is paused."""
        with self._machine(uuid) as machine:
            machine.require("pause", *ACTIVE)
            machine.enter(PowerState.PAUSED)

    def resume(self, uuid: str) -> None:
        """Continue a paused or suspended guest; nothing if it runs."""
        with self._machine(uuid) as machine:
            machine.require("resume", *ALIVE)
            machine.enter(PowerState.RUNNING)

    def suspend(self, uuid: str) -> None:
        """Save a guest's memory to disk and power it off; nothing if it is suspended."""
        with self._machine(uuid) as machine:
            machine.require("suspend", *ALIVE)
            machine.enter(PowerState.SUSPENDED)

    def inject_nmi(self, uuid: str) -> None:
        """Send a guest's processors a non-maskable interrupt, to make it write a crash dump."""
        with self._machine(uuid) as machine:
            machine.require("interrupt", *ACTIVE)
            if not architecture.machine(machine.guest).nmi:
                raise exceptions.InterruptUnsupported(
                    f"the machine of guest {machine.guest.name!r} has no non-maskable interrupts"
                )
            machine.write(b"NMI received\r\n")

    def snapshot(
        self,
        uuid: str,
        target: Path,
        *,
        image_format: SnapshotFormat | None = None,
        quiesce: Quiesce = Quiesce.TRY,
        progress: Progress = no_progress,
    ) -> None:
        """Copy a guest's root disk into one image file."""
        if target.exists() or not target.parent.is_dir():
            accepted = "a new file in a directory that exists"
            raise exceptions.InvalidParameter("target", str(target), accepted)
        with self._machine(uuid) as machine, files.new_file(target) as new:
            if quiesce is Quiesce.REQUIRE:
                machine.require("quiesce", PowerState.RUNNING, PowerState.STOPPED)
                if machine.state is PowerState.RUNNING:
                    machine.require_agent()
            new.write_text(f"{image_format or SnapshotFormat.of(target)} of {machine.guest.name}\n")

    def quiesce(self, uuid: str) -> None:
        """Freeze the file systems of a running guest."""
        with self._machine(uuid) as machine:
            machine.require("quiesce", PowerState.RUNNING)
            machine.require_agent()

    def unquiesce(self, uuid: str) -> None:
        """Thaw the file systems of a guest."""
        with self._machine(uuid) as machine:
            machine.require("unquiesce", PowerState.RUNNING)
            machine.require_agent()

    def set_password(self, uuid: str, password: str, *, user: str = "root") -> None:
        """Give an account inside a running guest a password."""
        with self._machine(uuid) as machine:
            machine.require("set a password of", PowerState.RUNNING)
            machine.require_agent()
            machine.write(f"password of {user} set\r\n".encode())

    def rescue(
        self,
        uuid: str,
        rescue: Rescue,
        *,
        timeout: float | None = None,
        progress: Progress = no_progress,
    ) -> None:
        """Boot another system on a guest's machine, with its disks attached."""
        with self._machine(uuid) as machine:
            guest = machine.guest
            if guest.rescue is not None:
                raise exceptions.InvalidGuestState(
                    guest.name, "rescue", "in rescue", ["in its own system"]
                )
            machine.require("rescue", PowerState.RUNNING, PowerState.STOPPED, PowerState.CRASHED)
            guest = dataclasses.replace(guest, rescue=rescue)
            self._hardware(guest, machine.decision)
            progress(rescue.image.location, _size_of_image(rescue.image.location), 0)
            machine.guest = guest
            machine.enter(PowerState.STOPPED)
            machine.boot()

    def unrescue(self, uuid: str) -> None:
        """Boot a guest's own system again."""
        with self._machine(uuid) as machine:
            guest = machine.guest
            if guest.rescue is None:
                raise exceptions.InvalidGuestState(
                    guest.name, "unrescue", "in its own system", ["in rescue"]
                )
            machine.guest = dataclasses.replace(guest, rescue=None)
            machine.enter(PowerState.STOPPED)
            machine.boot()

    def resize(
        self,
        uuid: str,
        guest: Guest,
        *,
        timeout: float | None = None,
        power_on: bool | None = None,
        check_only: bool = False,
    ) -> None:
        """Stop a guest and give it another size; what it was is kept until that is confirmed."""
        with self._machine(uuid) as machine:
            machine.require("resize", *ACTIVE, PowerState.STOPPED)
            if machine.guest.rescue is not None:
                raise exceptions.InvalidGuestState(
                    guest.name, "resize", "in rescue", ["in its own system"]
                )
            if machine.before is not None:
                raise exceptions.InvalidGuestState(
                    guest.name, "resize", "resized already", ["confirmed", "reverted"]
                )
            self._hardware(guest, machine.decision)
            _check_resize(machine.guest, guest)
            if check_only:
                return
            was_on = machine.state in ACTIVE
            machine.before = (machine.guest, machine.decision, was_on)
            machine.enter(PowerState.STOPPED)
            if guest.root is None or guest.root.size_bytes == 0:
                guest = dataclasses.replace(guest, root=machine.guest.root)
            machine.guest = guest
            if was_on if power_on is None else power_on:
                machine.boot()

    def confirm_resize(self, uuid: str) -> None:
        """Let go of what a guest was before its resize; nothing if no resize waits for that."""
        with self._machine(uuid) as machine:
            machine.before = None

    def revert_resize(
        self, uuid: str, *, timeout: float | None = None, power_on: bool | None = None
    ) -> None:
        """Make a guest what it was before its resize, with the disks of then."""
        if uuid in self._released:
            self._restore(self._released.pop(uuid))
        with self._machine(uuid) as machine:
            if machine.before is not None:
                machine.enter(PowerState.STOPPED)
                machine.guest, machine.decision, was_on = machine.before
                machine.before = None
                power_on = was_on if power_on is None else power_on
            if power_on and machine.state is PowerState.STOPPED:
                machine.boot()

    def _restore(self, machine: _Machine) -> None:
        machine.removed = False
        self._add(machine)

    def attach_interface(self, uuid: str, interface: Interface) -> None:
        """Give a guest a further interface: at once if it runs, and in its description."""
        with self._machine(uuid) as machine:
            machine.require("attach an interface to", *ACTIVE, PowerState.STOPPED)
            nics = (*machine.guest.interfaces, interface)
            guest = dataclasses.replace(machine.guest, interfaces=nics)
            self._hardware(guest, machine.decision)
            machine.guest = guest

    def detach_interface(self, uuid: str, mac: str, *, timeout: float | None = None) -> None:
        """Take an interface from a guest: at once if it runs, and from its description."""
        with self._machine(uuid) as machine:
            machine.require("detach an interface from", *ACTIVE, PowerState.STOPPED)
            guest = machine.guest
            nics = tuple(nic for nic in guest.interfaces if nic.mac != mac.lower())
            if nics == guest.interfaces:
                raise exceptions.InterfaceNotFound(guest.name, mac)
            machine.guest = dataclasses.replace(guest, interfaces=nics)

    def replace_interfaces(self, uuid: str, interfaces: Sequence[Interface]) -> None:
        """Give a guest that is off other interfaces, in place of all that it has."""
        with self._machine(uuid) as machine:
            machine.require("replace the interfaces of", PowerState.STOPPED)
            guest = dataclasses.replace(machine.guest, interfaces=tuple(interfaces))
            self._hardware(guest, machine.decision)
            machine.guest = guest

    def list(self) -> tuple[GuestInfo, ...]:
        """Return all guests of this driver, by name; never those of others."""
        return tuple(map(_info, self._all()))

    def _all(self) -> tuple[_Machine, ...]:
        with self._guard:
            machines = tuple(self._machines.values())
        return tuple(sorted(machines, key=lambda machine: machine.guest.name))

    def find(self, guest: str) -> str:
        """Return the UUID of the guest with that name or UUID, or whose files were kept."""
        return guest if guest in self._released else super().find(guest)

    def show(self, uuid: str) -> GuestInfo:
        """Return what is known of one guest."""
        with self._machine(uuid) as machine:
            return _info(machine)

    def console_log(self, uuid: str, *, max_bytes: int | None = None) -> bytes:
        """Return what the guest wrote on its serial console, over all its boots."""
        with self._machine(uuid) as machine:
            kept = len(machine.log) if max_bytes is None else max_bytes
            return bytes(machine.log[max(0, len(machine.log) - kept) :])

    def console_wait(self, uuid: str, text: str, *, timeout: float, skip_bytes: int = 0) -> None:
        """Return when the serial console has shown *text*."""
        wanted = text.encode()
        with self._machine(uuid) as machine:

            def shown() -> bool:
                return machine.log.find(wanted, skip_bytes) >= 0

            machine.changed.wait_for(lambda: shown() or machine.state not in ACTIVE, timeout)
            if shown():
                return
            machine.require(f"see {text!r} of", *ACTIVE)
            raise exceptions.OperationTimeout(
                f"the console of guest {machine.guest.name!r} did not show {text!r} within"
                f" {timeout:g} s"
            )

    def console_attach(self, uuid: str) -> ConsoleSession:
        """Open the interactive serial console of a running guest."""
        with self._machine(uuid) as machine:
            machine.require("attach to", *ACTIVE)
            if machine.session is not None:
                raise exceptions.GuestBusy(
                    f"the console of guest {machine.guest.name!r} is open elsewhere"
                )
            machine.session = _Session(machine)
            return machine.session

    def console_address(self, uuid: str) -> Address:
        """Tell where a running guest's serial console is served by TCP."""
        with self._machine(uuid) as machine:
            machine.require("connect to", *ACTIVE)
            if machine.address is None:
                raise consoles.no_address(machine.guest.name)
            return machine.address

    def screenshot(self, uuid: str) -> bytes:
        """Return the guest's first screen as a PNG image."""
        with self._machine(uuid) as machine:
            machine.require("take a screenshot of", *ACTIVE)
            hardware = self._hardware(machine.guest, machine.decision)
            if hardware.display.model is VideoModel.NONE:
                raise exceptions.GuestError(f"guest {machine.guest.name!r} has no display")
        return _picture()

    def display(self, uuid: str, *, kind: DisplayKind | None = None) -> Display:
        """Tell where a running guest's screen is served by VNC or SPICE."""
        with self._machine(uuid) as machine:
            machine.require("see", *ACTIVE)
            for each in machine.displays if kind is None else (kind,):
                if each in machine.displays:
                    return machine.displays[each]
            raise consoles.no_display(machine.guest.name, kind)

    def _serve(self, machine: _Machine) -> None:
        """Serve the guest's consoles as configuration is now."""
        hardware = self._hardware(machine.guest, machine.decision)
        machine.displays = {
            kind: Display(kind=kind, host=address, port=next(self._ports))
            for kind, address in hardware.display.screens
        }
        machine.address = None
        if hardware.console.address:
            machine.address = Address(host=hardware.console.address, port=next(self._ports))

    def stats(self, uuid: str | None = None) -> tuple[GuestStats, ...]:
        """Return the use of resources by one guest or by all of them, by name."""
        if uuid is None:
            return tuple(map(_stats, self._all()))
        with self._machine(uuid) as machine:
            return (_stats(machine),)

    def host_show(self, architectures: Collection[str] = ()) -> HostInfo:
        """Describe the host."""
        for name in architectures:
            architecture.get(name)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        used = sum(stats.memory_bytes for stats in self.stats())
        disk = shutil.disk_usage("/")
        return HostInfo(
            hostname=socket.gethostname(),
            driver="fake",
            connection_uri="fake:///memory",
            libvirt_version="",
            qemu_version="",
            virt_type=self.conf.hypervisor.virt_type,
            cpus=os.cpu_count() or 1,
            memory_bytes=memory,
            memory_free_bytes=max(0, memory - used),
            disk_bytes=disk.total,
            disk_free_bytes=disk.free,
            architectures=tuple(map(self._architecture, architecture.TABLE)),
        )

    def _architecture(self, name: str) -> ArchitectureInfo:
        decision = self._decide(name)
        return ArchitectureInfo(
            architecture=name,
            emulator=architecture.get(name).emulator,
            accelerator=decision.accelerator,
            reason=decision.reason,
        )

    def _hardware(self, guest: Guest, decision: acceleration.Decision) -> Hardware:
        """Return a guest's hardware, as configuration is now; refuses what the machine lacks."""
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

    def host_check(self) -> tuple[Check, ...]:
        """Find out what this host can run, what it cannot and why, and what would help."""
        return (
            Check(
                subject="driver",
                verdict="warning",
                detail="guests are simulated in memory and end with this process",
                remedy="set driver = libvirt to run real ones",
            ),
        )

    def image_list(self) -> tuple[CacheEntry, ...]:
        """Return the images that are kept for guests to come, the latest wanted first."""
        with self._guard:
            entries = [self._entry(image) for image in self._images]
        return tuple(sorted(entries, key=lambda entry: entry.used_at, reverse=True))

    def image_cache(
        self, image: Image, *, boot: bool = False, progress: Progress = no_progress
    ) -> bool:
        """Fetch an image for guests to come; tell whether it had to be fetched."""
        size = _size_of_image(image.location)
        with self._guard:
            fetched = image not in self._images
            self._images[image] = time.time(), size
        if fetched:
            progress(image.location, size, size)
        return fetched

    def image_prune(self, *, unused: float | None = None) -> tuple[CacheEntry, ...]:
        """Remove the images that no guest needs and that none has for some time."""
        age = self.conf.hypervisor.image_unused_seconds if unused is None else unused
        with self._guard:
            found = [(image, self._entry(image)) for image in self._images]
            removed = [
                (image, entry)
                for image, entry in found
                if not entry.guests and entry.used_at <= time.time() - age
            ]
            for image, _entry in removed:
                del self._images[image]
        return tuple(entry for _image, entry in removed)

    def _entry(self, image: Image) -> CacheEntry:
        used_at, size = self._images[image]
        users = [m.guest.uuid for m in self._machines.values() if m.guest.image == image]
        return CacheEntry(
            source=image.location,
            path=image.location,
            format=image.format or DiskFormat.RAW,
            size_bytes=size,
            used_at=used_at,
            guests=tuple(sorted(users)),
        )

    def audit(self, *, repair: bool = False) -> tuple[Finding, ...]:
        """List what no guest owns and what guests lack."""
        return ()  # memory has no leftovers

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


def _check_resize(old: Guest, new: Guest) -> None:
    """Refuse another guest, and disks that would shrink."""
    for field in ("uuid", "name", "architecture"):
        if getattr(old, field) != getattr(new, field):
            raise exceptions.InvalidParameter(field, getattr(new, field), getattr(old, field))
    for role, before, after in (
        ("root", old.root, new.root),
        *(("ephemeral", *pair) for pair in itertools.zip_longest(old.ephemerals, new.ephemerals)),
    ):
        size = before.size_bytes if before else 0
        wanted = after.size_bytes if after else 0
        if wanted < size and (wanted or role != "root"):
            raise exceptions.InvalidParameter(role, wanted, f"{size} bytes or more")


def _size_of_image(location: str) -> int:
    if "://" in location:
        return 0
    try:
        return Path(location).stat().st_size
    except OSError as error:
        raise exceptions.ImageNotFound(f"no image at {location!r}: {error.strerror}") from error


def _info(machine: _Machine) -> GuestInfo:
    return GuestInfo(
        guest=machine.guest,
        state=machine.state,
        accelerator=machine.decision.accelerator,
        reason=machine.decision.reason,
        devices=tuple(
            Device(name=nic.device or "", mac=nic.mac, bus="pci", address=f"0000:{number:02x}:00.0")
            for number, nic in enumerate(machine.guest.interfaces, 1)
        ),
        before=machine.before[0] if machine.before else None,
    )


def _stats(machine: _Machine) -> GuestStats:
    guest = machine.guest
    active = machine.state in ACTIVE
    disks = sum(disk is not None for disk in (guest.root, *guest.ephemerals, guest.swap))
    ran = int((time.monotonic() - machine.booted) * 1e9)
    return GuestStats(
        uuid=guest.uuid,
        name=guest.name,
        state=machine.state,
        vcpus=guest.vcpus,
        vcpu_times_ns=(ran,) * guest.vcpus if active else (),
        memory_bytes=guest.memory_mib * 1024**2 if active else 0,
        resident_bytes=guest.memory_mib * 1024**2 if active else 0,
        disks=tuple(
            DiskStats(
                name=f"vd{chr(ord('a') + index)}",
                read_bytes=512,
                read_requests=1,
                write_bytes=0,
                write_requests=0,
            )
            for index in range(disks if active else 0)
        ),
        interfaces=tuple(
            _interface_stats(f"fake{index}", nic)
            for index, nic in enumerate(guest.interfaces if active else ())
        ),
    )


def _interface_stats(name: str, nic: Interface) -> InterfaceStats:
    counted = nic.kind is not InterfaceKind.USER
    size, packets = (64, 1) if counted else (None, None)
    return InterfaceStats(
        name=name,
        received_bytes=size,
        received_packets=packets,
        sent_bytes=size,
        sent_packets=packets,
    )


def _picture() -> bytes:
    from PIL import Image  # slow to load, and rarely wanted

    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), "navy").save(buffer, "PNG")
    return buffer.getvalue()
