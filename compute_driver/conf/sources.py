# SPDX-License-Identifier: Apache-2.0
"""The sources of option values, for errors of one clear line about a bad value."""

from __future__ import annotations

import codecs
import dataclasses
import difflib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg, types

from compute_driver import exceptions, plugins
from compute_driver.conf import hypervisor
from compute_driver.hardware import architecture, tuning

_GROUP = hypervisor.GROUP.name

#: oslo.config's words before the reason of a refusal.
_REASON = "is not valid: "
_COMMON = "default"

#: A password in a URI or its query, or among mount options; mount.cifs(8), mount.ceph(8).
_PASSWORD = re.compile(
    r"(://[^/@:]*:)[^@/]*(?=@)|([?&](?:pass\w*|secret|token)=)[^&\s]*"
    r"|((?:^|[\s,])(?:pass\w*|secret)=)[^,\s]*",
    re.IGNORECASE,
)

#: Similarity of a misspelt name to an option, from 0 to 1.  The names of nova and its libraries in
#: [DEFAULT] have a similarity of at most 0.76 to the names of oslo.log.
_SIMILARITY = 0.85


@dataclasses.dataclass(frozen=True)
class Setting:
    """One option with its value as a text.

    :param group: in lower case.
    :param where: the file or the environment variable that sets the option.
    """

    group: str
    name: str
    value: str
    where: str


def files_in(directory: str) -> list[str]:
    """Return the configuration files in *directory*, in the order of reading.

    :raises ConfigurationError: if the directory is unreadable.
    """
    try:
        names = sorted(name for name in os.listdir(directory) if name.endswith(".conf"))
    except OSError as error:
        raise _unreadable(directory, error) from error
    return [str(Path(directory, name)) for name in names]


def written(paths: Sequence[str], groups: Iterable[str] = ()) -> list[Setting]:
    """Return the settings of files and environment; a later setting takes precedence.

    :param groups: groups of nova whose environment variables count, too.
    :raises ConfigurationError: if a file is unreadable or is not a configuration file.
    """
    return [setting for path in paths for setting in _in_file(path)] + [
        setting
        for group in dict.fromkeys((_GROUP, _COMMON, *map(str.lower, groups)))
        for setting in _in_environment(group)
    ]


def masked(value: str) -> str:
    """Return the value of an option without the passwords in it, for logs and errors."""
    return _PASSWORD.sub(lambda found: f"{found[1] or found[2] or found[3]}***", value)


def complaint(group: str, option: cfg.Opt, error: Exception, settings: Sequence[Setting]) -> str:
    """Return one line about a bad value of *option*: its source, the value, the accepted values.

    :param error: the error of oslo.config.
    :param settings: all settings, one of which has the bad value.
    """
    last = _last(settings, group, option.dest)
    if last is None:
        return f"{option.dest} in [{group}]: {' '.join(str(error).split())}"
    field = f"{option.dest} in {last.where} [{group}]"
    value = masked(last.value)
    if isinstance(error, cfg.NoSuchOptError):
        return f"{field}: {value!r} is not usable: there is no option {error.opt_name!r}"
    accepted = _accepted(option.type)
    if getattr(option.type, "tells_reason", False):
        accepted += f" ({str(error).rpartition(_REASON)[2]})"
    return str(exceptions.InvalidParameter(field, value, accepted))


def unknown_driver(settings: Sequence[Setting]) -> list[str]:
    """Return one line if *settings* choose a driver that is not installed."""
    last, known = _last(settings, _GROUP, "driver"), plugins.names(plugins.DRIVERS)
    if last is None or last.value in known:
        return []
    field = f"driver in {last.where} [{_GROUP}]"
    return [str(exceptions.InvalidParameter(field, last.value, known))]


def unknown_models(conf: cfg.ConfigOpts, settings: Sequence[Setting]) -> list[str]:
    """Return one line for each CPU model of the options that libvirt does not know.

    The options are ``tcg_cpu_models``, and ``cpu_models`` for the host's own architecture.  No
    emulator is started here: spawn refuses the models that an emulator lacks.
    """
    from compute_driver.conf import cpu_map  # slow to import: it reads XML

    options, own = conf.hypervisor, architecture.of_host()
    named = [
        ("tcg_cpu_models", f"{name}:{model}", name, model)
        for name, model in options.tcg_cpu_models.items()
    ]
    if own in architecture.TABLE:
        named += [("cpu_models", model, own, model) for model in options.cpu_models]
    lines = []
    for option, value, name, model in named:
        known = cpu_map.models(name)
        if known and model not in known | tuning.CPU_MODES | {tuning.NO_MODEL}:
            lowered = {word.lower(): word for word in known}
            close = difflib.get_close_matches(model.lower(), lowered, n=5) or sorted(lowered)[:5]
            last = _last(settings, _GROUP, option)
            where = last.where if last else "the defaults"
            field = f"{option} in {where} [{_GROUP}]"
            accepted = f"for {name}, models such as {', '.join(lowered[key] for key in close)}"
            lines.append(str(exceptions.InvalidParameter(field, value, accepted)))
    return lines


def unknown(settings: Sequence[Setting], common: Sequence[cfg.Opt]) -> list[str]:
    """Return one line for each of *settings* that is meant for this package and is no option.

    :param common: this package's options of group ``[DEFAULT]``.  In nova's files the group has
        options of other packages too: only a name similar to one of *common* is meant for this
        package.
    """
    names = [option.dest for option in hypervisor.OPTIONS]
    known = {name for option in common for name in _names(option)}
    lines = []
    for setting in settings:
        where = f"{setting.where} [{setting.group}]"
        if setting.group == _GROUP and setting.name not in names:
            close = difflib.get_close_matches(setting.name, names, n=1) or names
            lines.append(f"{setting.name} in {where}: no such option; accepted: {', '.join(close)}")
        elif setting.group != _GROUP and difflib.get_close_matches(setting.group, [_GROUP]):
            lines.append(f"{setting.name} in {where}: no such group; accepted: [{_GROUP}]")
        elif setting.group == _COMMON and setting.name not in known:
            where = f"{setting.where} [{_COMMON.upper()}]"
            lines += [
                f"{setting.name} in {where}: no such option; accepted: {similar}"
                for similar in difflib.get_close_matches(
                    setting.name, known, n=1, cutoff=_SIMILARITY
                )
            ]
    return lines


def _names(option: cfg.Opt) -> Iterator[str]:
    """Yield the names of an option in a file."""
    yield option.dest
    yield from (old.name.replace("-", "_") for old in option.deprecated_opts if old.name)


def _last(settings: Sequence[Setting], group: str, name: str) -> Setting | None:
    """Return the setting of an option that takes precedence."""
    matches = (s for s in reversed(settings) if (s.group, s.name) == (group.lower(), name))
    return next(matches, None)


def _in_file(path: str) -> list[Setting]:
    sections: dict[str, dict[str, list[str]]] = {}
    try:
        cfg.ConfigParser(path, sections).parse()
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise exceptions.ConfigurationError(f"configuration {path} is not text: {error}") from error
    except cfg.ParseError as error:
        if Path(path).read_bytes().startswith(codecs.BOM_UTF8):  # some editors write the mark
            raise exceptions.ConfigurationError(
                f"configuration {path} begins with a byte order mark; accepted: UTF-8 without the"
                " mark"
            ) from error
        raise exceptions.ConfigurationError(
            f"configuration {path}, line {error.lineno}: {error.msg}: {error.line!r}"
        ) from error
    return [
        # oslo.config takes the names of groups in any case.
        Setting(group.lower(), name, values[-1], path)
        for group, options in sections.items()
        for name, values in options.items()
    ]


def _in_environment(group: str) -> list[Setting]:
    prefix = f"OS_{group.upper()}__"  # of oslo.config
    return [
        Setting(group, name.removeprefix(prefix).lower(), value, name)
        for name, value in sorted(os.environ.items())
        if name.startswith(prefix)
    ]


def _unreadable(path: str, error: OSError) -> exceptions.ConfigurationError:
    return exceptions.ConfigurationError(f"configuration {path} cannot be read: {error.strerror}")


def _accepted(kind: Any) -> str:
    """Return the accepted values of a type of option, in words."""
    if getattr(kind, "choices", None):
        return ", ".join(map(str, kind.choices))
    if isinstance(kind, types.Boolean):
        return "true, false"
    if isinstance(kind, types.Number):
        noun = "a whole number" if isinstance(kind, types.Integer) else "a number"
        if kind.min is None:
            return noun
        return f"{noun}, {kind.min:g} " + ("or more" if kind.max is None else f"to {kind.max:.0f}")
    # The types of this package have an attribute for this text.
    return str(getattr(kind, "accepted", kind.type_name))
