# SPDX-License-Identifier: Apache-2.0
"""Runs the installed command line in a process of its own, on this process's host."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from compute_driver.libvirt.daemon import EmbeddedDaemon
from tests.functional import base
from tests.outcome import Outcome

#: Seconds that a command may take, including a guest's boot.
DEADLINE = base.BOOT_TIMEOUT

_SCRIPT = Path(sys.executable).with_name("compute-driver")
COMMAND = [str(_SCRIPT)] if _SCRIPT.exists() else [sys.executable, "-m", "compute_driver.cmd.main"]

#: A command would inherit ignored signals from the starter of the tests (nohup, a shell's "&").
_HEEDFUL = ["env", "--default-signal=HUP,INT,TERM"]

_LINE = re.compile(r"compute-driver: [^\n]+\n")


@dataclasses.dataclass(frozen=True)
class CommandLine:
    """Runs commands on one state directory, without the machine's configuration.

    :param state: the state directory.
    :param variables: environment of the commands, without the state directory.
    :param command: the program, with the words before its own arguments.
    :param directory: working directory of the commands; None means the test's.
    """

    state: Path
    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    command: Sequence[str] = tuple(COMMAND)
    directory: Path | None = None

    @classmethod
    def of_root(cls, state: Path | None = None, **variables: str) -> CommandLine:
        """Return the command line with the caller's environment.

        :param state: None means the state directory of this process's host.
        :param variables: more variables, which take precedence.
        """
        clean = {k: v for k, v in os.environ.items() if not k.startswith("OS_HYPERVISOR__")}
        # With virt_type = qemu the driver does not warn of emulation on stderr.
        own = {"OS_HYPERVISOR__VIRT_TYPE": base.VIRT_TYPE, "LC_ALL": "C.UTF-8", "TERM": "xterm"}
        return cls(state or base.state_path(), clean | own | variables)

    def run(self, *words: str, timeout: float = DEADLINE) -> Outcome:
        """Run a command to its end."""
        return ended(self.start(*words, stdin=subprocess.DEVNULL), timeout)

    def done(self, *words: str, timeout: float = DEADLINE) -> Outcome:
        """Run a command that must succeed without a message on stderr."""
        outcome = self.run(*words, timeout=timeout)
        if outcome.status or outcome.err:
            raise AssertionError(f"{words}: status {outcome.status}: {outcome.err}")
        return outcome

    def refused(self, status: int, *words: str) -> str:
        """Run a command that must fail with one line on stderr; return that line."""
        outcome = self.run(*words)
        if (outcome.status, outcome.out) != (status, "") or not _LINE.fullmatch(outcome.err):
            raise AssertionError(f"{words}: status {outcome.status}: {outcome.err}")
        return outcome.err.removeprefix("compute-driver: ").rstrip("\n")

    def start(self, *words: str, **streams: Any) -> subprocess.Popen[bytes]:
        """Start a command in its own session; by default stdin, stdout and stderr are pipes."""
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(
            [*_HEEDFUL, *self.command, f"--config-file={os.devnull}", *words],
            env={**self.variables, "OS_HYPERVISOR__STATE_PATH": str(self.state)},
            cwd=self.directory,
            start_new_session=True,
            **{**pipes, **streams},
        )

    def spawn(self, name: str, *words: str) -> Outcome:
        """Spawn a small guest from the basic test image."""
        return self.done(*spawn_words(name, *words))

    def nothing_is_left(self) -> None:
        """Check that no guest is listed, the audit has no findings, and no file is left."""
        listed = [self.done(verb, "-f", "json").json for verb in ("list", "audit")]
        left = [str(path) for path in base.entries(self.state / "instances")]
        if any((*listed, left)):
            raise AssertionError(f"left: {listed} {left}")

    def names(self) -> list[str]:
        """Return the names of all guests."""
        return self.done("list", "-f", "value", "-c", "Name").out.split()


def spawn_words(name: str, *words: str) -> tuple[str, ...]:
    """Return the words that spawn a small guest from the basic test image."""
    return ("spawn", name, "--image", base.disk_image().location, "--memory", "192", *words)


def ended(process: subprocess.Popen[bytes], timeout: float = DEADLINE) -> Outcome:
    """Return the outcome of a command, which is killed after these seconds."""
    with process:
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return Outcome(process.returncode, out or b"", (err or b"").decode())


class Terminal:
    """A pseudo-terminal with a command on it."""

    def __init__(self) -> None:
        self._keyboard, self.slave = pty.openpty()
        self._before = termios.tcgetattr(self.slave)
        self._seen = b""

    def close(self) -> None:
        os.close(self._keyboard)
        os.close(self.slave)

    @property
    def is_raw(self) -> bool:
        """Whether the terminal passes on every key at once."""
        return termios.tcgetattr(self.slave) != self._before

    def type(self, keys: bytes) -> None:
        os.write(self._keyboard, keys)

    def expect(self, text: bytes) -> bytes:
        """Return the output since the last call, up to *text* at least."""
        deadline = time.monotonic() + DEADLINE
        while text not in self._seen:
            left = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._keyboard], [], [], left)
            if not ready:
                raise AssertionError(f"{text!r} was not shown: {self._seen!r}")
            self._seen += os.read(self._keyboard, 65536)
        shown, self._seen = self._seen, b""
        return shown


@contextlib.contextmanager
def private_state() -> Iterator[Path]:
    """Make another state directory for the time of the block, and stop its libvirt in the end."""
    with tempfile.TemporaryDirectory(prefix="cd-", dir="/var/tmp") as name:
        try:
            yield Path(name)
        finally:
            EmbeddedDaemon(Path(name)).stop()


def eventually(condition: Callable[[], bool], seen: Callable[[], object] = str) -> None:
    """Wait until *condition* holds, for an action of another process without a message.

    :param seen: describes the state for the error when the condition does not hold in time.
    """
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not in time: {seen()}")
        time.sleep(0.05)
