# SPDX-License-Identifier: Apache-2.0
"""The databases: synchronised once, and copied whenever the cloud comes up."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cloud import configuration, install
from tests.cloud.layout import Layout
from tests.cloud.processes import Process, eventually, run
from tests.cloud.services import SERVICES

_NAMES = ("glance", "keystone", "neutron", "nova_api", "nova_cell0", "nova_cell1", "placement")

#: Folders below ``state`` that belong together.
_KEPT = ("mariadb", "keystone")

_KEYSTONE = "keystone-manage --config-file={cloud.etc}/keystone/keystone.conf"
_KEYS = "--keystone-user=root --keystone-group=root"
_NOVA = "nova-manage --config-file={cloud.etc}/nova/nova.conf"
_NEUTRON = "{cloud.etc}/neutron/neutron.conf --config-file={cloud.etc}/neutron/ml2_conf.ini"

#: Commands that fill the databases: each list in order, the lists at the same time.
_COMMANDS = (
    (
        f"{_KEYSTONE} db_sync",
        f"{_KEYSTONE} fernet_setup {_KEYS}",
        f"{_KEYSTONE} credential_setup {_KEYS}",
        f"{_KEYSTONE} bootstrap",
        "glance-manage --config-file={cloud.etc}/glance/glance-api.conf db_sync",
        "placement-manage --config-file={cloud.etc}/placement/placement.conf db sync",
        f"{_NOVA} api_db sync",
        f"{_NOVA} cell_v2 map_cell0 --database_connection={{cell0}}",
        f"{_NOVA} db sync",
        f"{_NOVA} cell_v2 create_cell --name=cell1",
    ),
    (f"neutron-db-manage --config-file={_NEUTRON} upgrade heads",),
)


def prepare(cloud: Layout) -> None:
    """Put filled databases in place, before the database server runs."""
    made_from = [
        *configuration.files(cloud).values(),
        Path(__file__).read_text(),
        str(install.CONTROL),
    ]
    seed = cloud.root / "seeds" / install.digest(*made_from, install.CONSTRAINTS.read_text())
    if not seed.exists():
        _fill(cloud)
        shutil.rmtree(seed.parent, ignore_errors=True)
        for name in _KEPT:
            _copy(cloud.state / name, seed.with_suffix(".new") / name)
        seed.with_suffix(".new").rename(seed)
        return
    for name in _KEPT:
        _copy(seed / name, cloud.state / name)


def remove_deleted_services(cloud: Layout) -> None:
    """Remove the services that nova has only marked as deleted.

    For a server's host, nova's API would find the deleted service and refuse a resize.
    """
    statement = "DELETE FROM nova_cell1.services WHERE deleted"
    execute(cloud, statement, cloud.log / "services.log")


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target)
    target.chmod(0o700)


def _fill(cloud: Layout) -> None:
    data, log, environment = cloud.state / "mariadb", cloud.log / "databases", cloud.environment()
    log.mkdir(exist_ok=True)
    data.mkdir(mode=0o700)
    options = ("--no-defaults", "--user=root", f"--datadir={data}", "--skip-test-db")
    run(
        ["mariadb-install-db", *options, "--auth-root-authentication-method=socket"],
        log / "install.log",
        environment,
    )
    server = Process(cloud, "mariadb")
    service = SERVICES["mariadb"]
    service.start(cloud)
    try:
        eventually("mariadb", service.deadline, lambda: service.ready(cloud))
        _create(cloud, log / "create.log")
        with ThreadPoolExecutor() as pool:
            for done in [pool.submit(_run_all, cloud, commands) for commands in _COMMANDS]:
                done.result()
    finally:
        server.stop(service.patience)


def _create(cloud: Layout, log: Path) -> None:
    statements = [f"CREATE USER 'openstack'@'localhost' IDENTIFIED BY '{cloud.password}'"]
    for name in _NAMES:
        statements.append(f"CREATE DATABASE {name} CHARACTER SET utf8mb3")
        statements.append(f"GRANT ALL ON {name}.* TO 'openstack'@'localhost'")
    script = cloud.etc / "create.sql"
    script.write_text(";\n".join(statements))
    execute(cloud, f"source {script}", log)


def execute(cloud: Layout, statements: str, log: Path) -> None:
    """Run SQL statements as the database's root.

    :param statements: without secrets, as every user can read the list of processes
    """
    socket = f"--socket={cloud.database_socket}"
    client = ["mariadb", "--no-defaults", socket, "--user=root", f"--execute={statements}"]
    run(client, log, cloud.environment())


def _run_all(cloud: Layout, commands: tuple[str, ...]) -> None:
    cell0 = configuration.database(cloud, "nova_cell0")
    url = cloud.url("keystone", "/v3")
    bootstrap = {
        "OS_BOOTSTRAP_PASSWORD": cloud.password,
        "OS_BOOTSTRAP_PUBLIC_URL": url,
        # keystonemiddleware asks for this one.
        "OS_BOOTSTRAP_INTERNAL_URL": url,
        "OS_BOOTSTRAP_REGION_ID": "RegionOne",
    }
    for command in commands:
        words = [word.format(cloud=cloud, cell0=cell0) for word in command.split()]
        words[0] = f"{cloud.control_venv}/bin/{words[0]}"
        log = cloud.log / "databases" / f"{Path(words[0]).name}.log"
        run(words, log, {**cloud.environment(), **bootstrap})
