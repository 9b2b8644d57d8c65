# SPDX-License-Identifier: Apache-2.0
"""Runs other programs, without a shell."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shlex
import time
from collections.abc import Mapping, Sequence

from compute_driver import exceptions
from compute_driver.system import concurrency

LOG = logging.getLogger(__name__)

#: Seconds to wait for the end of a killed program.
_REAPING = 1.0


class TookTooLong(exceptions.ToolFailed):
    """A program was killed, because it did not end in time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """The result of a program.

    :param status: its exit status, or the negative number of the signal that ended it.
    :param output: its standard output.
    :param errors: its standard error.
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

    :param command: absolute path and arguments of the program.
    :param text: standard input of the program.
    :param environment: variables in addition to those of this process.
    :param timeout: seconds after which the program is killed; None means no limit.
    :raises TookTooLong: if the program did not end in time.
    :raises ToolFailed: if the program does not start.
    """
    LOG.debug("Program: %s", shlex.join(command))
    begun, result = time.monotonic(), "failed"
    try:
        ended = concurrency.run_blocking(_run, command, text, environment, timeout)
        result = f"exit status {ended.status}"
        return ended
    except OSError as error:
        raise exceptions.ToolFailed(f"{command[0]} does not start: {error.strerror}") from error
    finally:
        name = os.path.basename(command[0])
        LOG.debug("Program %s: %s after %.3f s", name, result, time.monotonic() - begun)


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
        # A program that is stuck in the kernel does not end even now.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_REAPING)
        name = os.path.basename(command[0])
        raise TookTooLong(f"{name} was killed: it took longer than {timeout:g} seconds") from None
    except BaseException:
        process.kill()
        raise
    return Ended(status=process.returncode, output=output, errors=errors)
