# SPDX-License-Identifier: Apache-2.0
"""Runs helper programs that read or write disk images, under limits.

Images come from strangers, so whatever parses one runs under util-linux ``prlimit`` (prlimit(1),
setrlimit(2)) and dies alone.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
from collections.abc import Collection, Sequence
from pathlib import Path

from oslo_config import cfg

from compute_driver import exceptions
from compute_driver.guest import MIB
from compute_driver.system import programs

#: Debian packages of the programs this driver runs.
PACKAGES = {
    "mkfs.ext4": "e2fsprogs",
    "mkswap": "util-linux",
    "prlimit": "util-linux",
    "qemu-img": "qemu-utils",
}

#: mkfs, mkswap and daemons live in directories that are not on an ordinary user's PATH.
SYSTEM_DIRECTORIES = ("/usr/local/sbin", "/usr/sbin", "/sbin")

#: Each of glibc's malloc arenas reserves 64 MiB of address space, and qemu-img has many threads:
#: with one arena its conversions fit into 256 MiB, without they may pass 1 GiB.
_ENVIRONMENT = {"LC_ALL": "C", "MALLOC_ARENA_MAX": "1"}

#: What programs say, in the C locale, when their address space is used up.
_OUT_OF_MEMORY = (
    "cannot allocate memory",
    "failed to allocate",
    "failed to map segment",
    "qemu_thread_create: resource temporarily unavailable",
)


class LimitPassed(exceptions.ToolFailed):
    """A program used up what it was granted; nothing is said about what it read."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToolLimits:
    """What one run of a program may use.

    :param cpu_seconds: processor time of all its threads, in seconds.
    :param memory_bytes: address space in bytes.
    """

    cpu_seconds: int
    memory_bytes: int


def limits(conf: cfg.ConfigOpts) -> ToolLimits:
    """Return the limits that ``image_tool_cpu_seconds`` and ``image_tool_memory_mib`` set."""
    options = conf.hypervisor
    return ToolLimits(
        cpu_seconds=options.image_tool_cpu_seconds,
        memory_bytes=options.image_tool_memory_mib * MIB,
    )


def run(
    argv: Sequence[str],
    limits: ToolLimits,
    *,
    timeout: float | None = None,
    accepted: Collection[int] = (0,),
) -> str:
    """Run a program under limits and return what it printed.

    :param argv: the program's name and its arguments; no shell reads them.
    :param limits: what it may use.
    :param timeout: seconds after which it is killed; None waits for as long as it takes.
    :param accepted: exit statuses that are no failure.
    :return: its standard output.
    :raises MissingDependency: if the host lacks the program; names the Debian package.
    :raises NotEnoughSpace: if it found the file system full.
    :raises LimitPassed: if it used up what it was granted; names the option that grants more.
    :raises ToolFailed: if it failed; names the program and the reason.
    """
    # One second between the soft and the hard limit tells SIGXCPU from any other SIGKILL.
    command = [
        _find("prlimit"),
        f"--as={limits.memory_bytes}",
        f"--cpu={limits.cpu_seconds}:{limits.cpu_seconds + 1}",
        "--core=0",
        "--",
        _find(argv[0]),
        *argv[1:],
    ]
    name = Path(argv[0]).name
    try:
        done = programs.run(command, environment=_ENVIRONMENT, timeout=timeout)
    except programs.TookTooLong:
        raise LimitPassed(f"{name} was killed: it took longer than {timeout:g} seconds") from None
    if done.status not in accepted:
        raise _failure(name, done.status, done.errors, limits)
    return done.output


def is_out_of_memory(said: str) -> bool:
    """Tell whether a program complained that there is no more memory for it.

    :param said: what it wrote to its standard error, in the C locale.
    """
    lowered = said.lower()
    return any(phrase in lowered for phrase in _OUT_OF_MEMORY)


def locate(name: str) -> str | None:
    """Return the absolute path of a program, be it on ``PATH`` or not; None if there is none."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_DIRECTORIES))
    found = shutil.which(name, path=path)
    return os.path.abspath(found) if found else None


def _find(name: str) -> str:
    found = locate(name)
    if found is None:
        package = PACKAGES.get(Path(name).name)
        hint = f"; Debian's package {package} has it" if package else ""
        raise exceptions.MissingDependency(f"program {name!r} is not installed{hint}")
    return found


def _failure(
    name: str, status: int, stderr: str, limits: ToolLimits
) -> exceptions.ComputeDriverError:
    lines = stderr.strip().splitlines()
    said = lines[-1].strip() if lines else "it gave no reason"
    lowered = stderr.lower()
    if status == -signal.SIGXCPU:
        return LimitPassed(
            f"{name} used up its {limits.cpu_seconds} processor seconds; option "
            "[hypervisor] image_tool_cpu_seconds grants more"
        )
    if "no space left" in lowered or "disk quota exceeded" in lowered:
        return exceptions.NotEnoughSpace(f"{name}: {said}")
    if is_out_of_memory(stderr):
        return LimitPassed(
            f"{name} used up its {limits.memory_bytes // MIB} MiB of address space ({said}); "
            "option [hypervisor] image_tool_memory_mib grants more"
        )
    how = f"exited with status {status}" if status > 0 else f"was killed by signal {-status}"
    return exceptions.ToolFailed(f"{name} {how}: {said}")
