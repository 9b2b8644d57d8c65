# SPDX-License-Identifier: Apache-2.0
"""The manual page in the repository has every verb and option; ``tox -e genconfig`` makes it."""

import importlib.metadata
import unittest
from pathlib import Path

from compute_driver import plugins
from compute_driver.cmd.manager import COMMANDS, Manager

PAGE = Path(__file__).parents[3] / "doc" / "man" / "compute-driver.1"
#: Options that cliff adds to all verbs with tables; the page describes these options once.
TABLE = {
    "--column",
    "--fit-width",
    "--format",
    "--help",
    "--max-width",
    "--noindent",
    "--prefix",
    "--print-empty",
    "--quote",
    "--sort-ascending",
    "--sort-column",
    "--sort-descending",
    "--variable",
}


class ManualPageTest(unittest.TestCase):
    """The text of the page, without roff's escapes."""

    def setUp(self) -> None:
        self.text = PAGE.read_text(encoding="utf-8").replace("\\-", "-")
        ours = importlib.metadata.distribution("compute-driver").entry_points
        names = ours.select(group=plugins.OPERATIONS).names
        self.verbs = [name.replace("_", " ") for name in (*COMMANDS, *names)]

    def test_names_every_verb_and_its_options(self) -> None:
        for verb in self.verbs:
            section = self.text.partition(f"\n.SS {verb}\n")[2].partition("\n.SS ")[0]
            command = Manager().find_command(verb.split())[0](None, None)  # type: ignore[arg-type]
            actions = command.get_parser(verb)._get_optional_actions()
            options = {option for action in actions for option in action.option_strings}
            with self.subTest(verb=verb):
                self.assertTrue(section)
                self.assertFalse(
                    {o for o in options if o.startswith("--")} - TABLE - _words(section)
                )


def _words(text: str) -> set[str]:
    return set(text.replace(",", " ").replace("\\fP", " ").replace("\\fB", " ").split())
