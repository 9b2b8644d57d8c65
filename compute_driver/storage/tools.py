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

from compute_driver import concurrency, exceptions
from compute_driver.guest import MIB

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
    program = argv[0]
    # One second between the soft and the hard limit tells SIGXCPU from any other SIGKILL.
    command = [
        _find("prlimit"),
        f"--as={limits.memory_bytes}",
        f"--cpu={limits.cpu_seconds}:{limits.cpu_seconds + 1}",
        "--core=0",
        "--",
        _find(program),
        *argv[1:],
    ]
    subprocess = concurrency.native("subprocess")
    try:
        done = concurrency.run_blocking(
            subprocess.run,
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env=os.environ | _ENVIRONMENT,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LimitPassed(
            f"{Path(program).name} was killed: it took longer than {timeout:g} seconds"
        ) from None
    if done.returncode not in accepted:
        raise _failure(Path(program).name, done.returncode, done.stderr, limits)
    return str(done.stdout)


def locate(program: str) -> str | None:
    """Return the absolute path of a program, be it on ``PATH`` or not; None if there is none."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *SYSTEM_DIRECTORIES))
    found = shutil.which(program, path=path)
    return os.path.abspath(found) if found else None


def _find(program: str) -> str:
    found = locate(program)
    if found is None:
        package = PACKAGES.get(Path(program).name)
        hint = f"; Debian's package {package} has it" if package else ""
        raise exceptions.MissingDependency(f"program {program!r} is not installed{hint}")
    return found


def _failure(
    program: str, status: int, stderr: str, limits: ToolLimits
) -> exceptions.ComputeDriverError:
    lines = stderr.strip().splitlines()
    said = lines[-1].strip() if lines else "it gave no reason"
    lowered = stderr.lower()
    if status == -signal.SIGXCPU:
        return LimitPassed(
            f"{program} used up its {limits.cpu_seconds} processor seconds; option "
            "[hypervisor] image_tool_cpu_seconds grants more"
        )
    if "no space left" in lowered or "disk quota exceeded" in lowered:
        return exceptions.NotEnoughSpace(f"{program}: {said}")
    if any(phrase in lowered for phrase in _OUT_OF_MEMORY):
        return LimitPassed(
            f"{program} used up its {limits.memory_bytes // MIB} MiB of address space ({said}); "
            "option [hypervisor] image_tool_memory_mib grants more"
        )
    how = f"exited with status {status}" if status > 0 else f"was killed by signal {-status}"
    return exceptions.ToolFailed(f"{program} {how}: {said}")
