# SPDX-License-Identifier: Apache-2.0
"""Finds the verbs by the entry points of ``compute_driver.operations``, and their commands."""

from __future__ import annotations

import difflib
import importlib
import itertools
from typing import Any

from cliff import command, commandmanager

from compute_driver import exceptions, plugins
from compute_driver.cmd import errors

#: Operations with a command of their own; other operations get a generic command.
PRESENTED = (
    *("attach_interface", "audit", "console_attach", "console_log", "host_check", "host_show"),
    *("image_cache", "image_list", "image_prune", "list", "publish", "reboot", "rescue", "resize"),
    *("screenshot", "set_password", "show", "spawn", "stats", "unpublish"),
)

#: Commands without an operation of a driver.
COMMANDS = ("config_validate", "nova_check", "nova_link", "nova_unlink", "ssh")


class Point:
    """A command of this package, with the interface of an entry point for cliff.

    :param name: the module of the command; the class has the same name, in capital words.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self) -> type[command.Command]:
        """Return the class of the command."""
        module = importlib.import_module(f"{__package__}.{self.name}")
        cls: type[command.Command] = getattr(module, self.name.title().replace("_", ""))
        return cls


class OperationPoint(Point):
    """An operation whose command is made from its signature."""

    def load(self) -> type[command.Command]:
        """Return the class of the command, which shows the cause if the operation does not load."""
        from compute_driver.cmd import generic
        from compute_driver.drivers import loading

        try:
            return generic.present(self.name, loading.load_operation(self.name))
        except exceptions.PluginError as error:
            return generic.broken(error)


class Manager(commandmanager.CommandManager):
    """Knows all verbs by name, and loads the verb of the command line."""

    def __init__(self) -> None:
        super().__init__(plugins.OPERATIONS)

    def load_commands(self, namespace: str) -> None:
        """Find the names of the verbs, and load no verb."""
        operations = {name: OperationPoint(name) for name in plugins.names(namespace)}
        presented = {name: Point(name) for name in PRESENTED if name in operations}
        commands = {name: Point(name) for name in COMMANDS}
        points: dict[str, Any] = {**operations, **presented, **commands}
        self.commands.update({name.replace("_", " "): point for name, point in points.items()})

    def find_command(self, argv: list[str]) -> tuple[type[command.Command], str, list[str]]:
        """Return the class of the verb at the beginning of *argv*, its name, and the other words.

        A verb cannot be abbreviated: the abbreviation can mean another verb in a later release.

        :raises UnknownCommandError: if there is no such verb.
        """
        words = list(itertools.takewhile(lambda word: not word.startswith("-"), argv))
        for count in range(len(words), 0, -1):
            name = " ".join(words[:count])
            if name in self.commands:
                return self.commands[name].load(), name, argv[count:]
        if argv and not words:
            raise errors.UsageError(
                f"unrecognized arguments: {argv[0]}; see 'compute-driver --help'"
            )
        raise errors.UnknownCommandError(self._suggest(words))

    def _suggest(self, words: list[str]) -> str:
        if not words:
            return "no command given; see 'compute-driver --help'"
        names = sorted(self.commands)
        close = [name for name in names if name.startswith(words[0])]
        close = close or difflib.get_close_matches(words[0], names)
        hint = f"is it {' or '.join(map(repr, close))}?" if close else "see 'compute-driver --help'"
        return f"no such command: {' '.join(words[:2])!r}; {hint}"
