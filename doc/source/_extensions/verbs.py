# SPDX-License-Identifier: Apache-2.0
"""Directives ``global-options`` and ``verbs``: the command line, described by its parsers.

cliff's directive expects a command behind each entry point, and markup in help texts.  The entry
points of this package name operations, whose commands the manager finds; help texts are plain text.
"""

import argparse
import re
from typing import Any

from cliff import command, sphinxext
from sphinx.application import Sphinx

from compute_driver.cmd.app import Application
from compute_driver.cmd.manager import Manager


class _Directive(sphinxext.AutoprogramCliffDirective):
    required_arguments = 0

    def _drop_ignored_options(self, parser: argparse.ArgumentParser, ignored: list[str]) -> None:
        super()._drop_ignored_options(parser, ignored)
        for action in parser._actions:
            action.help = re.sub(r"([\\*`|_])", r"\\\1", action.help or "")


class GlobalOptions(_Directive):
    """Describes the global options."""

    def _load_app(self) -> Application:
        return Application()


class Verbs(_Directive):
    """Describes all verbs."""

    def _load_app(self) -> None:
        return None

    def _load_commands(self) -> dict[str, type[command.Command]]:
        manager = Manager()
        return {name: manager.find_command(name.split())[0] for name in manager.commands}


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.setup_extension("cliff.sphinxext")
    app.add_directive("global-options", GlobalOptions)
    app.add_directive("verbs", Verbs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
