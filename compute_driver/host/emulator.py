# SPDX-License-Identifier: Apache-2.0
"""What one emulator can do, asked of the program itself: nothing else is started for it.

libvirt could tell some of it, but only by starting every emulator that is installed.

Source: QEMU, "QEMU QMP Reference Manual".
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterable
from typing import Any

from compute_driver import exceptions
from compute_driver.guest import GIB
from compute_driver.host.cache import Cache
from compute_driver.system import programs, tools

#: Seconds that an emulator may take to answer; it takes a twentieth of one.
_DEADLINE = 20
#: What it may use meanwhile.
_LIMITS = ("--core=0", f"--cpu={_DEADLINE}", f"--as={8 * GIB}")

#: Without devices and configuration of its own, and with its processors stopped.
_BARE = ["-nodefaults", "-no-user-config", "-display", "none", "-S", "-qmp", "stdio"]

#: How QEMU names a feature in its warnings: ``CPUID.07H:EBX.avx512f [bit 16]``.
_LEFT_OUT = re.compile(r"doesn't support requested feature: \S+?\.([\w.-]+) \[bit")


#: For how many processors on machines the answers of one emulator are kept.
_REHEARSALS = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """One of an emulator's machine types.

    :param alias: another name for it; may be empty.
    :param deprecated: whether it will be gone from newer emulators.
    """

    name: str
    alias: str
    deprecated: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """What an emulator says of itself.

    :param version: such as ``7.2.22``.
    :param machines: all of its machine types.
    :param features: names of those that its best processor has.
    """

    version: str
    machines: tuple[Machine, ...]
    features: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What came of making a machine with a processor.

    :param refusal: what the emulator says if it refuses, else empty.
    :param left_out: the features that the guest will not have in spite of its processor's model.
    """

    refusal: str
    left_out: tuple[str, ...]


class Emulators:
    """Asks emulators, each once as long as it stays the same file.

    :param cache: keeps what they said.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def describe(self, path: str) -> Description:
        """Return what an emulator says of itself.

        :param path: the program.
        :raises MissingDependency: if it does not run.
        :raises ToolFailed: if the host did not let it come to its end.
        """
        name = f"{os.path.basename(path)}-description"
        return self._cache.get(name, fingerprint(path), Description, lambda: _describe(path))

    def rehearse(self, path: str, machine: str, cpu: str) -> Rehearsal:
        """Have an emulator make a machine with that processor, without KVM, and end it again.

        :param machine: QEMU machine type.
        :param cpu: what follows QEMU's option ``-cpu``.
        :raises ToolFailed: if the host did not let it come to its end.
        """
        return self._cache.get(
            f"{os.path.basename(path)}-rehearsals",
            [*fingerprint(path), machine, cpu],
            Rehearsal,
            lambda: _rehearse(path, machine, cpu),
            most=_REHEARSALS,
        )


def fingerprint(path: str) -> list[Any]:
    """Return what changes when another emulator is installed under that path."""
    status = os.stat(path)
    return [os.path.realpath(path), status.st_size, status.st_mtime_ns, status.st_ino]


def _describe(path: str) -> Description:
    best = {"type": "full", "model": {"name": "max"}}
    status, answers, said = _run(
        path,
        ["-machine", "none"],
        [
            {"execute": "query-version"},
            {"execute": "query-machines"},
            {"execute": "query-cpu-model-expansion", "arguments": best},
        ],
    )
    if status or len(answers) < 3:
        raise exceptions.MissingDependency(f"emulator {path} does not run: {_last(said)}")
    version, machines, expansion = answers[:3]
    number = version["return"]["qemu"]
    # Some architectures lack the question, and others the answer.
    features = expansion.get("return", {}).get("model", {}).get("props", {})
    return Description(
        version="{major}.{minor}.{micro}".format(**number),
        machines=tuple(
            Machine(
                name=each["name"],
                alias=each.get("alias", ""),
                deprecated=bool(each.get("deprecated")),
            )
            for each in machines["return"]
        ),
        features=tuple(sorted(name for name, value in features.items() if value is True)),
    )


def _rehearse(path: str, machine: str, cpu: str) -> Rehearsal:
    options = ["-machine", f"{machine},accel=tcg", "-cpu", cpu]
    status, _answers, said = _run(path, options, [])
    return Rehearsal(
        refusal=_last(said) if status else "",
        left_out=tuple(sorted(set(_LEFT_OUT.findall(said)))),
    )


def _run(
    path: str, options: Iterable[str], questions: list[dict[str, Any]]
) -> tuple[int, list[dict[str, Any]], str]:
    """Run an emulator that ends when it has answered.

    :return: its exit status, its answers in order, and what it complained of.
    :raises ToolFailed: if it did not get as far as to answer or to refuse.
    """
    script = [{"execute": "qmp_capabilities"}, *questions, {"execute": "quit"}]
    prlimit = tools.locate("prlimit")
    done = programs.run(
        [*([prlimit, *_LIMITS, "--"] if prlimit else ()), path, *options, *_BARE],
        text="".join(json.dumps(question) + "\n" for question in script),
        environment={"LC_ALL": "C"},
        timeout=_DEADLINE,
    )
    if done.status < 0:
        raise exceptions.ToolFailed(f"emulator {path} was killed by signal {-done.status}")
    if done.status and tools.is_out_of_memory(done.errors):
        raise exceptions.ToolFailed(f"emulator {path} had no memory: {_last(done.errors)}")
    lines = [json.loads(line) for line in done.output.splitlines() if line.startswith("{")]
    answers = [line for line in lines if "return" in line or "error" in line]
    return done.status, answers[1:], done.errors


def _last(said: str) -> str:
    lines = said.strip().splitlines()
    text = lines[-1].strip() if lines else "it gave no reason"
    return text if len(text) <= 300 else f"{text[:297]}..."
