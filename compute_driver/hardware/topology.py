# SPDX-License-Identifier: Apache-2.0
"""The arrangement of virtual processors, where the user names only a part of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compute_driver import exceptions
from compute_driver.guest import MAX_VCPUS, Topology

#: Sockets come first, because systems are licensed by socket and libvirt makes sockets by default.
_LEVELS = ("sockets", "cores", "threads")


def fit(
    vcpus: int, wanted: Mapping[str, int], limits: Mapping[str, int] | None = None
) -> Topology | None:
    """Return the wanted arrangement with the most sockets, then the most cores.

    :param vcpus: number of virtual processors.
    :param wanted: exact numbers of ``sockets``, ``cores`` or ``threads``.
    :param limits: highest numbers of ``sockets``, ``cores`` or ``threads``.
    :return: None without a wish and without a limit.
    :raises InvalidParameter: if no arrangement makes *vcpus* processors.
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
    words = [f"{level}={number}" for level, number in wanted.items()]
    words += [f"max_{level}={number}" for level, number in limits.items()]
    accepted = f"numbers that make {vcpus} virtual CPUs together, none above its limit"
    raise exceptions.InvalidParameter("cpu topology", ", ".join(words), accepted)


def _arrangements(vcpus: int) -> Iterator[Topology]:
    for sockets in range(vcpus, 0, -1):
        if vcpus % sockets:
            continue
        rest = vcpus // sockets
        for cores in range(rest, 0, -1):
            if rest % cores == 0:
                yield Topology(sockets=sockets, cores=cores, threads=rest // cores)
