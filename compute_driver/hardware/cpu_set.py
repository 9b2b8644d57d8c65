# SPDX-License-Identifier: Apache-2.0
"""Sets of the host's processors, as text.

Source: Nova, "Configuration options", option ``[compute] cpu_shared_set``; libvirt, "Domain XML
format", ``<vcpu cpuset=>``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection

#: The largest number of a processor.
MAX_CPU = 2**16 - 1

ACCEPTED = "numbers of processors such as 4-12,^8,15: ranges, and ^ for excluded processors"

_PART = re.compile(r"(\^?)(\d{1,5})(?:-(\d{1,5}))?")


def parse(text: str) -> frozenset[int]:
    """Return the processors that a text names.

    :raises ValueError: if the text is no set of processors, or if the set is empty.
    """
    chosen: set[int] = set()
    excluded: set[int] = set()
    for part in filter(None, (word.strip() for word in text.split(","))):
        match = _PART.fullmatch(part.replace(" ", ""))
        first, last = (0, -1) if match is None else (int(match[2]), int(match[3] or match[2]))
        if match is None or last < first or last > MAX_CPU:
            raise ValueError(f"{part!r} names no processors; accepted: {ACCEPTED}")
        (excluded if match[1] else chosen).update(range(first, last + 1))
    if not chosen - excluded:
        raise ValueError(f"{text!r} names no processor; accepted: {ACCEPTED}")
    return frozenset(chosen - excluded)


def shown(cpus: Collection[int]) -> str:
    """Return the shortest text for a set of processors: ``0-3,6``."""
    ranges = []
    numbered = enumerate(sorted(cpus))
    for _, run in itertools.groupby(numbered, lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in run]
        last = f"-{numbers[-1]}" if len(numbers) > 1 else ""
        ranges.append(f"{numbers[0]}{last}")
    return ",".join(ranges)
