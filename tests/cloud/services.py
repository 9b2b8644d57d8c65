# SPDX-License-Identifier: Apache-2.0
"""The table of services: command, readiness and needs."""

from __future__ import annotations

import contextlib
import graphlib
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import requests

from tests.cloud.layout import ADDRESS, PORTS, Layout
from tests.cloud.processes import Process

#: Whether a service is ready.
Ready = Callable[[Layout], bool]


@dataclass(frozen=True)
class Service:
    """A process that runs as long as the cloud.

    :param command: with ``{...}`` for attributes of the layout
    :param environment: variables besides those of all services, also with ``{...}``
    :param ready: whether the service can be used
    :param needs: names of services and steps that must be ready before the start
    :param deadline: seconds that the service may take to be ready
    :param patience: seconds that the service may take to end
    """

    name: str
    command: tuple[str, ...]
    ready: Ready
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    deadline: float = 120.0
    patience: float = 10.0

    def start(self, cloud: Layout) -> None:
        words = [word.format(cloud=cloud) for word in self.command]
        own = {name: text.format(cloud=cloud) for name, text in self.environment.items()}
        Process(cloud, self.name).start(words, {**cloud.environment(), **own})


def levels(needs: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return names level by level: a name only needs names of the levels before.

    :raises ValueError: a name needs an unknown name, or itself
    """
    for name, wanted in needs.items():
        if missing := set(wanted) - needs.keys():
            raise ValueError(f"{name} needs unknown names: {', '.join(sorted(missing))}")
    sorter = graphlib.TopologicalSorter(needs)
    sorter.prepare()
    order = []
    while sorter.is_active():
        order.append(sorted(sorter.get_ready()))
        sorter.done(*order[-1])
    return order


def listens(name: str) -> Ready:
    """Return a check that the service's port takes connections."""

    def ready(_cloud: Layout) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((ADDRESS, PORTS[name]), 5):
            return True
        return False

    return ready


def answers(name: str) -> Ready:
    """Return a check that the service answers HTTP requests without a server error."""

    def ready(cloud: Layout) -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(cloud.url(name, "/"), timeout=5).status_code < 500
        return False

    return ready


def connects(path: str) -> Ready:
    """Return a check that a unix socket below ``state`` takes connections."""

    def ready(cloud: Layout) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.connect(str(cloud.state / path))
            return True
        return False

    return ready


def says(log: str, text: str) -> Ready:
    """Return a check that a log has a text."""

    def ready(cloud: Layout) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return text in (cloud.log / log).read_text(errors="replace")
        return False

    return ready


def at_once(_cloud: Layout) -> bool:
    """Report a service as ready: nothing waits for it."""
    return True


def _wsgi(name: str, module: str, needs: tuple[str, ...], **environment: str) -> Service:
    """Return a web service in uWSGI, with two processes."""
    options = {
        # An open connection would block one of the few threads.
        "--add-header": "Connection: close",
        "--buffer-size": "65535",
        # Image uploads come in chunks of this size.
        "--chunked-input-limit": "67108864",
        "--chunked-input-timeout": "60",
        "--hook-master-start": "unix_signal:15 gracefully_kill_them_all",
        "--http-socket": f"{ADDRESS}:{PORTS[name]}",
        "--listen": "100",
        "--module": module,
        "--post-buffering": "0",
        "--processes": "2",
        "--socket-timeout": "60",
        "--threads": "4",
        # Seconds for a worker that still serves a request at the end.
        "--worker-reload-mercy": "5",
    }
    flags = ("--die-on-term", "--enable-threads", "--lazy-apps", "--master", "--need-app")
    pairs = (word for pair in options.items() for word in pair)
    return Service(
        name,
        ("{cloud.control_venv}/bin/uwsgi", *flags, *pairs),
        answers(name),
        needs,
        environment,
    )


def _program(
    name: str,
    configuration: tuple[str, ...],
    needs: tuple[str, ...],
    *,
    ready: Ready = at_once,
    program: str | None = None,
    venv: str = "control-venv",
) -> Service:
    """Return a program of nova or neutron, with its configuration files."""
    files = (f"--config-file={{cloud.etc}}/{file}" for file in configuration)
    log = f"--log-file={{cloud.log}}/{name}.log"
    command = (f"{{cloud.state}}/{venv}/bin/{program or name}", *files, log)
    return Service(name, command, ready, needs)


_NEUTRON = "neutron/neutron.conf"
_NEUTRON_SERVER = (_NEUTRON, "neutron/ml2_conf.ini")
_NOVA = ("nova/nova.conf",)
_NOVA_COMPUTE = ("nova/nova-cpu.conf", "nova/nova-compute.conf", "nova/extra.conf")

#: Names of steps; see ``lifecycle``.
CATALOG = "catalog"
DATABASES = "databases"
BRIDGES = "bridges"
LIBVIRT = "libvirt"
OVS_DATABASE = "ovs-database"

_BEHIND = ("mariadb", "rabbitmq", "memcached")
_AGENT = ("neutron-rpc-server", BRIDGES)

_ERLANG = {
    "ERL_EPMD_ADDRESS": ADDRESS,
    "ERL_EPMD_PORT": str(PORTS["epmd"]),
}

SERVICES: Mapping[str, Service] = {
    service.name: service
    for service in (
        Service(
            "mariadb",
            (
                "mariadbd",
                "--no-defaults",
                "--user=root",
                "--datadir={cloud.state}/mariadb",
                "--socket={cloud.database_socket}",
                "--pid-file={cloud.state}/mariadb.pid",
                "--skip-networking",
                "--character-set-server=utf8mb3",
                "--max-connections=500",
                "--innodb-buffer-pool-size=256M",
                "--innodb-log-file-size=16M",
                # The database need not survive a power failure.
                "--innodb-flush-log-at-trx-commit=0",
                "--innodb-flush-method=nosync",
            ),
            connects("mariadb.sock"),
            (DATABASES,),
            patience=60,
        ),
        Service(
            "memcached",
            ("memcached", "-u", "root", "-l", ADDRESS, "-p", str(PORTS["memcached"])),
            listens("memcached"),
        ),
        Service("epmd", ("epmd", "-address", ADDRESS), listens("epmd"), environment=_ERLANG),
        Service(
            "rabbitmq",
            ("/usr/lib/rabbitmq/bin/rabbitmq-server",),
            listens("rabbitmq"),
            ("epmd",),
            {
                **_ERLANG,
                "HOME": "{cloud.state}/rabbitmq",
                "RABBITMQ_CONFIG_FILE": "{cloud.etc}/rabbitmq/rabbitmq",
                "RABBITMQ_DIST_PORT": str(PORTS["erlang"]),
                "RABBITMQ_ENABLED_PLUGINS_FILE": "{cloud.etc}/rabbitmq/enabled_plugins",
                "RABBITMQ_LOG_BASE": "{cloud.log}",
                "RABBITMQ_MNESIA_BASE": "{cloud.state}/rabbitmq/mnesia",
                "RABBITMQ_NODENAME": "cloud@localhost",
                "RABBITMQ_PID_FILE": "{cloud.state}/rabbitmq/pid",
                # By default idle schedulers spin on processors that guests need.
                "RABBITMQ_SERVER_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none "
                "-kernel inet_dist_use_interface {{127,0,0,1}}",
            },
            patience=30,
        ),
        Service(
            "ovsdb-server",
            (
                "ovsdb-server",
                "{cloud.ovs}/conf.db",
                "--remote=punix:{cloud.ovs}/db.sock",
                "--pidfile={cloud.ovs}/ovsdb-server.pid",
                "--log-file={cloud.log}/ovsdb-server.log",
                "-vconsole:off",
            ),
            connects("ovs/db.sock"),
            (OVS_DATABASE,),
        ),
        Service(
            "ovs-vswitchd",
            (
                "ovs-vswitchd",
                "{cloud.ovs_connection}",
                "--pidfile={cloud.ovs}/ovs-vswitchd.pid",
                "--log-file={cloud.log}/ovs-vswitchd.log",
                "-vconsole:off",
            ),
            at_once,
            ("ovsdb-server",),
        ),
        Service(
            "ovs-taps",
            ("{cloud.control_venv}/bin/python", f"{Path(__file__).parent}/taps.py"),
            at_once,
            (BRIDGES,),
        ),
        _wsgi(
            "keystone",
            "keystone.wsgi.api:application",
            ("mariadb", "memcached"),
            OS_KEYSTONE_CONFIG_DIR="{cloud.etc}/keystone",
        ),
        _wsgi(
            "placement",
            "placement.wsgi.api:application",
            ("mariadb", CATALOG),
            OS_PLACEMENT_CONFIG_DIR="{cloud.etc}/placement",
        ),
        _wsgi(
            "glance",
            "glance.wsgi.api:application",
            ("mariadb", CATALOG),
            OS_GLANCE_CONFIG_DIR="{cloud.etc}/glance",
        ),
        _wsgi(
            "neutron-api",
            "neutron.wsgi.api:application",
            (*_BEHIND, CATALOG),
            OS_NEUTRON_CONFIG_DIR="{cloud.etc}/neutron",
            OS_NEUTRON_CONFIG_FILES="neutron.conf;ml2_conf.ini",
        ),
        _wsgi(
            "nova-api",
            "nova.wsgi.osapi_compute:application",
            (*_BEHIND, CATALOG),
            OS_NOVA_CONFIG_DIR="{cloud.etc}/nova",
        ),
        _wsgi(
            "nova-metadata",
            "nova.wsgi.metadata:application",
            (*_BEHIND, CATALOG),
            OS_NOVA_CONFIG_DIR="{cloud.etc}/nova",
        ),
        _program("nova-conductor", _NOVA, (*_BEHIND, CATALOG)),
        _program("nova-scheduler", _NOVA, (*_BEHIND, "placement")),
        _program("nova-novncproxy", _NOVA, _BEHIND, ready=listens("nova-novncproxy")),
        _program("nova-spicehtml5proxy", _NOVA, _BEHIND, ready=listens("nova-spicehtml5proxy")),
        _program("nova-serialproxy", _NOVA, _BEHIND, ready=listens("nova-serialproxy")),
        _program(
            "neutron-rpc-server",
            _NEUTRON_SERVER,
            (*_BEHIND, CATALOG),
            # The last line of the log before it listens; earlier calls of agents are lost.
            ready=says("neutron-rpc-server.log", "Selected multiprocessing start method"),
        ),
        _program("neutron-periodic-workers", _NEUTRON_SERVER, (*_BEHIND, CATALOG)),
        _program(
            "neutron-openvswitch-agent",
            (_NEUTRON, "neutron/openvswitch_agent.ini"),
            _AGENT,
        ),
        _program("neutron-dhcp-agent", (_NEUTRON, "neutron/dhcp_agent.ini"), _AGENT),
        _program("neutron-l3-agent", (_NEUTRON, "neutron/l3_agent.ini"), _AGENT),
        _program("neutron-metadata-agent", (_NEUTRON, "neutron/metadata_agent.ini"), _AGENT),
        _program(
            "nova-compute",
            _NOVA_COMPUTE,
            ("placement", "neutron-api", "glance", "nova-conductor", BRIDGES, LIBVIRT),
            # nova-compute writes this line after it has updated placement and listens.
            ready=says("nova-compute.log", "Join ServiceGroup membership"),
            venv="compute-venv",
        ),
    )
}
