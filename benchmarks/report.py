# SPDX-License-Identifier: Apache-2.0
"""Reports of measurements, as text for people and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.measure import Comparison, Samples, Spread, compare

_BAR_WIDTH = 40

#: Begin and end of one of several guests, in seconds since the first begin.
Span = tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """One run of a benchmark.

    :param benchmark: its name.
    :param conditions: parameters of the measurement, by name.
    :param baseline: the way that other ways are compared with.
    :param taken: seconds by way and phase; all ways have the same phases and rounds.
    :param aims: the most seconds that the median may be, by way and phase.
    :param spans: begin and end of each guest in the last round, by way and phase.
    """

    benchmark: str
    conditions: Mapping[str, object]
    baseline: str
    taken: Mapping[str, Samples]
    aims: Mapping[tuple[str, str], float] = dataclasses.field(default_factory=dict)
    spans: Mapping[str, Mapping[str, Sequence[Span]]] = dataclasses.field(default_factory=dict)

    @property
    def phases(self) -> list[str]:
        """The phases, in order."""
        return list(self.taken[self.baseline])

    def comparisons(self, phase: str) -> dict[str, Comparison]:
        """Return the comparison of each other way with the baseline in a phase."""
        reference = self.taken[self.baseline][phase]
        return {
            way: compare(samples[phase], reference)
            for way, samples in self.taken.items()
            if way != self.baseline
        }

    def missed(self) -> list[str]:
        """Return a line for each median that is larger than its aim."""
        medians = {
            (way, phase): Spread.of(self.taken[way][phase]).median for way, phase in self.aims
        }
        return [
            f"{way}, {phase}: {medians[way, phase]:.3f} s, should be at most {aim:g} s"
            for (way, phase), aim in self.aims.items()
            if medians[way, phase] > aim
        ]

    def as_json(self) -> dict[str, Any]:
        """Return the report with all single values in JSON's types; times in seconds."""
        return {
            "benchmark": self.benchmark,
            "conditions": dict(self.conditions),
            "baseline": self.baseline,
            "phases": {phase: self._phase_as_json(phase) for phase in self.phases},
            "spans": {way: dict(phases) for way, phases in self.spans.items()},
        }

    def _phase_as_json(self, phase: str) -> dict[str, Any]:
        compared = self.comparisons(phase)
        found = {}
        for way, samples in self.taken.items():
            values = list(samples[phase])
            found[way] = {"seconds": dataclasses.asdict(Spread.of(values)), "values": values}
            if way in compared:
                found[way]["against_baseline"] = dataclasses.asdict(compared[way])
        return found

    def as_text(self) -> str:
        """Return tables of milliseconds, one for each phase, and one line for each comparison."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield f"{self.benchmark}: " + ", ".join(f"{k} {v}" for k, v in self.conditions.items())
        for phase in self.phases:
            spreads = {way: Spread.of(samples[phase]) for way, samples in self.taken.items()}
            low = min(spread.minimum for spread in spreads.values())
            high = max(spread.maximum for spread in spreads.values())
            yield ""
            yield f"{phase + ', ms':<16}  median     min      q1      q3     max"
            for way, spread in spreads.items():
                figures = (
                    spread.median,
                    spread.minimum,
                    spread.lower,
                    spread.upper,
                    spread.maximum,
                )
                columns = "".join(f"{1000 * figure:8.1f}" for figure in figures)
                yield f"  {way:<14}{columns}  {bar(spread, low, high)}"
            for way, compared in self.comparisons(phase).items():
                yield f"  {way} over {self.baseline}: {_shown(compared)}"


def bar(spread: Spread, low: float, high: float, width: int = _BAR_WIDTH) -> str:
    """Draw a spread between *low* and *high*: ``--===|==---``, quartiles and median.

    :param width: in characters.
    """
    scale = (width - 1) / (high - low) if high > low else 0.0

    def place(value: float) -> int:
        return round((value - low) * scale)

    cells = [" "] * width
    for start, end, mark in (
        (spread.minimum, spread.maximum, "-"),
        (spread.lower, spread.upper, "="),
        (spread.median, spread.median, "|"),
    ):
        for index in range(place(start), place(end) + 1):
            cells[index] = mark
    return "".join(cells).rstrip()


def _shown(compared: Comparison) -> str:
    difference, ratio = compared.difference, compared.ratio
    return (
        f"{1000 * difference.median:+.1f} ms"
        f" (quartiles {1000 * difference.lower:+.1f} and {1000 * difference.upper:+.1f}),"
        f" {ratio.median:.2f} times as long"
        f" (quartiles {ratio.lower:.2f} and {ratio.upper:.2f})"
    )
