# SPDX-License-Identifier: Apache-2.0
"""Directives ``global-options`` and ``verbs``: the command line, described by its own parsers.

cliff's directive takes each entry point of a namespace for a command; ours are operations, for
which the command line itself finds the commands.  It also takes help texts for markup.
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
    """Describes the options that every verb takes."""

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
