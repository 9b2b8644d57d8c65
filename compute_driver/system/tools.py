# SPDX-License-Identifier: Apache-2.0
"""Runs helper programs that read or write disk images, under limits.

Images come from strangers, so every program that parses an image runs under ``prlimit`` of
util-linux (prlimit(1), setrlimit(2)) and dies alone.
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


@dataclasses.dataclass(frozen=True)
class Program:
    """A program of the host that this package runs.

    :param package: the program's Debian package.
    :param purpose: the part that needs the program; empty if every guest needs the program.
    """

    package: str
    purpose: str = ""


def _formatter(package: str, filesystem: str) -> Program:
    return Program(package, f"ephemeral disks with {filesystem}")


#: The programs by name.
PROGRAMS = {
    "prlimit": Program("util-linux"),
    "qemu-img": Program("qemu-utils"),
    "fallocate": Program("util-linux", "option preallocate_disks"),
    "mkfs.ext2": _formatter("e2fsprogs", "ext2"),
    "mkfs.ext3": _formatter("e2fsprogs", "ext3"),
    "mkfs.ext4": _formatter("e2fsprogs", "ext4"),
    "mkfs.ntfs": _formatter("ntfs-3g", "ntfs"),
    "mkfs.vfat": _formatter("dosfstools", "vfat"),
    "mkfs.xfs": _formatter("xfsprogs", "xfs"),
    "mkswap": Program("util-linux", "swap disks"),
    "ssh": Program("openssh-client", "command ssh"),
    "ssh-keygen": Program("openssh-client", "the driver's own SSH key"),
}

#: Directories of programs and daemons.  An ordinary user's PATH lacks some of them, and the PATH of
#: a service may lack all.
SYSTEM_DIRECTORIES = (
    *("/usr/local/sbin", "/usr/local/bin"),
    *("/usr/sbin", "/usr/bin", "/sbin", "/bin"),
)

#: Each of glibc's malloc arenas reserves 64 MiB of address space, and qemu-img has many threads:
#: with one arena a conversion fits into 256 MiB, with more arenas it may need over 1 GiB.
_ENVIRONMENT = {"LC_ALL": "C", "MALLOC_ARENA_MAX": "1"}

#: Bytes of each thread's stack.  With the usual 8 MiB it depends on the number of threads at work
#: whether a conversion fits into the limit.
_STACK_BYTES = MIB

#: Messages of programs, in the C locale, whose address space is used up.
_OUT_OF_MEMORY = (
    "cannot allocate memory",
    "failed to allocate",
    "failed to map segment",
    "qemu_thread_create: resource temporarily unavailable",
)


class LimitPassed(exceptions.ToolFailed):
    """A program reached its limits; its input may still be good."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToolLimits:
    """Limits of one run of a program.

    :param cpu_seconds: processor time of all its threads, in seconds.
    :param memory_bytes: address space in bytes.
    """

    cpu_seconds: int
    memory_bytes: int


def limits(conf: cfg.ConfigOpts) -> ToolLimits:
    """Return the limits of options ``image_tool_cpu_seconds`` and ``image_tool_memory_mib``."""
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
    """Run a program under limits.

    :param argv: name and arguments of the program; no shell reads them.
    :param limits: the limits.
    :param timeout: seconds after which the program is killed; None means no limit.
    :param accepted: exit statuses that are no failure.
    :return: the program's standard output.
    :raises MissingDependency: if the host lacks the program; names the Debian package.
    :raises NotEnoughSpace: if the file system is full.
    :raises LimitPassed: if the program reached a limit; names the option that raises the limit.
    :raises ToolFailed: if the program failed; names the program and the reason.
    """
    # The second between soft and hard limit gives the program SIGXCPU before SIGKILL, so that
    # its death by the limit differs from a death by another SIGKILL.
    command = [
        require_program("prlimit"),
        f"--as={limits.memory_bytes}",
        f"--stack={_STACK_BYTES}",
        f"--cpu={limits.cpu_seconds}:{limits.cpu_seconds + 1}",
        "--core=0",
        "--",
        require_program(argv[0]),
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


def is_out_of_memory(errors: str) -> bool:
    """Tell whether a program complained that it gets no more memory.

    :param errors: its standard error, in the C locale.
    """
    lowered = errors.lower()
    return any(phrase in lowered for phrase in _OUT_OF_MEMORY)


def locate(name: str) -> str | None:
    """Return the absolute path of a program; None if the host lacks the program.

    The search covers :func:`search_path`.
    """
    return shutil.which(name, path=search_path())


def search_path() -> str:
    """Return the absolute directories of ``PATH``, and :data:`SYSTEM_DIRECTORIES`."""
    directories = [*os.environ.get("PATH", "").split(os.pathsep), *SYSTEM_DIRECTORIES]
    return os.pathsep.join(filter(os.path.isabs, directories))


def require_program(name: str) -> str:
    """Return the absolute path of a program.

    :raises MissingDependency: if the host lacks the program; names Debian's package.
    """
    path = locate(name)
    if path is None:
        program = PROGRAMS.get(Path(name).name)
        hint = f"; Debian's package {program.package} has it" if program else ""
        raise exceptions.MissingDependency(f"program {name!r} is not installed{hint}")
    return path


def _failure(
    name: str, status: int, errors: str, limits: ToolLimits
) -> exceptions.ComputeDriverError:
    lines = errors.strip().splitlines()
    reason = lines[-1].strip() if lines else "it gave no reason"
    lowered = errors.lower()
    if status == -signal.SIGXCPU:
        return LimitPassed(
            f"{name} used up its {limits.cpu_seconds} processor seconds; option "
            "[hypervisor] image_tool_cpu_seconds grants more"
        )
    if "no space left" in lowered or "disk quota exceeded" in lowered:
        return exceptions.NotEnoughSpace(f"{name}: {reason}")
    if is_out_of_memory(errors):
        return LimitPassed(
            f"{name} used up its {limits.memory_bytes // MIB} MiB of address space ({reason}); "
            "option [hypervisor] image_tool_memory_mib grants more"
        )
    how = f"exited with status {status}" if status > 0 else f"was killed by signal {-status}"
    return exceptions.ToolFailed(f"{name} {how}: {reason}")
