# SPDX-License-Identifier: Apache-2.0
"""Measures several ways of one operation under the same noise of the machine.

Each round runs every way once and begins with another way. Ways are compared round by round: a
machine that is slow for some seconds slows all ways down.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

#: Durations of one run: seconds by phase.
Sample = Mapping[str, float]

#: All runs of one way: seconds by phase, in the order of the rounds.
Samples = Mapping[str, Sequence[float]]


@dataclasses.dataclass(frozen=True)
class Spread:
    """Extremes and quartiles of values, in the values' unit."""

    minimum: float
    lower: float
    median: float
    upper: float
    maximum: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Return the extremes and quartiles of one or more values."""
        ordered = sorted(values)
        # A lone value is its own quartiles; quantiles() demands two.
        several = ordered if len(ordered) > 1 else ordered * 2
        lower, median, upper = statistics.quantiles(several, n=4, method="inclusive")
        return cls(ordered[0], lower, median, upper, ordered[-1])


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One way compared with the baseline, round by round.

    :param difference: additional seconds of the way.
    :param ratio: the way's duration over the baseline's.
    """

    difference: Spread
    ratio: Spread


def compare(values: Sequence[float], baseline: Sequence[float]) -> Comparison:
    """Compare a phase's durations with the baseline's in the same rounds."""
    pairs = list(zip(values, baseline, strict=True))
    return Comparison(
        difference=Spread.of(value - base for value, base in pairs),
        ratio=Spread.of(value / base for value, base in pairs),
    )


def interleave(
    ways: Mapping[str, Callable[[], Sample]], rounds: Iterable[object]
) -> dict[str, dict[str, list[float]]]:
    """Run every way once in each round, after one round that warms up and does not count.

    :param ways: functions that run a way once, by the way's name.
    :param rounds: one item for each round that counts; a progress bar, say.
    :return: seconds by way and phase.
    """
    order = list(ways)
    taken: dict[str, dict[str, list[float]]] = {name: {} for name in order}
    for run in ways.values():
        run()
    for _ in rounds:
        for name in order:
            for phase, seconds in ways[name]().items():
                taken[name].setdefault(phase, []).append(seconds)
        # The first way of a round finds the caches in another state, so ways take turns as first.
        order.append(order.pop(0))
    return taken
