# SPDX-License-Identifier: Apache-2.0
"""Configuration by oslo.config: one module for each group."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from oslo_config import cfg
from oslo_log import log

from compute_driver import exceptions
from compute_driver.conf import hypervisor

PROJECT = "compute-driver"
SYSTEM_DIRECTORY = Path("/etc") / PROJECT


def register(conf: cfg.ConfigOpts) -> None:
    """Register this package's options with *conf*; nova's own CONF is as good as any."""
    conf.register_group(hypervisor.GROUP)
    conf.register_opts(hypervisor.OPTIONS, group=hypervisor.GROUP)


def list_opts() -> list[tuple[cfg.OptGroup, list[cfg.Opt]]]:
    """Return all options, for ``oslo-config-generator`` and ``oslo-config-validator``."""
    return [(hypervisor.GROUP, hypervisor.OPTIONS)]


def load(files: Sequence[str] = (), directories: Sequence[str] = ()) -> cfg.ConfigOpts:
    """Read the configuration for use without a cloud around.

    Sources, later ones winning: ``/etc/compute-driver/*.conf`` (unless *files* or *directories*
    are given), *files*, ``*.conf`` in *directories*, variables ``OS_HYPERVISOR__<OPTION>``.

    :raises ConfigurationError: names the option or file and what would be accepted.
    """
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    register(conf)
    if not files and not directories:
        files = [str(path) for path in sorted(SYSTEM_DIRECTORY.glob("*.conf"))]
    arguments = [f"--config-file={path}" for path in files]
    arguments += [f"--config-dir={path}" for path in directories]
    try:
        conf(arguments, project=PROJECT, default_config_files=[], default_config_dirs=[])
        for option in hypervisor.OPTIONS:
            conf.hypervisor[option.dest]
    except (cfg.Error, ValueError, OSError) as error:
        raise exceptions.ConfigurationError(" ".join(str(error).split())) from error
    return conf
