# SPDX-License-Identifier: Apache-2.0
"""Run several benchmarks, and make one HTML page with tables and plots of their results.

``python -m benchmarks.page DIRECTORY BENCHMARK...`` from the top of a checkout.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lxml import etree, html
from lxml.html import builder
from matplotlib import figure

Result = Mapping[str, Any]

_STYLE = """
body { font-family: sans-serif; max-width: 60em; margin: auto; }
td, th { text-align: right; padding: 0 0.8em; }
td:first-child, th:first-child { text-align: left; }
"""

_NOTE = (
    "Each ratio compares two ways of the same work in the same run: the ways take turns, and every"
    " round is compared with the same round of the baseline. Plots of ratios show quartiles and"
    " medians; the line at 1 is the baseline."
)


def run(name: str) -> tuple[str, int]:
    """Run a benchmark, and return its results, JSON in lines, and its exit status."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    return done.stdout, done.returncode


def page(results: Iterable[Result]) -> str:
    """Return the page."""
    body = builder.BODY(builder.H1("Benchmarks"), builder.P(_NOTE))
    for result in results:
        described = importlib.import_module(f"benchmarks.{result['benchmark']}").__doc__ or ""
        body.append(builder.H2(result["benchmark"]))
        body.append(builder.P(described.partition("\n")[0]))
        body.extend(_growth(result) if "answers" in result else _comparison(result))
    head = builder.HEAD(
        builder.META(charset="utf-8"), builder.TITLE("Benchmarks"), builder.STYLE(_STYLE)
    )
    return html.tostring(
        builder.HTML(head, body, lang="en"), encoding="unicode", doctype="<!DOCTYPE html>"
    )


def _comparison(result: Result) -> Iterator[etree._Element]:
    """Yield the conditions, the table and the plot of a report."""
    conditions = (builder.LI(f"{name}: {value}") for name, value in result["conditions"].items())
    yield builder.UL(*conditions)
    baseline = result["baseline"]
    rows, ratios = [], {}
    for phase, ways in result["phases"].items():
        for way, measured in ways.items():
            ratio = measured.get("against_baseline", {}).get("ratio")
            rows.append([f"{phase}, {way}", _ms(measured["seconds"]["median"]), _ratio(ratio)])
            if ratio:
                pairs = zip(measured["values"], ways[baseline]["values"], strict=True)
                ratios[f"{phase}, {way}"] = [value / base for value, base in pairs]
    yield _table(["", "median, ms", f"over {baseline}: median (quartiles)"], rows)
    if ratios:
        yield _boxes(ratios, f"ratio to {baseline}")
    for way, phases in result["spans"].items():
        for phase, spans in phases.items():
            yield _timeline(spans, f"{phase} by {way} in the last round: seconds")


def _growth(result: Result) -> Iterator[etree._Element]:
    """Yield the table and the plot of questions about more and more guests."""
    answers = result["answers"]
    rows = [
        [
            f"{question}, {answer['guests']} guests",
            *(_ms(answer["first"]), str(answer["first_calls"])),
            *(_ms(answer["then"]), str(answer["then_calls"])),
        ]
        for question, row in answers.items()
        for answer in row
    ]
    yield _table(["", "first, ms", "libvirt calls", "then, ms", "libvirt calls"], rows)
    drawing = figure.Figure(figsize=(8, 4), layout="constrained")
    axes = drawing.subplots()
    for question, row in answers.items():
        axes.loglog(
            [answer["guests"] for answer in row],
            [1000 * answer["then"] for answer in row],
            marker="o",
            label=question,
        )
    axes.set(xlabel="guests", ylabel="ms")
    axes.legend()
    yield _svg(drawing)


def _table(titles: list[str], rows: Iterable[list[str]]) -> etree._Element:
    return builder.TABLE(
        builder.TR(*map(builder.TH, titles)), *(builder.TR(*map(builder.TD, row)) for row in rows)
    )


def _boxes(values: Mapping[str, list[float]], label: str) -> etree._Element:
    drawing = figure.Figure(figsize=(8, 0.8 + 0.4 * len(values)), layout="constrained")
    axes = drawing.subplots()
    axes.boxplot(list(values.values()), orientation="horizontal")
    axes.set_yticklabels(list(values))
    axes.invert_yaxis()
    axes.axvline(1, linestyle="--")
    axes.set(xlabel=label)
    return _svg(drawing)


def _timeline(spans: list[tuple[float, float]], label: str) -> etree._Element:
    """Draw a bar for each guest, in the order of their begins."""
    drawing = figure.Figure(figsize=(8, 3), layout="constrained")
    axes = drawing.subplots()
    begins, ends = zip(*sorted(spans), strict=True)
    widths = [end - begin for begin, end in zip(begins, ends, strict=True)]
    axes.barh(range(len(begins)), widths, left=begins)
    axes.invert_yaxis()
    axes.set(xlabel=label, ylabel="guests")
    return _svg(drawing)


def _svg(drawing: figure.Figure) -> etree._Element:
    written = io.BytesIO()
    drawing.savefig(written, format="svg")
    return builder.DIV(etree.fromstring(written.getvalue()))


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


def _ratio(spread: Mapping[str, float] | None) -> str:
    if spread is None:
        return "1"
    return f"{spread['median']:.3f} ({spread['lower']:.3f} to {spread['upper']:.3f})"


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.page", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("directory", type=Path, help="where the page and the results are written")
    parser.add_argument("benchmarks", nargs="+", metavar="BENCHMARK", help="see README.rst")
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    results: list[Result] = []
    failed = False
    for name in arguments.benchmarks:
        print(f"{name} ...", file=sys.stderr)
        lines, status = run(name)
        failed = failed or status != 0
        (arguments.directory / f"{name}.json").write_text(lines)
        results += map(json.loads, lines.splitlines())
    (arguments.directory / "index.html").write_text(page(results), encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
