# SPDX-License-Identifier: Apache-2.0
"""Ask what nova-compute asks again and again: this driver and nova's own, about the same guests.

``python -m benchmarks.periodic`` from the top of a checkout, by an interpreter with nova 34.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks import command, measure, scale
from benchmarks.report import Report
from compute_driver.libvirt.connection import Connection
from tests.functional import base

BASELINE = "in-tree"

#: The questions of ``benchmarks/nova_answers.py``, besides ``init_host``.
QUESTIONS = ("list_instance_uuids", "get_info of each", "get_available_resource")


class Process:
    """A process with one driver, which answers one question after another.

    :param name: of the driver.
    :ivar calls: the libvirt calls of the last answer to each question.
    :ivar memory_mib: the most memory that the process has had.
    """

    def __init__(self, name: str, uri: str, uuids: Sequence[str]) -> None:
        command = [sys.executable, "-m", "benchmarks.nova_answers", name, uri]
        self._process = subprocess.Popen(
            [*command, str(base.state_path()), *uuids],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._name = name
        self.calls: dict[str, int] = {}
        self.memory_mib = 0

    def read(self, question: str) -> float:
        """Return the seconds of the next answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} did not answer {question}: see standard error")
        told: Mapping[str, Any] = json.loads(line)
        self.calls[question] = told["calls"]
        self.memory_mib = told["memory_mib"]
        return float(told["seconds"])

    def ask(self, question: str) -> float:
        """Return the seconds of the answer to a question."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{question}\n")
        self._process.stdin.flush()
        return self.read(question)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@contextlib.contextmanager
def asked(name: str, uri: str, uuids: Sequence[str]) -> Iterator[Process]:
    """Yield the process of a driver."""
    process = Process(name, uri, uuids)
    try:
        yield process
    finally:
        process.close()


def run(number: int, uuids: Sequence[str], rounds: int) -> Report:
    """Run the benchmark with one number of guests."""
    calls: dict[str, dict[str, int]] = {}
    memory: dict[str, int] = {}
    connection = Connection(base.configuration())
    uri = connection.uri

    def answers(name: str) -> measure.Sample:
        with asked(name, uri, uuids) as process:
            first = {"init_host": process.read("init_host")}
            warm = {question: process.ask(question) for question in QUESTIONS}
            again = {f"{question}, again": process.ask(question) for question in QUESTIONS}
        calls[name], memory[name] = process.calls, process.memory_mib
        return first | warm | again

    try:
        runs = {name: lambda name=name: answers(name) for name in ("driver", BASELINE)}
        taken = measure.interleave(runs, command.rounds(rounds))
    finally:
        connection.close()
    shown = {
        f"libvirt calls of {question}, again": _pair(
            {name: counts[question] for name, counts in calls.items()}
        )
        for question in QUESTIONS
    }
    conditions = {"guests": number, "rounds": rounds, **shown, "MiB of memory": _pair(memory)}
    return Report(benchmark="periodic", conditions=conditions, baseline=BASELINE, taken=taken)


def _pair(values: Mapping[str, int]) -> str:
    return " / ".join(f"{values[name]} {name}" for name in sorted(values))


def main() -> int:
    """Run the command line and return its exit status."""
    parser = command.parser("periodic", __doc__, count=3)
    scale.numbers_of(parser, 40)
    options = command.options(parser)
    with scale.host() as grown:
        reports = [run(n, grown(n), options.count) for n in sorted(set(options.guests))]
    return max(command.show(report, as_json=options.json) for report in reports)


if __name__ == "__main__":
    sys.exit(main())
