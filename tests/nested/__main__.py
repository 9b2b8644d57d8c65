# SPDX-License-Identifier: Apache-2.0
"""Stands in for the Python interpreter that stestr runs tests with: it runs in a test host.

``PYTHON="python -m tests.nested" stestr run`` does all that ``stestr run`` does, in there. Tests
are listed here, which is quicker.
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

#: Variables that the tests may need, or beginnings of their names.
PASSED = ("COMPUTE_DRIVER_", "HOME", "LC_ALL", "PATH", "PYTHON", "XDG_CACHE_HOME")

#: Those that tests in a test host boot.
FLAVOURS = ("basic",)

#: What tests expect of their host. What is emulated is so twice.
GIVEN = {"COMPUTE_DRIVER_TEST_ACCELERATOR": "kvm", "COMPUTE_DRIVER_TEST_BOOT_SECONDS": "600"}


def main() -> int:
    """Run the interpreter's arguments in a test host, and its results to standard output."""
    parser = argparse.ArgumentParser(prog="python -m tests.nested", description=__doc__)
    parser.add_argument(
        "--logs",
        type=Path,
        metavar="FOLDER",
        help="where the console of the test host is logged; a new one if not given",
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

    :param command: of which the output is a subunit stream.
    :param stream: where it goes.
    :param console: see :func:`machine.running`.
    :raises HostError: the host failed, or the command, or did not run all tests.
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
        raise machine.HostError(f"of {len(missing)} tests nothing was heard: {' '.join(missing)}")


def job(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return a shell script that runs a command as it would run here."""
    variables = {k: v for k, v in environment.items() if k.startswith(PASSED)} | GIVEN
    exports = (f"export {name}={shlex.quote(value)}" for name, value in variables.items())
    return "\n".join([f"cd {shlex.quote(os.getcwd())} || exit", *exports, shlex.join(command), ""])


def wanted(command: Sequence[str]) -> list[str]:
    """Return the tests that stestr wants to be run, where it says so."""
    if "--load-list" not in command:
        return []
    return Path(command[command.index("--load-list") + 1]).read_text().splitlines()


@contextmanager
def console_log(folder: Path) -> Iterator[Path]:
    """Begin a log of which no other process has the name, however many hosts there are."""
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
