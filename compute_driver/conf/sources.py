# SPDX-License-Identifier: Apache-2.0
"""Where option values come from, so that a bad one is told in one clear line."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg, types

from compute_driver import exceptions
from compute_driver.conf import hypervisor

_GROUP = hypervisor.GROUP.name
#: What oslo.config's environment source puts before the option's name.
_VARIABLE = f"OS_{_GROUP.upper()}__"


@dataclasses.dataclass(frozen=True)
class Setting:
    """One option as somebody wrote it.

    :param where: the file or environment variable.
    """

    group: str
    name: str
    value: str
    where: str


def files_in(directory: str) -> list[str]:
    """Return the configuration files in *directory*, in the order they are read.

    :raises ConfigurationError: if it cannot be read.
    """
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".conf"))
    except OSError as error:
        raise _unreadable(directory, error) from error
    return [str(Path(directory, name)) for name in names]


def written(paths: Sequence[str]) -> list[Setting]:
    """Return what files and the environment set, later ones winning.

    :raises ConfigurationError: if a file cannot be read or is no configuration file.
    """
    return [setting for path in paths for setting in _in_file(path)] + _in_environment()


def complaint(option: cfg.Opt, error: Exception, settings: Sequence[Setting]) -> str:
    """Return one line on a value that *option* cannot take: where, what, and what is accepted.

    :param error: what oslo.config says of it.
    :param settings: where to look for who set it.
    """
    setters = [s for s in settings if (s.group, s.name) == (_GROUP, option.dest)]
    if not setters:
        return f"{option.dest} in [{_GROUP}]: {error}"
    last = setters[-1]
    field = f"{option.dest} in {last.where} [{_GROUP}]"
    if isinstance(error, cfg.NoSuchOptError):
        return f"{field}: {last.value!r} is not usable: there is no option {error.opt_name!r}"
    return str(exceptions.InvalidParameter(field, last.value, _accepted(option.type)))


def unknown(settings: Sequence[Setting]) -> list[str]:
    """Return one line for each of *settings* that is meant for this package and is no option."""
    names = [option.dest for option in hypervisor.OPTIONS]
    lines = []
    for setting in settings:
        where = f"{setting.where} [{setting.group}]"
        if setting.group == _GROUP and setting.name not in names:
            close = difflib.get_close_matches(setting.name, names, n=1) or names
            lines.append(f"{setting.name} in {where}: no such option; accepted: {', '.join(close)}")
        elif setting.group != _GROUP and difflib.get_close_matches(setting.group, [_GROUP]):
            lines.append(f"{setting.name} in {where}: no such group; accepted: [{_GROUP}]")
    return lines


def _in_file(path: str) -> list[Setting]:
    sections: dict[str, dict[str, list[str]]] = {}
    try:
        cfg.ConfigParser(path, sections).parse()
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise exceptions.ConfigurationError(f"configuration {path} is not text: {error}") from error
    except cfg.ParseError as error:
        raise exceptions.ConfigurationError(
            f"configuration {path}, line {error.lineno}: {error.msg}: {error.line!r}"
        ) from error
    return [
        # oslo.config takes the names of groups in any case.
        Setting(group.lower(), name, values[-1], path)
        for group, options in sections.items()
        for name, values in options.items()
    ]


def _in_environment() -> list[Setting]:
    return [
        Setting(_GROUP, name.removeprefix(_VARIABLE).lower(), value, name)
        for name, value in sorted(os.environ.items())
        if name.startswith(_VARIABLE)
    ]


def _unreadable(path: str, error: OSError) -> exceptions.ConfigurationError:
    return exceptions.ConfigurationError(f"configuration {path} cannot be read: {error.strerror}")


def _accepted(kind: Any) -> str:
    """Say in words what values a type of option takes."""
    if getattr(kind, "choices", None):
        return ", ".join(kind.choices)
    if isinstance(kind, types.Boolean):
        return "true, false"
    if isinstance(kind, types.Number):
        noun = "a whole number" if isinstance(kind, types.Integer) else "a number"
        return f"{noun}, {kind.min:g} or more"
    return f"an {kind.type_name}"
