# SPDX-License-Identifier: Apache-2.0
"""Operations in bad surroundings: environment, standard streams, limits, file systems, clock.

Each command works, or fails with one clear line and the right exit status, and leaves nothing half
made. The test prints a table of all outcomes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from tests.functional import tables
from tests.functional.command import COMMAND, CommandLine, private_state
from tests.outcome import Outcome

#: Every message of a command is one such line.
_MESSAGES = re.compile(r"(compute-driver: [^\n]+\n)?")
_UNCLEAR = ("Traceback", "unexpected", "internal error")

#: The beginning of messages that are no errors.
_WARNING = "compute-driver: warning: "

#: The command, which each fault runs as "$@".
OPERATIONS = {
    "config validate": ("config", "validate"),
    "list": ("list",),
    "spawn": ("spawn", "g", "--disk", "0.01", "--memory", "32", "--nic", "none"),
    "destroy": ("destroy", "g"),
}
DONE, FAILED, USAGE, NOT_WRITTEN, NO_READER = 0, 1, 2, 3, 141
#: Exit statuses of an operation that has taken effect.
_EFFECTIVE = (DONE, NOT_WRITTEN, NO_READER)


@dataclasses.dataclass(frozen=True)
class Fault:
    """Surroundings in which a command runs.

    :param shell: runs the command ``"$@"``.
    :param statuses: the exit statuses of the operations that do not work.
    """

    shell: str
    statuses: Mapping[str, int] = dataclasses.field(default_factory=dict)


def _each(status: int, *names: str) -> dict[str, int]:
    return dict.fromkeys(names or OPERATIONS, status)


_PRINTING = ("config validate", "spawn")
_TABLES = ("list", "spawn")

ENVIRONMENT = {
    "no HOME": Fault('exec env -u HOME "$@"'),
    "relative HOME": Fault('HOME=home exec "$@"'),
    "relative XDG directories": Fault(
        'XDG_DATA_HOME=a XDG_CONFIG_HOME=b XDG_CACHE_HOME=c XDG_RUNTIME_DIR=d exec "$@"'
    ),
    "empty PATH": Fault('PATH= exec "$@"'),
    "PATH without programs": Fault('PATH=/nonexistent:. exec "$@"'),
    "TMPDIR missing": Fault('TMPDIR=/nonexistent exec "$@"'),
    "C locale, no UTF-8": Fault(
        'LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 PYTHONIOENCODING=ascii exec "$@"'
    ),
    "unknown locale": Fault('exec env LC_ALL=xx_YY.UTF-8 LANG=xx "$@"'),
    "odd terminal": Fault('COLUMNS=x LINES=-1 TERM=nonsense NO_COLOR=1 exec "$@"'),
    "odd table width": Fault('CLIFF_MAX_TERM_WIDTH=wide exec "$@"', _each(USAGE, *_TABLES)),
    "odd table fit": Fault('CLIFF_FIT_WIDTH=yes exec "$@"', _each(USAGE, *_TABLES)),
    "time without end": Fault('OS_HYPERVISOR__START_TIMEOUT=inf exec "$@"', _each(USAGE)),
    "no number": Fault('OS_HYPERVISOR__STOP_TIMEOUT=nan exec "$@"', _each(USAGE)),
    "umask 0777": Fault('umask 0777; exec "$@"'),
    "umask 0": Fault('umask 0; exec "$@"'),
    "removed directory": Fault('cd "$(mktemp -d)"; rmdir "$PWD"; exec "$@"'),
}

STREAMS = {
    "stdin closed": Fault('exec "$@" <&-'),
    "stdout closed": Fault('exec "$@" >&-'),
    "stderr closed": Fault('exec "$@" 2>&-'),
    "all closed": Fault('exec "$@" <&- >&- 2>&-'),
    "stdout full": Fault('exec "$@" >/dev/full', _each(NOT_WRITTEN, *_PRINTING)),
    "stderr full": Fault('exec "$@" 2>/dev/full'),
    "both full": Fault('exec "$@" >/dev/full 2>&1', _each(NOT_WRITTEN, *_PRINTING)),
    # The reader is gone before the command writes.
    "stdout without reader": Fault(
        '{ sleep 0.1; exec "$@"; } | : ; exit ${PIPESTATUS[0]}',
        _each(NO_READER, *_PRINTING),
    ),
    "slow reader": Fault('"$@" | { sleep 0.5; cat; }; exit ${PIPESTATUS[0]}'),
}

LIMITS = {
    "16 open files": Fault('ulimit -n 16; exec "$@"', _each(FAILED, *_TABLES, "destroy")),
    "64 open files": Fault('ulimit -n 64; exec "$@"'),
    "16 open files, soft": Fault('ulimit -Sn 16; exec "$@"'),
}

#: Every file that the driver has made is of a time that has not come yet.
CLOCK = {
    "clock set back": Fault(
        'find "$OS_HYPERVISOR__STATE_PATH" -exec touch --no-dereference --date "+1 month" {} +;'
        ' exec "$@"'
    ),
}

#: File systems of the state directory, and the exit status of commands that need the directory.
#: The embedded libvirt of some releases has room enough for a list.
SMALL = {"4 KiB": ("size=4k", FAILED), "40 KiB": ("size=40k", FAILED)} | {
    f"{inodes} inodes": (f"size=64m,nr_inodes={inodes}", FAILED) for inodes in (4, 16, 24, 40)
}
READ_ONLY = {"read-only": ("size=64m,ro", USAGE)}

#: Operations on a guest whose file system has become full, and their exit statuses.
FULL = {
    ("list",): DONE,
    ("spawn", "h", "--disk", "0.01", "--memory", "32", "--nic", "none"): FAILED,
    ("reboot", "--hard", "g"): FAILED,
    ("snapshot", "g", "{}/snapshot.qcow2"): FAILED,
    ("resize", "g", "--memory", "48"): FAILED,
    ("stop", "g", "--timeout", "0"): DONE,
    ("start", "g"): FAILED,
    ("destroy", "g"): DONE,
    ("audit",): DONE,
}
STOP = """
import sys
from pathlib import Path
from compute_driver.libvirt.daemon import EmbeddedDaemon
EmbeddedDaemon(Path(sys.argv[1])).stop()
"""


def show(name: str, cells: Iterable[str]) -> None:
    """Print one line of a table."""
    tables.show("surroundings", [(name, *cells)])


def said(outcome: Outcome) -> str:
    """Return the cell of an outcome."""
    lines = outcome.err.count("\n")
    return f"status {outcome.status}, {lines} line" if outcome.status or lines else "works"


class Surroundings(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        if os.geteuid() != 0:
            raise unittest.SkipTest("the tests' own state directory is root's")
        self.state = self.enter(private_state())
        self.sound = CommandLine.of_root(self.state)

    def enter(self, manager: contextlib.AbstractContextManager[Path]) -> Path:
        result = manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)
        return result

    def exists(self) -> bool:
        """Tell whether the guest of the table has files."""
        return any(path.is_dir() for path in (self.state / "instances").glob("*"))

    def show_outcomes(self, faults: Mapping[str, Fault]) -> None:
        """Try all operations under all faults, and print the table."""
        show("", OPERATIONS)
        whole = [*faults.items()]
        for name, fault in tables.rows(whole, whole[::3]):
            show(name, self.row(name, fault))
        self.sound.nothing_is_left()

    def row(self, name: str, fault: Fault) -> Iterator[str]:
        """Try all operations under one fault, and yield their outcomes."""
        line = dataclasses.replace(self.sound, command=["bash", "-c", fault.shell, "x", *COMMAND])
        for operation, words in OPERATIONS.items():
            if operation == "destroy" and not self.exists():
                self.sound.done(*OPERATIONS["spawn"])
            with self.subTest(f"{operation}: {name}"):
                outcome = line.run(*words)
                self.assertEqual(fault.statuses.get(operation, 0), outcome.status, outcome.err)
                self.assertRegex(outcome.err, rf"\A{_MESSAGES.pattern}\Z")
                self.assertFalse([word for word in _UNCLEAR if word in outcome.err], outcome.err)
                effective = outcome.status in _EFFECTIVE
                if operation in ("spawn", "destroy"):
                    self.assertEqual((operation == "spawn") == effective, self.exists())
                yield said(outcome)
        if self.exists():
            self.sound.done("destroy", "g")

    def test_environment(self) -> None:
        self.show_outcomes(ENVIRONMENT)

    def test_standard_streams(self) -> None:
        self.show_outcomes(STREAMS)

    def test_open_files(self) -> None:
        self.show_outcomes(LIMITS)

    def test_clock(self) -> None:
        self.show_outcomes(CLOCK)


class FileSystems(unittest.TestCase):
    """The state directory is a file system of its own, which only these commands see."""

    def setUp(self) -> None:
        super().setUp()
        if os.geteuid() != 0:
            raise unittest.SkipTest("only root can mount")
        place = tempfile.TemporaryDirectory(prefix="cd-", dir="/var/tmp")
        self.addCleanup(place.cleanup)
        self.state = Path(place.name)

    @contextlib.contextmanager
    def mounted(self, options: str) -> Iterator[CommandLine]:
        """Return the command line inside of a namespace with the file system."""
        script = f'mount -t tmpfs -o {options} none "$0" && echo && exec sleep infinity'
        unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
        with subprocess.Popen([*unshare, str(self.state)], stdout=subprocess.PIPE) as holder:
            try:
                assert holder.stdout is not None
                self.assertEqual(b"\n", holder.stdout.readline())
                enter = ["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt"]
                line = CommandLine.of_root(self.state)
                try:
                    yield dataclasses.replace(line, command=[*enter, *COMMAND])
                finally:
                    # The start lock of a stop is a new file if no command could make the file.
                    with contextlib.suppress(OSError):
                        Path(f"/proc/{holder.pid}/root{self.state}/fill").unlink()
                    stop = [*enter, sys.executable, "-c", STOP, str(self.state)]
                    subprocess.run(stop, env=line.variables, stderr=subprocess.DEVNULL, check=False)
            finally:
                holder.kill()

    def run_clearly(self, line: CommandLine, words: Sequence[str], *statuses: int) -> str:
        outcome = line.run(*words)
        with self.subTest(words):
            self.assertIn(outcome.status, statuses, outcome.err)
            self.assertRegex(outcome.err, r"\A(compute-driver: [^\n]+\n)*\Z")
            told = "compute-driver: " in outcome.err.replace(_WARNING, "")
            self.assertEqual(bool(outcome.status), told)
            self.assertFalse([word for word in _UNCLEAR if word in outcome.err], outcome.err)
        return said(outcome)

    def test_too_small_or_read_only(self) -> None:
        show("", OPERATIONS)
        for name, (options, status) in {**SMALL, **READ_ONLY}.items():
            with self.subTest(name), self.mounted(options) as line:
                statuses = {"config validate": [DONE]}
                if name in SMALL:
                    statuses["list"] = [DONE, status]
                cells = [
                    self.run_clearly(line, words, *statuses.get(operation, [status]))
                    for operation, words in OPERATIONS.items()
                ]
                show(name, cells)

    def test_full_while_a_guest_runs(self) -> None:
        with self.mounted("size=8m") as line:
            line.done(*OPERATIONS["spawn"])
            # More than the file system has, and little enough for any other file system.
            fill = ["dd", "if=/dev/zero", f"of={self.state}/fill", "bs=4k", "count=2048"]
            full = subprocess.run([*line.command[:2], *fill], capture_output=True, check=False)
            self.assertIn(b"No space left", full.stderr)
            for words, status in FULL.items():
                cell = self.run_clearly(line, [word.format(self.state) for word in words], status)
                show(" ".join(words)[:26], [cell])
