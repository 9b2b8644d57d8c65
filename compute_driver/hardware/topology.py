# SPDX-License-Identifier: Apache-2.0
"""How virtual processors are arranged when only part of it is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compute_driver import exceptions
from compute_driver.guest import MAX_VCPUS, Topology

#: What systems license by comes first: libvirt, too, makes sockets if nothing is said.
_LEVELS = ("sockets", "cores", "threads")


def fit(
    vcpus: int, wanted: Mapping[str, int], limits: Mapping[str, int] | None = None
) -> Topology | None:
    """Return the arrangement with the most sockets, then the most cores, that is as wanted.

    :param vcpus: number of virtual processors.
    :param wanted: exact numbers of ``sockets``, ``cores`` or ``threads``.
    :param limits: the most of them, by the same words.
    :return: None if nothing is wanted and nothing limited.
    :raises InvalidParameter: if no arrangement makes that many processors.
    """
    limits = limits or {}
    if not wanted and not limits:
        return None
    for level, number in (*wanted.items(), *limits.items(), ("vcpus", vcpus)):
        if not 1 <= number <= MAX_VCPUS:
            raise exceptions.InvalidParameter(level, number, f"a whole number, 1 to {MAX_VCPUS}")
    for topology in _arrangements(vcpus):
        numbers = {level: getattr(topology, level) for level in _LEVELS}
        if all(numbers[level] == number for level, number in wanted.items()) and all(
            numbers[level] <= number for level, number in limits.items()
        ):
            return topology
    said = [f"{level}={number}" for level, number in wanted.items()]
    said += [f"max_{level}={number}" for level, number in limits.items()]
    accepted = f"numbers that make {vcpus} virtual CPUs together, none above its limit"
    raise exceptions.InvalidParameter("cpu topology", ", ".join(said), accepted)


def _arrangements(vcpus: int) -> Iterator[Topology]:
    for sockets in range(vcpus, 0, -1):
        if vcpus % sockets:
            continue
        rest = vcpus // sockets
        for cores in range(rest, 0, -1):
            if rest % cores == 0:
                yield Topology(sockets=sockets, cores=cores, threads=rest // cores)
