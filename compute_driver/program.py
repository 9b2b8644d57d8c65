# SPDX-License-Identifier: Apache-2.0
"""Runs other programs, without a shell."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

from compute_driver import concurrency, exceptions


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
    name = os.path.basename(command[0])
    subprocess = concurrency.native("subprocess")
    try:
        done = concurrency.run_blocking(
            subprocess.run,
            command,
            input=text,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=os.environ | (environment or {}),
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TookTooLong(f"{name} was killed: it took longer than {timeout:g} seconds") from None
    except OSError as error:
        raise exceptions.ToolFailed(f"{name} does not start: {error.strerror}") from error
    return Ended(status=done.returncode, output=done.stdout, errors=done.stderr)
