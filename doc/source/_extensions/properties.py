# SPDX-License-Identifier: Apache-2.0
"""Directives that list properties and options, from the tables of the package.

``properties`` lists the properties of hardware, ``nova-properties`` all properties of nova, and
``nova-options`` the options of nova.
"""

from collections.abc import Iterable
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from compute_driver.hardware.properties import PROPERTIES
from compute_driver.nova import properties as nova
from compute_driver.nova.options import report
from compute_driver.nova.options.rules import Effect, Rule


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


class NovaOptions(Directive):
    """Lists what the driver does with each of nova's options, by group."""

    def run(self) -> list[nodes.Node]:
        """Return a table for each group."""
        return [
            _table(
                f"[{group}]",
                ("Option", "Effect", "Accepted", "How, or why"),
                [_row(name, rule) for name, rule in sorted(rules.items())],
            )
            for group, rules in report.TABLE.items()
        ]


def _row(name: str, rule: Rule) -> tuple[str, ...]:
    effect, about = str(rule.effect), rule.about
    if rule.accepted:
        effect = {Effect.REFUSED: "others refused", Effect.WARNED: "others warned"}[rule.otherwise]
        about = "; ".join(filter(None, (rule.about, rule.lack)))
    return (name, effect, ", ".join(word or "unset" for word in rule.accepted), about)


def _table(title: str, heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> nodes.Node:
    group = nodes.tgroup(cols=len(heads))
    group += [nodes.colspec(colwidth=width) for width in (30, 14, 16, 40)]
    group += nodes.thead("", _cells(heads))
    group += nodes.tbody("", *map(_cells, rows))
    return nodes.table("", nodes.title(text=title), group)


def _cells(texts: tuple[str, ...]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph(text=text)) for text in texts))


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
    app.add_directive("nova-options", NovaOptions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
