# SPDX-License-Identifier: Apache-2.0
"""Finds the verbs: entry points of ``compute_driver.operations``, and how each is presented."""

from __future__ import annotations

import difflib
import importlib
import itertools
from typing import Any

from cliff import command, commandmanager

from compute_driver import exceptions, plugins
from compute_driver.cmd import errors

#: Verbs with a presentation of their own, by module and class in this package; any other
#: operation gets the generic one.
PRESENTATIONS = {
    "attach_interface": "interfaces:Attach",
    "audit": "host:Audit",
    "console_attach": "console:ConsoleAttach",
    "console_log": "console:ConsoleLog",
    "host_check": "host:HostCheck",
    "host_show": "host:HostShow",
    "image_cache": "images:Cache",
    "image_list": "images:List",
    "image_prune": "images:Prune",
    "list": "guests:List",
    "reboot": "guests:Reboot",
    "rescue": "rescue:Rescue",
    "resize": "resize:Resize",
    "screenshot": "screenshot:Screenshot",
    "set_password": "password:SetPassword",
    "show": "guests:Show",
    "spawn": "spawn:Spawn",
    "stats": "guests:Stats",
}

#: Commands that are no operations of a driver.
COMMANDS = {
    "config validate": "config:Validate",
    "nova link": "nova:Link",
    "nova unlink": "nova:Unlink",
}


class Point:
    """Where the class of a command comes from; it looks like an entry point to cliff."""

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self.value = value

    def load(self) -> type[command.Command]:
        """Return the class of the command."""
        module, _colon, attribute = self.value.partition(":")
        found: type[command.Command]
        found = getattr(importlib.import_module(f"{__package__}.{module}"), attribute)
        return found


class Operation(Point):
    """A verb whose presentation is derived from its callable."""

    def load(self) -> type[command.Command]:
        """Return the class of the command; for what does not load, one that says why."""
        from compute_driver.cmd import generic
        from compute_driver.drivers import loading

        try:
            return generic.present(self.name, loading.load_operation(self.name))
        except exceptions.PluginError as error:
            return generic.broken(error)


class Manager(commandmanager.CommandManager):
    """Knows all verbs by name, and loads the one that is wanted."""

    def __init__(self) -> None:
        super().__init__(plugins.OPERATIONS)

    def load_commands(self, namespace: str) -> None:
        """Find the verbs, loading none of them."""
        points: dict[str, Any] = {}
        for name in plugins.names(namespace):
            value = PRESENTATIONS.get(name)
            point = Operation(name, name) if value is None else Point(name, value)
            points[name.replace("_", " ")] = point
        points |= {name: Point(name, value) for name, value in COMMANDS.items()}
        self.commands.update(points)

    def find_command(self, argv: list[str]) -> tuple[type[command.Command], str, list[str]]:
        """Return the class of the verb that *argv* begins with, its name, and the rest.

        Verbs are not abbreviated: what is unique today may mean another verb tomorrow.

        :raises UnknownCommandError: if there is no such verb.
        """
        words = list(itertools.takewhile(lambda word: not word.startswith("-"), argv))
        for count in range(len(words), 0, -1):
            name = " ".join(words[:count])
            if name in self.commands:
                return self.commands[name].load(), name, argv[count:]
        raise errors.UnknownCommandError(self._suggest(words))

    def _suggest(self, words: list[str]) -> str:
        if not words:
            return "no command given; see 'compute-driver --help'"
        names = sorted(self.commands)
        close = [name for name in names if name.startswith(words[0])]
        close = close or difflib.get_close_matches(words[0], names)
        hint = f"is it {' or '.join(map(repr, close))}?" if close else "see 'compute-driver --help'"
        return f"no such command: {' '.join(words[:2])!r}; {hint}"
