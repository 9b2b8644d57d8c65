# SPDX-License-Identifier: Apache-2.0
"""Directives that list the properties of images and flavors, from the tables of the package.

``properties`` lists the properties of hardware, ``nova-properties`` all properties of nova.
"""

from collections.abc import Iterable
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from compute_driver.hardware.properties import PROPERTIES
from compute_driver.nova import properties as nova


class Properties(Directive):
    """Lists each property with its meaning for the guest."""

    def run(self) -> list[nodes.Node]:
        """Return a list of definitions."""
        return [_listed((meaning.about, name) for name, meaning in PROPERTIES.items())]


class NovaProperties(Directive):
    """Lists the effect of each image property and extra spec of nova."""

    def run(self) -> list[nodes.Node]:
        """Return a list of definitions."""
        works = [("works", name) for name in sorted({*PROPERTIES, *nova.CONVERTED})]
        works += [("gives no defaults: the log names the properties to set", nova.NO_DEFAULTS)]
        left = [(f"left to {who}", name) for name, who in nova.UNCONCERNED.items()]
        refused = [
            (f"refused, unless {harmless[0]}" if harmless else "refused", name)
            for name, harmless in nova.REFUSED.items()
        ]
        return [_listed([*works, *left, *sorted(refused)])]


def _listed(pairs: Iterable[tuple[str, str]]) -> nodes.Node:
    listed = nodes.definition_list()
    by_meaning: dict[str, list[str]] = {}
    for about, name in pairs:
        by_meaning.setdefault(about, []).append(name)
    for about, names in by_meaning.items():
        term = nodes.term()
        for index, name in enumerate(names):
            term += nodes.Text(", " if index else "")
            term += nodes.literal(text=name)
        text = nodes.definition("", nodes.paragraph(text=about))
        listed += nodes.definition_list_item("", term, text)
    return listed


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("properties", Properties)
    app.add_directive("nova-properties", NovaProperties)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
