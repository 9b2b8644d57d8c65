# SPDX-License-Identifier: Apache-2.0
"""Replaces the Python interpreter that stestr starts: the interpreter runs in a test host.

``PYTHON="python -m tests.nested" stestr run`` runs the tests in the test host. The list of tests is
made on this machine, which is faster.
"""

from __future__ import annotations

import argparse
import fcntl
import itertools
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import subunit
import testtools

from tests import guests
from tests.guests import GuestBuildError
from tests.nested import image, machine, results

#: Names of variables that the tests may need, or beginnings of such names.
PASSED = ("COMPUTE_DRIVER_", "HOME", "LC_ALL", "PATH", "PYTHON", "XDG_CACHE_HOME")

#: Flavours of the guests that tests boot in a test host.
FLAVOURS = ("basic",)

#: What the tests expect of a test host. Guests without KVM are emulated twice.
GIVEN = {"COMPUTE_DRIVER_TEST_ACCELERATOR": "kvm", "COMPUTE_DRIVER_TEST_BOOT_SECONDS": "600"}


def main() -> int:
    """Run the interpreter's arguments in a test host, and its results to standard output."""
    parser = argparse.ArgumentParser(prog="python -m tests.nested", description=__doc__)
    parser.add_argument(
        "--logs",
        type=Path,
        metavar="FOLDER",
        help="for the log of the test host's console; a new one by default",
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="the interpreter's, after --")
    options = parser.parse_args()
    command = [sys.executable, *options.arguments[1:]]
    if "--list" in command:
        os.execv(sys.executable, command)
    stream = subunit.StreamResultToBytes(sys.stdout.buffer)
    with console_log(options.logs or Path(tempfile.mkdtemp(prefix="nested-"))) as console:
        print(f"the test host's console is logged in {console}", file=sys.stderr)
        try:
            run(command, stream, console)
        except machine.ReaderGoneError:
            return 1
        except (machine.HostError, GuestBuildError) as error:
            results.report_failure(stream, str(error), console.read_text(errors="replace"))
    return 0


def run(command: Sequence[str], stream: testtools.StreamResult, console: Path) -> None:
    """Run a command in a test host.

    :param command: writes a subunit stream.
    :param stream: gets the events of that stream.
    :param console: see :func:`machine.running`.
    :raises HostError: the host or the command fails, or tests are missing from the stream.
    """
    # The test host has no network to build guests from.
    for flavour in FLAVOURS:
        guests.build(flavour)
    ended = results.Ended()
    with machine.running(image.build(), job(command, os.environ), console) as host:
        source = subunit.ByteStreamToStreamResult(host.output, non_subunit_name="stdout")
        source.run(testtools.CopyStreamResult([stream, ended]))
        status = host.status()
    if status != 0:
        raise machine.HostError(f"{shlex.join(command)} has ended with status {status}")
    missing = ended.missing(wanted(command))
    if missing:
        raise machine.HostError(f"the results lack {len(missing)} tests: {' '.join(missing)}")


def job(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return a shell script that runs a command with this process's variables and directory."""
    variables = {k: v for k, v in environment.items() if k.startswith(PASSED)} | GIVEN
    exports = (f"export {name}={shlex.quote(value)}" for name, value in variables.items())
    return "\n".join([f"cd {shlex.quote(os.getcwd())} || exit", *exports, shlex.join(command), ""])


def wanted(command: Sequence[str]) -> list[str]:
    """Return the tests of the list that stestr gives; empty without a list."""
    if "--load-list" not in command:
        return []
    return Path(command[command.index("--load-list") + 1]).read_text().splitlines()


@contextmanager
def console_log(folder: Path) -> Iterator[Path]:
    """Begin a log under a name that no other test host uses."""
    for number in itertools.count(1):
        path = folder / f"nested-{number}.log"
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            file.truncate(0)
            yield path
            return


if __name__ == "__main__":
    sys.exit(main())
