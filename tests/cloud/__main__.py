# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.cloud``: a whole OpenStack on this machine, on loopback."""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
from pathlib import Path

from tests.cloud import layout, lifecycle, results, table
from tests.cloud.configuration import DRIVER
from tests.cloud.errors import CloudError
from tests.cloud.install import NOVA_RELEASES
from tests.cloud.layout import Layout
from tests.cloud.processes import Process
from tests.cloud.services import SERVICES
from tests.guests import GuestBuildError


def main() -> int:
    """Run the command line and return its exit status."""
    arguments = parser().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%T")
    for noisy in ("keystoneauth", "openstack", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        return int(VERBS[arguments.verb](Layout(layout.default()), arguments) or 0)
    except (CloudError, GuestBuildError) as error:
        print(f"tests.cloud: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.cloud", description=__doc__)
    verbs = made.add_subparsers(dest="verb", required=True)
    up = verbs.add_parser("up", help="bring the cloud up")
    up.add_argument("--reuse", action="store_true", help="use a cloud that is up")
    up.add_argument("--driver", default=DRIVER, help="nova's option compute_driver")
    run = verbs.add_parser(
        "run",
        help="run a command in the cloud; afterwards bring down a cloud that was not up before",
    )
    run.add_argument("command", nargs=argparse.REMAINDER, help="the command, after --")
    compute = verbs.add_parser("compute", help="restart nova-compute with another driver")
    compute.add_argument("driver", help="nova's option compute_driver")
    for verb in (up, compute):
        verb.add_argument("--extra", type=Path, help="one more configuration file of nova-compute")
        verb.add_argument("--nova", choices=NOVA_RELEASES, default=NOVA_RELEASES[0])
    tables = verbs.add_parser("table", help="make the documentation's table from two results")
    tables.add_argument("ours", type=Path, help="results of this project's driver, CSV")
    tables.add_argument("theirs", type=Path, help="results of nova's own driver, CSV")
    verbs.add_parser("down", help="end the cloud and remove everything but the logs")
    verbs.add_parser("status", help="show the services; fail unless all run")
    verbs.add_parser("env", help="print the administrator's variables, for a shell")
    return made


def _up(cloud: Layout, arguments: argparse.Namespace) -> None:
    with lifecycle.timed("all"):
        lifecycle.up(
            cloud, arguments.driver, _extra(arguments), arguments.nova, reuse=arguments.reuse
        )


def _run(cloud: Layout, arguments: argparse.Namespace) -> int:
    results.forget()
    was_up = lifecycle.is_up(cloud)
    lifecycle.up(cloud, DRIVER, "", NOVA_RELEASES[0], reuse=True)
    try:
        return subprocess.run(arguments.command[1:], check=False).returncode
    finally:
        if not was_up:
            lifecycle.down(cloud)


def _compute(cloud: Layout, arguments: argparse.Namespace) -> None:
    lifecycle.compute(cloud, arguments.driver, _extra(arguments), arguments.nova)


def _extra(arguments: argparse.Namespace) -> str:
    return arguments.extra.read_text() if arguments.extra else ""


def _table(_cloud: Layout, arguments: argparse.Namespace) -> None:
    table.write(arguments.ours, arguments.theirs)


def _down(cloud: Layout, _arguments: argparse.Namespace) -> None:
    lifecycle.down(cloud)


def _status(cloud: Layout, _arguments: argparse.Namespace) -> bool:
    if not lifecycle.is_up(cloud):
        raise CloudError(f"no cloud is up in {cloud.root}")
    pids = {name: Process(cloud, name).pid for name in SERVICES}
    for name, pid in pids.items():
        print(f"{name:28}{pid or 'ended'}")
    return not all(pids.values())


def _env(cloud: Layout, _arguments: argparse.Namespace) -> None:
    for name, value in cloud.credentials().items():
        print(f"export OS_{name.upper()}={value}")


VERBS = {
    "up": _up,
    "down": _down,
    "run": _run,
    "compute": _compute,
    "table": _table,
    "status": _status,
    "env": _env,
}

if __name__ == "__main__":
    sys.exit(main())
