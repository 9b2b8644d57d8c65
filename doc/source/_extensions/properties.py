# SPDX-License-Identifier: Apache-2.0
"""Directive ``properties``: the properties that are understood, from the code that reads them."""

from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from compute_driver.properties import PROPERTIES


class Properties(Directive):
    """Lists each property and what it says of the guest."""

    def run(self) -> list[nodes.Node]:
        """Return a list of definitions."""
        listed = nodes.definition_list()
        by_meaning: dict[str, list[str]] = {}
        for name, meaning in PROPERTIES.items():
            by_meaning.setdefault(meaning.about, []).append(name)
        for about, names in by_meaning.items():
            term = nodes.term()
            for index, name in enumerate(names):
                term += nodes.Text(", " if index else "")
                term += nodes.literal(text=name)
            text = nodes.definition("", nodes.paragraph(text=about))
            listed += nodes.definition_list_item("", term, text)
        return [listed]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("properties", Properties)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
