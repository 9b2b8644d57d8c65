# SPDX-License-Identifier: Apache-2.0
"""Measuring several ways of doing one thing, so that they share the machine's noise.

Each round runs every way once, beginning with another one each time.  Ways are compared round by
round: what slowed a machine down for some seconds, slowed down all of them.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

#: What one run took: seconds by phase.
Sample = Mapping[str, float]

#: All runs of one way: seconds by phase, in the order of the rounds.
Samples = Mapping[str, Sequence[float]]


@dataclasses.dataclass(frozen=True)
class Spread:
    """How some values are spread; in their unit."""

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
    """One way held against the baseline, round by round.

    :param difference: seconds that it took longer.
    :param ratio: how many times as long it took.
    """

    difference: Spread
    ratio: Spread


def compare(values: Sequence[float], baseline: Sequence[float]) -> Comparison:
    """Compare what one phase took with what it took the baseline in the same rounds."""
    pairs = list(zip(values, baseline, strict=True))
    return Comparison(
        difference=Spread.of(value - base for value, base in pairs),
        ratio=Spread.of(value / base for value, base in pairs),
    )


def interleave(
    ways: Mapping[str, Callable[[], Sample]], rounds: Iterable[object]
) -> dict[str, dict[str, list[float]]]:
    """Run every way once in each round, after one round that warms up and does not count.

    :param ways: what runs one way once, by the way's name.
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
        # None is always first: it would find the caches as another way left them.
        order.append(order.pop(0))
    return taken
