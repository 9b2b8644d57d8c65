# SPDX-License-Identifier: Apache-2.0
"""What the command line refuses by itself, and the exit status of each refusal."""

from __future__ import annotations

from compute_driver import exceptions

#: Exit statuses: see the manual page.
FAILED = 1
BAD_USAGE = 2


class UsageError(exceptions.ComputeDriverError):
    """A command line that cannot be carried out; nothing was done."""


class UnknownCommandError(UsageError, ValueError):
    """No such verb; also a ValueError because cliff's ``help`` expects that."""


def status(error: exceptions.ComputeDriverError) -> int:
    """Return the exit status that tells of *error*."""
    usage = isinstance(error, UsageError | exceptions.ConfigurationError)
    return BAD_USAGE if usage else FAILED
