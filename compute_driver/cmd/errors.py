# SPDX-License-Identifier: Apache-2.0
"""The refusals of the command line itself, and the exit status of each error."""

from __future__ import annotations

from compute_driver import exceptions

#: Exit statuses: see the manual page.
FAILED = 1
BAD_USAGE = 2
NOT_WRITTEN = 3


class UsageError(exceptions.ComputeDriverError):
    """A bad command line; the command has changed nothing."""


class OutputError(exceptions.ComputeDriverError):
    """The command is done, but its result cannot be written to standard output."""


class UnknownCommandError(UsageError, ValueError):
    """There is no such verb; a ValueError too, because cliff's ``help`` expects a ValueError."""


def status(error: exceptions.ComputeDriverError) -> int:
    """Return the exit status of *error*."""
    # The same words are good on another host, or for a guest that nobody has renamed.
    if isinstance(error, exceptions.NotOnThisHost | exceptions.NameUnusable):
        return FAILED
    usage = (UsageError, exceptions.ConfigurationError, exceptions.InvalidParameter)
    return BAD_USAGE if isinstance(error, usage) else FAILED
