# SPDX-License-Identifier: Apache-2.0
"""The abilities of one emulator, from the emulator itself; no other program is started.

libvirt knows a part of the abilities, but starts every installed emulator to answer.

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

#: Seconds that an emulator may take to answer; usually 0.05.
DEADLINE = 20
#: Limits of the emulator, as options of prlimit(1).
_LIMITS = ("--core=0", f"--cpu={DEADLINE}", f"--as={8 * GIB}")

#: Options of an emulator without default devices and configuration, with stopped processors.
_BARE = ["-nodefaults", "-no-user-config", "-display", "none", "-S", "-qmp", "stdio"]

#: How QEMU names a feature in its warnings: ``CPUID.07H:EBX.avx512f [bit 16]``.
_LEFT_OUT = re.compile(r"doesn't support requested feature: \S+?\.([\w.-]+) \[bit")

#: Number of rehearsals to keep for one emulator.
_REHEARSALS = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """One of an emulator's machine types.

    :param alias: another name; may be empty.
    :param deprecated: whether newer emulators will lack this machine type.
    """

    name: str
    alias: str
    deprecated: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """The abilities of an emulator.

    :param version: such as ``7.2.22``.
    :param machines: all machine types.
    :param features: names of the features of the best processor.
    :param devices: QEMU's names of all devices.
    """

    version: str
    machines: tuple[Machine, ...]
    features: tuple[str, ...]
    devices: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """Result of a trial start of a machine with a processor.

    :param refusal: the emulator's message if it refuses; empty otherwise.
    :param left_out: features of the processor's model that the guest will not have.
    """

    refusal: str
    left_out: tuple[str, ...]


class Emulators:
    """Asks emulators for their abilities, once as long as the program stays the same.

    :param cache: keeps the answers.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def describe(self, path: str) -> Description:
        """Return the abilities of an emulator.

        :param path: path of the program.
        :raises MissingDependency: if the emulator does not run.
        :raises ToolFailed: if the emulator was killed, ran out of memory or took too long.
        """
        name = f"{os.path.basename(path)}-description"
        return self._cache.get(name, fingerprint(path), Description, lambda: _describe(path))

    def rehearse(self, path: str, machine: str, cpu: str) -> Rehearsal:
        """Start a machine with a processor for trial, without KVM, and end it again.

        :param path: path of the emulator.
        :param machine: QEMU machine type.
        :param cpu: argument of QEMU's option ``-cpu``.
        :raises ToolFailed: if the emulator was killed, ran out of memory or took too long.
        """
        return self._cache.get(
            f"{os.path.basename(path)}-rehearsals",
            [*fingerprint(path), machine, cpu],
            Rehearsal,
            lambda: rehearse(path, machine, cpu),
            most=_REHEARSALS,
        )


def fingerprint(path: str) -> list[Any]:
    """Return values that change when another emulator is installed at *path*."""
    status = os.stat(path)
    return [os.path.realpath(path), status.st_size, status.st_mtime_ns, status.st_ino]


def _describe(path: str) -> Description:
    best = {"type": "full", "model": {"name": "max"}}
    devices = {"implements": "device", "abstract": False}
    status, answers, errors = _run(
        path,
        ["-machine", "none"],
        [
            {"execute": "query-version"},
            {"execute": "query-machines"},
            {"execute": "query-cpu-model-expansion", "arguments": best},
            {"execute": "qom-list-types", "arguments": devices},
        ],
    )
    if status or len(answers) < 4:
        raise exceptions.MissingDependency(f"emulator {path} does not run: {_last_line(errors)}")
    version, machines, expansion, types = answers[:4]
    number = version["return"]["qemu"]
    # Some architectures lack the command, and others have no answer.
    features = expansion.get("return", {}).get("model", {}).get("props", {})
    return Description(
        version="{major}.{minor}.{micro}".format(**number),
        machines=tuple(
            Machine(
                name=machine["name"],
                alias=machine.get("alias", ""),
                deprecated=bool(machine.get("deprecated")),
            )
            for machine in machines["return"]
        ),
        features=tuple(sorted(name for name, value in features.items() if value is True)),
        devices=tuple(sorted(entry["name"] for entry in types["return"])),
    )


def rehearse(path: str, machine: str, cpu: str) -> Rehearsal:
    """Start an emulator with a processor, without a guest.

    :param path: of the emulator.
    :param machine: a machine type of the emulator.
    :param cpu: value of QEMU's option ``-cpu``.
    :return: the emulator's refusal, if any, and the features that it leaves out.
    """
    options = ["-machine", f"{machine},accel=tcg", "-cpu", cpu]
    status, _answers, errors = _run(path, options, [])
    return Rehearsal(
        refusal=_last_line(errors) if status else "",
        left_out=tuple(sorted(set(_LEFT_OUT.findall(errors)))),
    )


def _run(
    path: str, options: Iterable[str], questions: list[dict[str, Any]]
) -> tuple[int, list[dict[str, Any]], str]:
    """Run an emulator until it has answered all questions.

    :return: its exit status, its answers in order, and its standard error.
    :raises ToolFailed: if the emulator was killed, ran out of memory or took too long.
    """
    script = [{"execute": "qmp_capabilities"}, *questions, {"execute": "quit"}]
    prlimit = tools.locate("prlimit")
    done = programs.run(
        [*([prlimit, *_LIMITS, "--"] if prlimit else ()), path, *options, *_BARE],
        text="".join(json.dumps(question) + "\n" for question in script),
        environment={"LC_ALL": "C"},
        timeout=DEADLINE,
    )
    if done.status < 0:
        raise exceptions.ToolFailed(f"emulator {path} was killed by signal {-done.status}")
    if done.status and tools.is_out_of_memory(done.errors):
        raise exceptions.ToolFailed(f"emulator {path} had no memory: {_last_line(done.errors)}")
    lines = [json.loads(line) for line in done.output.splitlines() if line.startswith("{")]
    answers = [line for line in lines if "return" in line or "error" in line]
    return done.status, answers[1:], done.errors


def _last_line(errors: str) -> str:
    lines = errors.strip().splitlines()
    text = lines[-1].strip() if lines else "it gave no reason"
    return text if len(text) <= 300 else f"{text[:297]}..."
