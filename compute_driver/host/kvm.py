# SPDX-License-Identifier: Apache-2.0
"""Whether this host's KVM can really run guests, and the evidence.

An existing device node proves little: its driver may not run ordinary guests, or this user may not
open the node.  The evidence is the processor's flag, if the architecture has such a flag, a node
that opens, and a small guest loop that :mod:`kvm_probe` runs to its end.  The cheap checks come
first: the probe runs only if they leave the question open.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import grp
import os
import signal
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from compute_driver import exceptions
from compute_driver.hardware import architecture
from compute_driver.hardware.acceleration import Ability
from compute_driver.host import kvm_probe
from compute_driver.host.cache import Attempt, Cache
from compute_driver.system import interpreter, programs

#: Seconds that the guest loop may take; a processor needs some milliseconds.
DEADLINE = 2
#: Seconds that the guest loop may take if the probe only adds evidence.
_CURIOSITY = 1
#: Seconds that the probe's interpreter may take to start.
START_SECONDS = 10

#: Errors of opening a device node without permission.
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Places:
    """Files of the host that hold the evidence."""

    device: Path = Path("/dev/kvm")
    cpuinfo: Path = Path("/proc/cpuinfo")
    modules: Path = Path("/sys/module")
    boot_id: Path = Path("/proc/sys/kernel/random/boot_id")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Rule:
    """The needs of KVM on a host architecture.

    :param modules: the kernel modules with KVM, each with the processor's flag that the module
        needs; None means that the architecture has no such flag, and the probe decides.
    :param remedy: how to get the flag, or what else a failed probe may lack.
    """

    modules: Mapping[str, str | None]
    remedy: str

    @property
    def flags(self) -> list[str]:
        return [flag for flag in self.modules.values() if flag is not None]

    def wanted(self, flags: Collection[str]) -> list[str]:
        """Return the modules that work on a processor with these flags; KVM needs one of them."""
        return [m for m, flag in self.modules.items() if flag is None or flag in flags]


_X86 = _Rule(
    modules={"kvm_intel": "vmx", "kvm_amd": "svm"},
    remedy="enable VT-x or AMD-V in the firmware, or nested virtualisation for a virtual host",
)
_RULES = {
    "x86_64": _X86,
    "i686": _X86,
    "aarch64": _Rule(
        modules={"kvm": None}, remedy="have the firmware start Linux at exception level EL2"
    ),
    "s390x": _Rule(
        modules={"kvm": "sie"},
        remedy="for a virtual host, load kvm with nested=1 on the host below",
    ),
    "ppc64le": _Rule(
        modules={"kvm_hv": None, "kvm_pr": None},
        remedy="for a virtual host, enable nested KVM (cap-nested-hv) on the host below",
    ),
    "riscv64": _Rule(
        modules={"kvm": None}, remedy="a processor with the hypervisor extension is needed"
    ),
}
_NO_RULE = _Rule(modules={}, remedy="")

#: Evidence of a probe, by the last step that it reached.
_SHOWN = {
    "ran": "a small guest loop ran to its end",
    "made": "KVM made a virtual processor (no guest instruction was tried)",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probed(Attempt):
    """The result of a probe.

    :param reached: the last step that the probe reached.
    :param hung: whether the probe did not end in time.
    :param remedy: what lets the probe start; empty if the probe started.
    """

    reached: str
    hung: bool
    remedy: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Seen:
    """The state of the host, as its files show it.

    :param boot: identity of the kernel's boot.
    :param flags: the processor's flags that KVM needs.
    :param modules: the kernel modules of KVM that are loaded or built in.
    :param node: identity and permissions of the device node; empty if the node does not exist.
    :param problem: error number of opening the node; 0 if the node opens.
    """

    boot: str
    flags: list[str]
    modules: list[str]
    node: list[int]
    problem: int


@dataclasses.dataclass(frozen=True)
class _Clue:
    """One piece of evidence.

    :param text: the evidence, in words.
    :param remedy: what mends the fault; None if the evidence is good.
    """

    text: str
    remedy: str | None = None


class Detector:
    """Finds out what KVM can run, and again after each change of the host.

    :param host_architecture: canonical name of the host's architecture.
    :param cache: keeps the results of probes.
    :param places: files of the host that hold the evidence.
    """

    def __init__(
        self,
        host_architecture: str,
        cache: Cache,
        places: Places = Places(),
    ) -> None:
        self._architecture = host_architecture
        self._cache = cache
        self._places = places
        self._rule = _RULES.get(host_architecture, _NO_RULE)

    def ability(self, *, thorough: bool = False) -> Ability:
        """Return what KVM can run on this host.

        As long as the host stays the same, the answer takes a few system calls.

        :param thorough: also probe a KVM that cannot work, for more evidence.
        """
        if self._rule is _NO_RULE:
            reason = f"KVM on {self._architecture} is not known to this driver"
            return Ability(frozenset(), reason, remedy="see whether a newer driver knows it")
        seen = self._look()
        probed = None
        promising = bool(seen.flags) or not self._rule.flags
        if not seen.problem and (thorough or promising):
            probed = self._cache.get(
                "kvm",
                _fingerprint(seen),
                Probed,
                lambda: self._probe(promising=promising),
                holds=Probed.holds,
            )
        return self._judge(seen, probed)

    def _probe(self, *, promising: bool) -> Probed:
        if not promising:
            return probe(self._places.device, self._architecture, _CURIOSITY)
        first = probe(self._places.device, self._architecture)
        # A busy host may have been too slow for the first probe.
        return probe(self._places.device, self._architecture) if first.hung else first

    def fingerprint(self) -> list[Any]:
        """Return all facts of this host that the ability depends on, in JSON's types."""
        return _fingerprint(self._look())

    def _look(self) -> _Seen:
        boot = _text(self._places.boot_id)
        flags = _flags(self._places.cpuinfo, boot)
        return _Seen(
            boot=boot,
            flags=[flag for flag in self._rule.flags if flag in flags],
            modules=_modules(self._places.modules),
            node=_identity(self._places.device),
            problem=_problem(self._places.device),
        )

    def _judge(self, seen: _Seen, probed: Probed | None) -> Ability:
        clues = [*self._processor(seen), *self._module(seen), self._node(seen)]
        clues += [self._probed(seen, probed)] if probed else []
        faults = [clue for clue in clues if clue.remedy is not None]
        # If the only fault is that this user may not open the node, QEMU's user still may.
        proven = not (len(faults) == 1 and seen.problem in _FORBIDDEN)
        names = {a.name for a in architecture.TABLE.values() if self._architecture in a.kvm_hosts}
        return Ability(
            frozenset(names if not faults or not proven else ()),
            _sentence(clues),
            remedy=(faults[0].remedy or "") if faults else "",
            proven=proven,
        )

    def _processor(self, seen: _Seen) -> Iterator[_Clue]:
        if seen.flags:
            yield _Clue(f"the processor has flag {seen.flags[0]}")
        elif self._rule.flags:
            yield _Clue(
                f"the processor has no {' or '.join(self._rule.flags)} flag", self._rule.remedy
            )

    def _module(self, seen: _Seen) -> Iterator[_Clue]:
        wanted = self._rule.wanted(seen.flags)
        present = [module for module in wanted if module in seen.modules]
        if present:
            yield _Clue(f"module {present[0]} is present")
        elif wanted and seen.problem:
            yield _Clue(f"module {' or '.join(wanted)} is not loaded", f"modprobe {wanted[0]}")

    def _node(self, seen: _Seen) -> _Clue:
        device = self._places.device
        if not seen.problem:
            others = self._strangers(seen)
            behind = f" (its module is {' and '.join(others)})" if others else ""
            return _Clue(f"{device} exists and opens{behind}")
        if not seen.node:
            return _Clue(f"{device} does not exist", "in a container, pass the node in")
        why = os.strerror(seen.problem)
        if seen.problem in _FORBIDDEN:
            return _Clue(f"this user may not open {device} ({why})", _permission(seen, device))
        return _Clue(f"{device} does not open ({why})", "see the kernel's log")

    def _strangers(self, seen: _Seen) -> list[str]:
        """Return the modules that KVM does not need on this processor."""
        known = ("kvm", *self._rule.wanted(seen.flags))
        return [module for module in seen.modules if module not in known]

    def _probed(self, seen: _Seen, probed: Probed) -> _Clue:
        if not probed.problem:
            return _Clue(_SHOWN[probed.reached])
        threat = ": ordinary guests would hang" if probed.hung else ""
        return _Clue(f"{probed.problem}{threat}", probed.remedy or self._remedy(seen))

    def _remedy(self, seen: _Seen) -> str:
        """Return how a failed probe can succeed."""
        if not seen.flags:
            return self._rule.remedy
        strangers = self._strangers(seen)
        if strangers:
            return f"unload {' and '.join(strangers)}, which may hold the node"
        return "end other programs that may hold the processor, such as another hypervisor"


def probe(device: Path, host_architecture: str, deadline: int = DEADLINE) -> Probed:
    """Run a few guest instructions in a separate process, which ends in time.

    :param device: the device node of KVM.
    :param host_architecture: canonical name of the host's architecture.
    :param deadline: seconds that the instructions may take.
    """
    python = interpreter.find_python()
    command = [python, "-I", "-S", kvm_probe.__file__]
    command += [str(device), host_architecture, str(deadline)]
    words: list[str] = []
    hung, remedy = False, ""
    try:
        ended = programs.run(command, timeout=START_SECONDS + deadline)
    except programs.TookTooLong as error:
        problem, hung = f"the probe did not end: {error}", True
    except exceptions.ToolFailed as error:
        problem = f"the probe did not start: {error}"
        remedy = f"find out why {python} does not start"
    else:
        words = ended.output.splitlines()
        problem = _problem_of(ended.status, words, deadline)
        hung = ended.status == -signal.SIGALRM
    reached = [word for word in words if word in ("opened", *_SHOWN)]
    return Probed(
        reached=reached[-1] if reached else "",
        problem=problem,
        hung=hung,
        remedy=remedy,
        at=time.time(),
    )


def _problem_of(status: int, words: list[str], deadline: int) -> str:
    if status == 0:
        return ""
    if status == -signal.SIGALRM:
        return f"a small guest loop did not end within {deadline} s"
    return f"the probe {words[-1] if words else f'exited with status {status}'}"


def _fingerprint(seen: _Seen) -> list[Any]:
    user = [os.geteuid(), os.getegid(), *sorted(os.getgroups())]
    return [seen.boot, seen.flags, seen.modules, seen.node, seen.problem, user]


@functools.lru_cache(maxsize=8)
def _flags(cpuinfo: Path, boot: str) -> frozenset[str]:
    """Return the processor's flags, which stay the same during one *boot*.

    The cache saves the long reading on hosts with many processors.
    """
    del boot
    with contextlib.suppress(OSError), cpuinfo.open() as lines:
        for line in lines:
            # "flags" on x86, "features" on s390x; all processors have the same.
            name, _, words = line.partition(":")
            if name.strip() in ("flags", "features"):
                return frozenset(words.split())
    return frozenset()


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # some containers lack the file
        return ""


def _modules(directory: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if name.startswith("kvm"))
    except OSError:
        return []


def _identity(device: Path) -> list[int]:
    try:
        node = device.stat()
    except OSError:
        return []
    return [
        *(node.st_dev, node.st_ino, node.st_rdev, node.st_ctime_ns),
        *(node.st_mode, node.st_uid, node.st_gid),
    ]


def _problem(device: Path) -> int:
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def _permission(seen: _Seen, device: Path) -> str:
    """Return how this user gets the permission to open the node."""
    mode, _owner, group = seen.node[-3:]
    shared = stat.S_IRGRP | stat.S_IWGRP
    if group == 0 or mode & shared != shared:
        return f"give {device} to group kvm, with mode 0660, and add the user to it"
    try:
        return f"add the user to group {grp.getgrgid(group).gr_name}"
    except KeyError:
        return f"add the user to the group with number {group}"


def _sentence(clues: list[_Clue]) -> str:
    """Return the evidence in one sentence, faults last."""
    good = _listed([clue.text for clue in clues if clue.remedy is None])
    wrong = _listed([clue.text for clue in clues if clue.remedy is not None])
    return ", but ".join(part for part in (good, wrong) if part)


def _listed(texts: list[str]) -> str:
    return ", and ".join(part for part in (", ".join(texts[:-1]), *texts[-1:]) if part)
