# SPDX-License-Identifier: Apache-2.0
"""Configuration by oslo.config: one module for each group."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from oslo_config import cfg
from oslo_log import _options as log_options

from compute_driver import exceptions
from compute_driver.conf import hypervisor, sources

LOG = logging.getLogger(__name__)

PROJECT = "compute-driver"
_DEFAULT = "DEFAULT"
SYSTEM_DIRECTORY = Path("/etc") / PROJECT


def register(conf: cfg.ConfigOpts) -> None:
    """Register this package's options with *conf*, which may be nova's own CONF."""
    # A copy, because oslo.config keeps values that are set in the group, for all configurations.
    conf.register_group(copy.deepcopy(hypervisor.GROUP))
    conf.register_opts(hypervisor.OPTIONS, group=hypervisor.GROUP.name)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Return all options, for ``oslo-config-generator`` and ``oslo-config-validator``."""
    return [(hypervisor.GROUP, hypervisor.OPTIONS)]


def load(files: Sequence[str] = (), directories: Sequence[str] = ()) -> cfg.ConfigOpts:
    """Read the configuration for the command line, without a cloud.

    Sources, in this order; a later source takes precedence: ``/etc/compute-driver/*.conf`` (unless
    *files* or *directories* are given), *files*, ``*.conf`` in *directories*, environment variables
    ``OS_HYPERVISOR__<OPTION>``.

    The log has a warning for each unknown option of the sources.

    :return: a configuration with group ``[hypervisor]`` and oslo.log's options.
    :raises ConfigurationError: names the option or the file, and the accepted values.
    """
    paths = _paths(files, directories)
    conf, written = _read(paths), sources.written(paths)
    for group, option, error in _bad_values(conf):
        raise exceptions.ConfigurationError(
            sources.complaint(group, option, error, written)
        ) from error
    for line in sources.unknown(written, _log_options()):
        LOG.warning("%s", line)
    return conf


def problems(files: Sequence[str] = (), directories: Sequence[str] = ()) -> list[str]:
    """Return one line for each bad value, unknown option, driver or CPU model in the sources.

    The sources are the sources of :func:`load`.

    :raises ConfigurationError: if a file is unreadable or is not a configuration file.
    """
    paths = _paths(files, directories)
    written = sources.written(paths)
    conf = _read(paths)
    bad = [sources.complaint(*fault, written) for fault in _bad_values(conf)]
    if not bad:
        bad = sources.unknown_models(conf, written)
    return bad + sources.unknown_driver(written) + sources.unknown(written, _log_options())


def _paths(files: Sequence[str], directories: Sequence[str]) -> list[str]:
    if not files and not directories:
        return [str(path) for path in sorted(SYSTEM_DIRECTORY.glob("*.conf"))]
    return [*files, *(path for name in directories for path in sources.files_in(name))]


def _read(paths: Sequence[str]) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    register(conf)
    # oslo.log's own function is slow to import, and registers options of the command line too.
    conf.register_opts(_log_options())
    arguments = [f"--config-file={path}" for path in paths]
    try:
        conf(arguments, project=PROJECT, default_config_files=[], default_config_dirs=[])
    except (cfg.Error, ValueError, OSError) as error:
        sources.written(paths)  # raises an error of one line for the same fault
        raise exceptions.ConfigurationError(" ".join(str(error).split())) from error
    return conf


def _log_options() -> list[cfg.Opt]:
    return [option for _group, options in log_options.list_opts() for option in options]


def _bad_values(conf: cfg.ConfigOpts) -> Iterator[tuple[str, cfg.Opt, Exception]]:
    groups = {hypervisor.GROUP.name: hypervisor.OPTIONS, _DEFAULT: _log_options()}
    unusable = False  # the state path, which holds the defaults of other paths
    for group, options in groups.items():
        values = conf if group == _DEFAULT else conf[group]
        for option in options:
            if unusable and str(option.default).startswith(f"${hypervisor.STATE_PATH.dest}/"):
                continue
            try:
                if values[option.dest] is None and option is hypervisor.STATE_PATH:
                    raise ValueError(hypervisor.NO_HOME)
            except (cfg.Error, ValueError) as error:
                unusable = unusable or option is hypervisor.STATE_PATH
                yield group, option, error
