# SPDX-License-Identifier: Apache-2.0
"""The base of all verbs: a terse parser, the driver, and the operation of the verb."""

from __future__ import annotations

import argparse
import math
import typing
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NoReturn, Protocol, TextIO

from cliff import command

from compute_driver import exceptions
from compute_driver.cmd import errors
from compute_driver.limits import MAX_AGE, MAX_SECONDS

if typing.TYPE_CHECKING:  # slow to import, and not needed for help
    from compute_driver.driver import ComputeDriver, Progress


#: Seconds that a text may take to show on the serial console, unless an option says otherwise.
CONSOLE_SECONDS = 300.0


class Parser(argparse.ArgumentParser):
    """Refuses a bad command line by one line, and takes no abbreviated options.

    A script may rely on an abbreviation, which can mean another option in a later release.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise errors.UsageError(f"{message}; see '{self.prog} --help'")


class Context(Protocol):
    """The part of the application that verbs use.

    :param options: the global options.
    :param stdout: takes results only.
    """

    options: argparse.Namespace
    stdout: TextIO
    stderr: TextIO

    @property
    def driver(self) -> ComputeDriver:
        """The driver that the configuration names."""


class Verb(command.Command):
    """A verb of the command line; its docstring is its help."""

    app: Context  # type: ignore[assignment]

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser of the verb's own arguments."""
        return Parser(description=self.get_description(), prog=prog_name)

    @property
    def driver(self) -> ComputeDriver:
        """The driver that the configuration names."""
        return self.app.driver

    def operate(self, *arguments: Any, **options: Any) -> Any:
        """Call the operation that has the verb's name, on the driver."""
        from compute_driver.drivers import loading

        assert self.cmd_name is not None
        operation = loading.load_operation(self.cmd_name.replace(" ", "_"))
        return loading.bind(operation, self.driver)(*arguments, **options)

    def find(self, guest: str) -> str:
        """Return the UUID of the guest that the command line names."""
        return self.driver.find(guest)

    def progress(self) -> AbstractContextManager[Progress]:
        """Return a context with a callback that shows progress, unless the user wants quiet."""
        from compute_driver.cmd import progress

        return progress.shown(self.app.options.verbose_level > 0)


def add_guest(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """Add the positional argument that names a guest."""
    parser.add_argument(
        "guest", metavar="GUEST", nargs="?" if optional else None, help="name or UUID of the guest"
    )


def absolute(flag: str, text: str) -> str:
    """Return an absolute path, which does not depend on the working directory.

    :param flag: the option of the path.
    :raises UsageError: if the path is relative, and the working directory is gone.
    """
    try:
        return str(Path(text).absolute())
    except OSError as error:
        accepted = "an absolute path, because the working directory is gone"
        refusal = exceptions.InvalidParameter(flag, text, accepted)
        raise errors.UsageError(str(refusal)) from error


def path(text: str) -> str:
    """Return a path, for argparse; an empty path would name the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("'' is not usable; accepted: a path")
    return text


def words(text: str) -> str:
    """Return a text that is not empty, for argparse."""
    if not text:
        raise argparse.ArgumentTypeError("'' is not usable; accepted: one character or more")
    return text


def number(text: str) -> float:
    """Return a finite number, for argparse; a whole number is an integer, and prints as one."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text!r} is not usable; accepted: a finite number")
    return int(value) if value.is_integer() else value


def whole(text: str) -> int:
    """Return a whole number, for argparse."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not usable; accepted: a whole number, without a unit"
        ) from None


def seconds(text: str, longest: int = MAX_SECONDS) -> float:
    """Return a duration, for argparse."""
    value = number(text)
    if not 0 <= value <= longest:
        accepted = f"seconds, 0 to {longest}"
        raise argparse.ArgumentTypeError(f"{text!r} is not usable; accepted: {accepted}")
    return value


def console_seconds(option: str, given: float | None, text: str | None) -> float:
    """Return how long to wait for a text on the serial console.

    :param option: gives the seconds.
    :param text: of option ``--wait``.
    :raises InvalidParameter: if the seconds are given without a text.
    """
    if given is None:
        return CONSOLE_SECONDS
    if text is None:
        raise exceptions.InvalidParameter(option, given, "seconds beside --wait TEXT")
    return given


def age(text: str) -> float:
    """Return the age of a file in seconds, for argparse."""
    return seconds(text, MAX_AGE)
