# SPDX-License-Identifier: Apache-2.0
"""``nova check``: report what this driver does with the options of nova's configuration."""

from __future__ import annotations

import argparse
import logging

from oslo_config import cfg

from compute_driver import conf, exceptions
from compute_driver.cmd import errors, verb
from compute_driver.conf import sources

LOG = logging.getLogger(__name__)


class NovaCheck(verb.Verb):
    """Report what this driver does with each option that an operator's nova.conf sets.

    The files are those of --config-file and --config-dir; without these options, nova-compute's
    usual files. Environment variables such as OS_LIBVIRT__VIRT_TYPE count, too. Nova need not be
    installed; where it is, the values are checked as nova itself does. A warning means that
    nova-compute logs the line when it starts; with a refused option nova-compute does not start.
    Exit status 1 if there is a warning or a refused option, 2 if a file cannot be read, else 0.
    """

    def take_action(self, parsed_args: argparse.Namespace) -> int:
        from compute_driver.nova.options import report
        from compute_driver.nova.options.rules import Effect

        files, directories = self.app.options.config_file, self.app.options.config_dir
        if not files and not directories:
            files = cfg.find_config_files("nova", "nova-compute")
            directories = cfg.find_config_dirs("nova", "nova-compute")
        if not files and not directories:
            # The places are those of oslo.config's _get_config_dirs.
            raise exceptions.ConfigurationError(
                "~/.nova, ~, /etc/nova and /etc have neither nova.conf nor nova-compute.conf;"
                " accepted: --config-file or --config-dir"
            )
        paths = [*files, *(path for name in directories for path in sources.files_in(name))]
        settings = sources.written(paths, report.TABLE)
        values = report.of_settings(settings)
        refused: dict[tuple[str, str], str] = {}
        try:
            from compute_driver.nova import configuration
        except ImportError:
            LOG.warning("Nova is not installed here, so nothing checks whether values are usable")
        else:
            values, refused = configuration.checked(paths, settings)
        lines = [line for line in report.lines(values) if (line.group, line.name) not in refused]
        faults = conf.problems(files, directories) + sorted(refused.values())
        for text in faults:
            self.app.stdout.write(f"{Effect.REFUSED}: {text}\n")
        for effect in reversed(Effect):
            for line in lines:
                if line.effect is effect:
                    self.app.stdout.write(f"{effect}: {line.text}\n")
        harmless = {Effect.WORKS, Effect.NEEDLESS}
        return errors.FAILED if faults or {line.effect for line in lines} - harmless else 0
