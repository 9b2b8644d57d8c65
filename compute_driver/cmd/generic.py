# SPDX-License-Identifier: Apache-2.0
"""Makes a command from the signature and the docstring of any operation."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import re
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from compute_driver import exceptions, plugins
from compute_driver.choices import Choice
from compute_driver.cmd import verb
from compute_driver.drivers import loading
from compute_driver.hardware import properties

_SIMPLE: dict[object, Callable[[str], object]] = {
    str: str,
    int: verb.whole,
    float: verb.number,
    Path: lambda text: Path(verb.path(text)),
}
#: Settings of a number whose help begins with this unit.
_SECONDS: dict[str, Any] = {"type": verb.seconds, "metavar": "SECONDS"}
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_FIELD = re.compile(r":param (\w+):\s*(.+?)(?=\n\s*:|\n\s*\n|\Z)", re.DOTALL)


class GenericVerb(verb.Verb):
    """A verb whose arguments are the parameters of its operation."""

    operation: ClassVar[loading.Function]
    parameters: ClassVar[dict[str, tuple[inspect.Parameter, Any]]]

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        helps = dict(_FIELD.findall(loading.documentation(type(self).operation)))
        for name, (parameter, kind) in self.parameters.items():
            text = " ".join(helps.get(name, "").split()).replace("%", "%%")
            _add(parser, parameter, kind, text or None)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        driver = self.driver
        values = {
            name: _value(kind, getattr(parsed_args, name))
            for name, (_parameter, kind) in self.parameters.items()
        }
        if values.get("uuid") is not None:
            values["uuid"] = self.find(values["uuid"])
        flags = {
            name: _flag(name)
            for name, (parameter, _kind) in self.parameters.items()
            if parameter.default is not inspect.Parameter.empty
        }
        with properties.named(flags):
            result = loading.bind(type(self).operation, driver)(**values)
        _print(self.app.stdout, result)


class BrokenVerb(verb.Verb):
    """A verb whose operation does not load; it takes any arguments, and reports the cause."""

    error: ClassVar[exceptions.PluginError]

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return a parser that takes any words."""
        parser = super().get_parser(prog_name)
        parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
        return parser

    def run(self, parsed_args: argparse.Namespace) -> int:
        """Report why the operation does not load."""
        raise self.error

    def take_action(self, parsed_args: argparse.Namespace) -> None:
        """Never called: :meth:`run` raises first."""


def present(name: str, operation: loading.Function) -> type[GenericVerb]:
    """Return the class of a command for *operation*.

    :param name: the operation's entry point.
    :raises PluginError: if a command line cannot give one of the operation's parameters.
    """
    summary = loading.documentation(operation).partition("\n\n")[0] or f"Run operation {name}"
    members = {
        "__doc__": " ".join(summary.split()),
        # cliff finds the distribution of a verb by the module.
        "__module__": getattr(operation, "__module__", __name__),
        "operation": staticmethod(operation),
        "parameters": _parameters(name, operation),
    }
    return type(f"{name.title()}Verb", (GenericVerb,), members)


def broken(error: exceptions.PluginError) -> type[BrokenVerb]:
    """Return the class of a command that raises *error*."""
    members = {"error": error, "__doc__": f"Not usable: {error}", "__module__": __name__}
    return type("Broken", (BrokenVerb,), members)


def _parameters(name: str, operation: loading.Function) -> dict[str, tuple[inspect.Parameter, Any]]:
    """Return the parameters that a command line can give, with their types."""
    try:
        _driver, *declared = inspect.signature(operation).parameters.values()
        hints = typing.get_type_hints(operation)
    except Exception as error:
        raise exceptions.PluginError(plugins.OPERATIONS, name, error) from error
    given = {}
    for parameter in declared:
        kind = _without_none(hints.get(parameter.name, str))
        if parameter.kind in _NAMED and _is_simple(kind):
            given[parameter.name] = parameter, kind
        elif parameter.kind in _NAMED and parameter.default is inspect.Parameter.empty:
            raise exceptions.PluginError(
                plugins.OPERATIONS, name, f"a command line cannot give its {parameter}"
            )
    return given


def _without_none(hint: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        return kinds[0] if len(kinds) == 1 else hint
    return hint


def _is_simple(kind: Any) -> bool:
    return kind is bool or kind in _SIMPLE or (inspect.isclass(kind) and issubclass(kind, Choice))


def _add(
    parser: argparse.ArgumentParser, parameter: inspect.Parameter, kind: Any, text: str | None
) -> None:
    name, required = parameter.name, parameter.default is inspect.Parameter.empty
    if name == "uuid":
        parser.add_argument(
            name, metavar="GUEST", nargs=None if required else "?", help="name or UUID of the guest"
        )
        return
    settings: dict[str, Any] = {"help": text}
    if kind is bool:
        settings["action"] = argparse.BooleanOptionalAction
    elif kind in _SIMPLE:
        is_duration = kind is float and (text or "").startswith("seconds")
        settings |= _SECONDS if is_duration else {"type": _SIMPLE[kind]}
    else:
        # argparse compares after the conversion, and members of Choice are strings.
        settings |= {"type": str.lower, "choices": kind.words()}
    if required and kind is not bool:
        parser.add_argument(name, metavar=name.upper(), **settings)
        return
    settings |= {"required": True} if required else {"default": parameter.default}
    parser.add_argument(_flag(name), dest=name, **settings)


def _value(kind: Any, value: Any) -> Any:
    """Return the value of a parameter; argparse leaves a member of Choice as its word."""
    is_choice = inspect.isclass(kind) and issubclass(kind, Choice)
    return kind(value) if is_choice and value is not None else value


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _print(stream: typing.TextIO, value: object) -> None:
    match value:
        case None:
            return
        case bytes():
            stream.flush()
            stream.buffer.write(value)
            stream.buffer.flush()
        case str() | int() | float():
            stream.write(f"{value}\n")
        case _:
            json.dump(value, stream, indent=2, default=_plain)
            stream.write("\n")


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)
