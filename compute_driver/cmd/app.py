# SPDX-License-Identifier: Apache-2.0
"""The application: the global options, and the driver on demand."""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import itertools
from typing import TYPE_CHECKING, Any

from cliff import app
from cliff import help as cliff_help

from compute_driver.cmd import errors, logs, surroundings
from compute_driver.cmd.manager import Manager
from compute_driver.cmd.verb import Parser, path

if TYPE_CHECKING:
    from compute_driver.driver import ComputeDriver

DISTRIBUTION = "compute-driver"


class Application(app.App):
    """Runs one verb, which the manager finds."""

    NAME = DISTRIBUTION

    def __init__(self) -> None:
        super().__init__(
            "Runs KVM and QEMU guests through libvirt.",
            importlib.metadata.version(DISTRIBUTION),
            Manager(),
            deferred_help=True,
        )

    def build_option_parser(
        self,
        description: str | None,
        version: str | None,
        argparse_kwargs: dict[str, Any] | None = None,
    ) -> argparse.ArgumentParser:
        """Return the parser of the global options, which stand before or after the verb."""
        parser = Parser(prog=self.NAME, description=description, add_help=False)
        add = parser.add_argument
        add("--version", action="version", version=f"{self.NAME} {version}")
        add("-h", "--help", dest="deferred_help", action="store_true", help="show help and exit")
        add(
            "--config-file",
            action="append",
            default=[],
            type=path,
            metavar="FILE",
            help="read this file instead of /etc/compute-driver/*.conf; can be repeated",
        )
        add(
            "--config-dir",
            action="append",
            default=[],
            type=path,
            metavar="DIR",
            help="read *.conf in this directory after the files; can be repeated",
        )
        loudness = parser.add_mutually_exclusive_group()
        loudness.add_argument(
            "-v",
            "--verbose",
            dest="verbose_level",
            action="count",
            default=1,
            help="log to stderr",
        )
        loudness.add_argument(
            "-q",
            "--quiet",
            dest="verbose_level",
            action="store_const",
            const=0,
            help="show no warnings and no progress",
        )
        add("--debug", action="store_true", help="log debug messages, and show tracebacks")
        add("--log-file", type=path, metavar="FILE", help="log to this file, too")
        return parser

    def run(self, argv: list[str]) -> int:
        """Run one verb.

        :param argv: the words of the command line.
        :return: the exit status.
        """
        self.options, words = self.parser.parse_known_args(argv)
        if self.options.deferred_help:
            words = ["help", *itertools.takewhile(lambda word: not word.startswith("-"), words)]
        with logs.configured(self.options):
            try:
                if not words:
                    raise errors.UsageError(f"no command given; see '{self.NAME} --help'")
                return self.run_subcommand(words)
            except BrokenPipeError:
                raise  # no fault
            except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised again
                failure = error
            # Here, oslo.log does not repeat the error as the exception that is handled.
            logs.note(self.options, failure)
            raise failure

    def run_subcommand(self, argv: list[str]) -> int:
        """Run the verb at the beginning of *argv*.

        :return: the exit status.
        """
        verb, name, arguments = self.command_manager.find_command(argv)
        command = verb(self, self.options, name)
        try:
            parsed = command.get_parser(f"{self.NAME} {name}").parse_args(arguments)
            return command.run(parsed)
        except cliff_help.HelpExit:
            return 0
        finally:
            self.close()

    @functools.cached_property
    def driver(self) -> ComputeDriver:
        """The driver that the configuration names; the first use makes the driver."""
        from compute_driver import conf
        from compute_driver.drivers import loading

        configuration = conf.load(self.options.config_file, self.options.config_dir)
        surroundings.prepare_for_libvirt()
        logs.follow(self.options, configuration)
        return loading.load_driver(configuration)

    def close(self) -> None:
        """Close the driver if there is one."""
        if "driver" in vars(self):
            self.driver.close()
            del self.driver
