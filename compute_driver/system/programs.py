# SPDX-License-Identifier: Apache-2.0
"""Runs other programs, without a shell."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence

from compute_driver import exceptions
from compute_driver.system import concurrency

#: Seconds that the end of a program which was killed may take.
_REAPING = 1.0


class TookTooLong(exceptions.ToolFailed):
    """A program was killed, since it had not ended in time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """What a program left.

    :param status: its exit status, or the number of the signal that ended it, negative.
    :param output: what it printed.
    :param errors: what it complained of.
    """

    status: int
    output: str
    errors: str


def run(
    command: Sequence[str],
    *,
    text: str = "",
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
) -> Ended:
    """Run a program to its end.

    :param command: its absolute path and its arguments.
    :param text: what it reads.
    :param environment: variables besides this process's own.
    :param timeout: seconds after which it is killed; None waits for as long as it takes.
    :raises TookTooLong: if it did not end in time.
    :raises ToolFailed: if it does not start.
    """
    try:
        return concurrency.run_blocking(_run, command, text, environment, timeout)
    except OSError as error:
        name = os.path.basename(command[0])
        raise exceptions.ToolFailed(f"{name} does not start: {error.strerror}") from error


def _run(
    command: Sequence[str], text: str, environment: Mapping[str, str] | None, timeout: float | None
) -> Ended:
    subprocess = concurrency.native("subprocess")
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env=os.environ | (environment or {}),
    )
    try:
        output, errors = process.communicate(text, timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        # One that is stuck in the kernel does not even end now.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_REAPING)
        name = os.path.basename(command[0])
        raise TookTooLong(f"{name} was killed: it took longer than {timeout:g} seconds") from None
    except BaseException:
        process.kill()
        raise
    return Ended(status=process.returncode, output=output, errors=errors)
