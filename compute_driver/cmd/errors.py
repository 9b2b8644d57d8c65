# SPDX-License-Identifier: Apache-2.0
"""The refusals of the command line itself, and the exit status of each error."""

from __future__ import annotations

from compute_driver import exceptions

#: Exit statuses: see the manual page.
FAILED = 1
BAD_USAGE = 2
NOT_WRITTEN = 3
INTERRUPTED = 130


class UsageError(exceptions.ComputeDriverError):
    """A bad command line; the command has changed nothing."""


class OutputError(exceptions.ComputeDriverError):
    """The command is done, but its result cannot be written to standard output."""


class UnknownCommandError(UsageError, ValueError):
    """There is no such verb; a ValueError too, because cliff's ``help`` expects a ValueError."""


def outcome(error: Exception | KeyboardInterrupt) -> tuple[str, int]:
    """Return the line that tells the user of *error*, and the exit status."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    if isinstance(error, exceptions.ComputeDriverError):
        return " ".join(str(error).split()), _status(error)
    text = f"unexpected {type(error).__name__}: {error} (--debug shows where)"
    return " ".join(text.split()), FAILED


def _status(error: exceptions.ComputeDriverError) -> int:
    if isinstance(error, OutputError):
        return NOT_WRITTEN
    # The same words are good on another host, or for a guest that nobody has renamed.
    if isinstance(error, exceptions.NotOnThisHost | exceptions.NameUnusable):
        return FAILED
    usage = (UsageError, exceptions.ConfigurationError, exceptions.InvalidParameter)
    return BAD_USAGE if isinstance(error, usage) else FAILED
