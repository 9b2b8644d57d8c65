# SPDX-License-Identifier: Apache-2.0
"""Ask about all guests of a host, for growing numbers of guests: seconds, and calls of libvirt.

``python -m benchmarks.scale`` from the top of a checkout.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from benchmarks import command
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import Guest
from compute_driver.libvirt.connection import Connection
from compute_driver.operations.base.context import Parts
from tests import libvirt_calls
from tests.functional import base

#: Guests that run; all others are off.
RUNNING = 5

MEMORY_MIB = 64

Question = Callable[[LibvirtDriver, Sequence[str]], object]

QUESTIONS: Mapping[str, Question] = {
    "list": lambda driver, _uuids: driver.list(),
    "states": lambda driver, uuids: [driver.state(uuid) for uuid in uuids],
    "statistics": lambda driver, _uuids: driver.stats(),
    "audit": lambda driver, _uuids: driver.audit(),
    "image list": lambda driver, _uuids: driver.image_list(),
    "image prune": lambda driver, _uuids: driver.image_prune(),
}


@dataclasses.dataclass(frozen=True)
class Answer:
    """What one question costs with one number of guests.

    :param guests: the number of guests.
    :param first: seconds of the first question of a new driver.
    :param first_calls: libvirt calls of the first question.
    :param then: seconds of a later question; the median.
    :param then_calls: libvirt calls of a later question.
    """

    guests: int
    first: float
    first_calls: int
    then: float
    then_calls: int


def make(parts: Parts, origin: Guest, number: int) -> list[Guest]:
    """Make guests that are off, each with files of its own.

    :param origin: a guest whose disks are copied.
    :param number: how many guests.
    """
    decision, files = parts.decide(origin), parts.plan(origin)
    made = []
    for _ in range(number):
        guest = base.guest(memory_mib=MEMORY_MIB)
        plan = parts.plan(guest, new_files=True)
        plan.directory.mkdir()
        for disk, copied in zip(files.disks, plan.disks, strict=True):
            shutil.copyfile(disk.source.address, copied.source.address)
        parts.define(parts.blueprint(guest, decision, new_files=True).xml)
        made.append(guest)
    return made


@contextlib.contextmanager
def listening() -> Iterator[LibvirtDriver]:
    """Return a new driver that listens to events, as in nova-compute."""
    driver = LibvirtDriver(base.configuration())
    try:
        driver.subscribe(lambda _event: None)
        yield driver
    finally:
        driver.close()


def ask(question: Question, uuids: Sequence[str], rounds: int) -> Answer:
    """Ask a new driver a question, and again.

    :param uuids: of all guests.
    :param rounds: how often the question is asked again.
    """
    with listening() as driver:

        def once() -> tuple[float, int]:
            with libvirt_calls.counted() as calls:
                began = time.perf_counter()
                question(driver, uuids)
                return time.perf_counter() - began, calls.total()

        first, first_calls = once()
        later = [once() for _ in range(rounds)]
        then, then_calls = (statistics.median(column) for column in zip(*later, strict=True))
    return Answer(len(uuids), first, first_calls, then, int(then_calls))


@contextlib.contextmanager
def host() -> Iterator[Callable[[int], list[str]]]:
    """Yield a function that makes guests until a number is reached, and returns their UUIDs.

    The first :data:`RUNNING` guests run.  All guests are destroyed in the end.
    """
    conf = base.configuration()
    driver = LibvirtDriver(conf)
    connection = Connection(conf)
    uuids: list[str] = []
    try:
        guests = [base.guest(memory_mib=MEMORY_MIB) for _ in range(RUNNING)]
        for guest in guests:
            uuids.append(guest.uuid)
            driver.spawn(guest)
        parts = Parts.of(conf, connection)

        def grown(number: int) -> list[str]:
            uuids.extend(guest.uuid for guest in make(parts, guests[0], number - len(uuids)))
            return list(uuids)

        yield grown
    finally:
        for uuid in uuids:
            driver.destroy(uuid)
        connection.close()
        driver.close()


def run(numbers: Sequence[int], rounds: int) -> dict[str, list[Answer]]:
    """Run the benchmark, and return the answers by question."""
    found: dict[str, list[Answer]] = {name: [] for name in QUESTIONS}
    with host() as grown:
        for number in sorted(set(numbers)):
            uuids = grown(number)
            for name, question in QUESTIONS.items():
                found[name].append(ask(question, uuids, rounds))
    return found


def numbers_of(parser: argparse.ArgumentParser, *usual: int) -> None:
    """Add the option for numbers of guests to a command line."""
    parser.add_argument(
        "--guests",
        type=_number,
        nargs="+",
        default=usual,
        metavar="N",
        help=f"numbers of guests ({' '.join(map(str, usual))})",
    )


def _number(text: str) -> int:
    number = int(text)
    if number <= RUNNING:
        raise argparse.ArgumentTypeError(f"{number}: more than {RUNNING} are accepted")
    return number


def exponent(answers: Sequence[Answer]) -> float:
    """Return the exponent of growth of a later question's time: 0 is flat, and 1 is linear."""
    points = [(math.log(answer.guests), math.log(answer.then)) for answer in answers]
    return statistics.linear_regression(*zip(*points, strict=True)).slope


def lines(found: Mapping[str, Sequence[Answer]]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"{'question':<12}  guests  first, ms  calls   then, ms  calls"
    for name, answers in found.items():
        for answer in answers:
            yield (
                f"{name:<12} {answer.guests:>7} {1000 * answer.first:>10.1f}"
                f" {answer.first_calls:>6} {1000 * answer.then:>10.1f} {answer.then_calls:>6}"
            )
        if len(answers) > 1:
            yield f"{name:<12} grows with exponent {exponent(answers):.2f}"


def main() -> int:
    """Run the command line and return its exit status."""
    parser = command.parser("scale", __doc__, count=5)
    numbers_of(parser, 40, 200, 1000)
    options = command.options(parser)
    found = run(options.guests, options.count)
    as_json = {
        name: [dataclasses.asdict(answer) for answer in answers] for name, answers in found.items()
    }
    print(
        json.dumps({"benchmark": "scale", "answers": as_json})
        if options.json
        else "\n".join(lines(found))
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
