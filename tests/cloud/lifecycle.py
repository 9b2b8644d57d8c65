# SPDX-License-Identifier: Apache-2.0
"""Brings the cloud up and down."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import libvirt

from tests import guests
from tests.cloud import configuration, databases, install, network, populate, services
from tests.cloud.errors import CloudError
from tests.cloud.layout import ADDRESS, PORTS, Layout
from tests.cloud.processes import Process, end, eventually, marked
from tests.cloud.services import SERVICES

LOG = logging.getLogger(__name__)

_LOG_TAIL_BYTES = 3000

#: Seconds until nova and neutron know all of their services.
_NOTICE_SECONDS = 60

_COMPUTE = "nova-compute"

#: Services that call nova-compute.
_CALLERS = ("nova-api", "nova-conductor", "nova-scheduler")

#: Folders below ``state`` for the services' files.
_FOLDERS = ("glance/images", "neutron/lock", "nova/instances", "nova/lock", "rabbitmq", "run")


@dataclass(frozen=True)
class Step:
    """An action between the starts of services, and its undo after their ends."""

    run: Callable[[Layout], object]
    undo: Callable[[Layout], object] = lambda _cloud: None
    needs: tuple[str, ...] = ()


def _start_libvirt(cloud: Layout) -> None:
    cloud.libvirt.ensure()
    cloud.libvirt.close()


def _stop_libvirt(cloud: Layout) -> None:
    """End all guests, then libvirt."""
    with contextlib.closing(libvirt.open(cloud.libvirt.ensure())) as connection:
        for domain in connection.listAllDomains():
            if domain.isActive():
                domain.destroy()
            if domain.isPersistent():
                domain.undefineFlags(
                    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
                    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
                    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
                )
    cloud.libvirt.stop()


def _remove_network(cloud: Layout) -> None:
    network.remove_namespaces(cloud)
    network.remove_bridges(cloud)


STEPS: Mapping[str, Step] = {
    services.DATABASES: Step(databases.prepare),
    services.OVS_DATABASE: Step(network.make_database),
    services.BRIDGES: Step(network.make_bridges, _remove_network, ("ovs-vswitchd",)),
    services.LIBVIRT: Step(_start_libvirt, _stop_libvirt),
    services.CATALOG: Step(populate.catalog, needs=("keystone",)),
}

NEEDS = {name: node.needs for name, node in {**SERVICES, **STEPS}.items()}


def up(cloud: Layout, driver: str, extra: str, nova: str, *, reuse: bool) -> None:
    """Bring the cloud up. A failure leaves nothing but the logs.

    :param driver: nova's option ``compute_driver``
    :param extra: text of a configuration file of nova-compute
    :param nova: release of nova-compute
    :param reuse: whether to use a cloud that is up, with whatever driver
    :raises CloudError: the cloud does not come up, or is up already
    """
    with _locked(cloud):
        if is_up(cloud) and not reuse:
            raise CloudError(f"a cloud is up in {cloud.root}: reuse it (--reuse), or end it (down)")
        try:
            if not is_up(cloud):
                with timed("installation"):
                    cloud.check_access()
                    _check_ports()
                    _prepare(cloud, driver, extra, nova)
                with timed("image"):
                    guests.build("cloud")
            with timed("services"):
                _start_all(cloud)
            with timed("networks, flavors and image"):
                populate.resources(cloud)
        except BaseException:
            _down(cloud)
            raise


def down(cloud: Layout) -> None:
    """End the cloud, and keep only its logs, environments and filled databases.

    :raises CloudError: something else is left
    """
    with _locked(cloud), timed("end"):
        _down(cloud)


def compute(cloud: Layout, driver: str, extra: str, nova: str, *, reuse: bool = False) -> None:
    """Restart nova-compute with another driver, and wait until it is ready.

    Parameters are those of :func:`up`.

    :param reuse: whether to leave a nova-compute alone that runs with the same parameters
    :raises CloudError: no cloud is up, nova-compute does not come up, or the release changes while
        there are servers
    """
    with _locked(cloud):
        if not is_up(cloud):
            raise CloudError(f"no cloud is up in {cloud.root}")
        process = Process(cloud, _COMPUTE)
        files = configuration.compute_files(cloud, driver, extra)
        same_release = cloud.compute_venv.resolve().name == f"nova-{nova}"
        if reuse and same_release and _written(cloud, files) and process.pid:
            return
        if not same_release:
            _check_no_servers(cloud)
        folder = install.compute(cloud, nova)
        _write(cloud, files)
        with timed("end of nova-compute"):
            end_compute(cloud)
        if not same_release:
            # Without this link, the next call after a failure does all of this again.
            cloud.compute_venv.unlink(missing_ok=True)
            with timed("restart of nova's other services"):
                _forget_host(cloud)
                _write(cloud, configuration.files(cloud, nova))
                _restart(cloud, _CALLERS)
        install.use(cloud, folder)
        with timed(f"start of nova-compute with {driver}"):
            start_compute(cloud)


def _check_no_servers(cloud: Layout) -> None:
    """Refuse a host with servers of any project, as nova does not remove such a host.

    :raises CloudError: the host has a server, which may be deleted but not removed yet
    """
    hosts = populate.connect(cloud).compute.hypervisors(details=True, with_servers=True)
    uuids = [server["uuid"] for host in hosts for server in host.servers or ()]
    if uuids:
        raise CloudError(
            f"another release of nova-compute cannot take over servers: delete them first "
            f"(openstack server delete --force {' '.join(uuids)})"
        )


def _forget_host(cloud: Layout) -> None:
    """Remove the host from nova, which refuses an older nova-compute on a known host."""
    compute = populate.connect(cloud).compute
    for service in compute.services(binary=_COMPUTE):
        compute.delete_service(service, ignore_missing=False)
    databases.remove_deleted_services(cloud)


def _restart(cloud: Layout, names: Iterable[str]) -> None:
    for name in names:
        Process(cloud, name).stop(SERVICES[name].patience)
        SERVICES[name].start(cloud)
    for name in names:
        _wait(cloud, name)


def end_compute(cloud: Layout, number: signal.Signals = signal.SIGTERM) -> None:
    """End nova-compute by a signal, and wait for its end."""
    process = Process(cloud, _COMPUTE)
    if number != signal.SIGTERM and (pid := process.pid):
        os.kill(pid, number)
    process.stop(SERVICES[_COMPUTE].patience)


def start_compute(cloud: Layout) -> None:
    """Start nova-compute with its last configuration, and wait until it is ready."""
    SERVICES[_COMPUTE].start(cloud)
    _wait(cloud, _COMPUTE)
    _wait_for_host(cloud)


def is_up(cloud: Layout) -> bool:
    """Tell whether the cloud was brought up and not down; its services may be dead."""
    return cloud.state.exists()


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Log how long the block takes."""
    begin = time.monotonic()
    yield
    LOG.info("%s: %.1f s", what, time.monotonic() - begin)


@contextlib.contextmanager
def _locked(cloud: Layout) -> Iterator[None]:
    """Allow one command at a time."""
    cloud.root.mkdir(parents=True, exist_ok=True)
    with (cloud.root / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CloudError(f"another command is at work in {cloud.root}") from error
        yield


def _check_ports() -> None:
    for name, port in PORTS.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((ADDRESS, port))
            except OSError as error:
                raise CloudError(
                    f"port {port}, for {name}, is taken: end the server that listens there, "
                    f"such as a cloud in another directory"
                ) from error


def _prepare(cloud: Layout, driver: str, extra: str, nova: str) -> None:
    shutil.rmtree(cloud.log, ignore_errors=True)
    cloud.log.mkdir(mode=0o700)
    # Servers without root must enter this folder.
    cloud.state.mkdir()
    for name in _FOLDERS:
        (cloud.state / name).mkdir(parents=True)
    cloud.etc.mkdir(mode=0o700)
    install.control(cloud)
    install.use(cloud, install.compute(cloud, nova))
    _write(cloud, configuration.files(cloud, nova))
    _write(cloud, configuration.compute_files(cloud, driver, extra))
    # nova's web services look for this file only beside their configuration.
    paste = Path("nova/api-paste.ini")
    (cloud.etc / paste).symlink_to(cloud.control_venv / "etc" / paste)


def _write(cloud: Layout, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = cloud.etc / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


def _written(cloud: Layout, files: Mapping[str, str]) -> bool:
    return all((cloud.etc / name).read_text() == text for name, text in files.items())


def _start_all(cloud: Layout) -> None:
    ready: set[str] = set()

    def wait(name: str) -> None:
        if name in SERVICES and name not in ready:
            _wait(cloud, name)
        ready.add(name)

    for name in (
        name
        for level in services.levels(NEEDS)
        # Services start while steps run.
        for name in sorted(level, key=STEPS.__contains__)
    ):
        for needed in NEEDS[name]:
            wait(needed)
        if name in STEPS:
            with timed(name):
                STEPS[name].run(cloud)
        elif Process(cloud, name).pid is None:
            SERVICES[name].start(cloud)
    for name in SERVICES:
        wait(name)
    session = populate.connect(cloud)
    agents = sum(name.startswith("neutron-") and "agent" in name for name in SERVICES)
    eventually(
        "neutron's agents",
        _NOTICE_SECONDS,
        lambda: sum(agent.is_alive for agent in session.network.agents()) == agents,
    )
    _wait_for_host(cloud)


def _wait_for_host(cloud: Layout) -> None:
    compute = populate.connect(cloud).compute
    there = lambda: any(host.state == "up" for host in compute.hypervisors())  # noqa: E731
    eventually("nova's host", _NOTICE_SECONDS, there)


def _wait(cloud: Layout, name: str) -> None:
    service, process = SERVICES[name], Process(cloud, name)

    def ready() -> bool:
        if process.pid is None:
            raise CloudError(f"{name} has ended: {_tail(cloud, name)}")
        return service.ready(cloud)

    begin = time.monotonic()
    eventually(name, service.deadline, ready)
    LOG.info("  %s: %.1f s more", name, time.monotonic() - begin)


def _tail(cloud: Layout, name: str) -> str:
    logs = [path for kind in ("log", "out") if (path := cloud.log / f"{name}.{kind}").exists()]
    ends = [path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace") for path in logs]
    return "\n".join(ends)


def _down(cloud: Layout) -> None:
    if not is_up(cloud):
        return
    problems = []
    for level in reversed(services.levels(NEEDS)):
        running = [Process(cloud, name) for name in level if name in SERVICES]
        pids = [pid for process in running if (pid := process.pid)]
        end(pids, max((SERVICES[name].patience for name in level if name in SERVICES), default=0))
        for name in (name for name in level if name in STEPS):
            try:
                STEPS[name].undo(cloud)
            except (CloudError, libvirt.libvirtError) as error:
                problems.append(f"{name}: {error}")
    # Children of services may outlive them.
    end(marked(cloud), 5)
    problems += [f"process {pid}" for pid in marked(cloud)]
    problems += [f"interface {name}" for name in network.interfaces()]
    shutil.rmtree(cloud.state)
    if problems:
        raise CloudError(f"the cloud leaves: {', '.join(problems)}")
