# SPDX-License-Identifier: Apache-2.0
"""The copy of a running guest's disk that its emulator makes: libvirt's backup in push mode.

As long as there may be such a copy, the guest's directory has a file of it.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import libvirt

from compute_driver import exceptions
from compute_driver.choices import ACTIVE, DiskFormat, Quiesce
from compute_driver.guest import is_uuid
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt import events
from compute_driver.operations.base import freezing
from compute_driver.operations.base.context import Parts
from compute_driver.storage.source import FileSource, Source
from compute_driver.system import concurrency, files, steps, tools
from compute_driver.xml import backup
from compute_driver.xml import source as source_xml

R = TypeVar("R")

#: The emulator's copy, in the guest's directory.
_COPY = "snapshot.qcow2"

#: A link in the guest's directory to the unfinished image, which is in another directory.
ELSEWHERE = "snapshot.elsewhere"

#: Seconds that the emulator may take to end a copy.
ABORT_SECONDS = 30.0

#: Seconds that the emulator may take to begin a copy, and to tell of the copy meanwhile.
EMULATOR_SECONDS = 30.0

#: Seconds by which libvirt may report the end of a guest later than the end of the guest's jobs.
_STOP_SECONDS = 2.0


def give_up(parts: Parts, uuid: str) -> None:
    """Make the running snapshot of a guest fail soon, before the removal of the guest."""
    # Without a copy, an emulator that hangs is not asked.
    if is_uuid(uuid) and leftovers(parts, uuid):
        with contextlib.suppress(exceptions.ComputeDriverError):  # the removal waits then
            _aborted(parts, uuid, time.monotonic() + ABORT_SECONDS)


def mend(parts: Parts, uuid: str) -> None:
    """End the copying of a guest's disk, and remove its files; nothing if there are no such files.

    A backup of another program continues.
    """
    left = leftovers(parts, uuid)
    if not left:
        return
    deadline = time.monotonic() + ABORT_SECONDS
    with contextlib.suppress(exceptions.GuestNotFound):
        with parts.connection.watch(uuid) as watch:
            if _aborted(parts, uuid, deadline):
                watch.wait({events.JOB_ENDED, events.STOPPED}, deadline)
        concurrency.within(deadline, parts.on_domain, uuid, domains.settle)
    for path in left:
        if path.is_symlink():
            path.readlink().unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def leftovers(parts: Parts, uuid: str) -> list[Path]:
    """Return the files of a copy that is being made, or was being made when it was interrupted."""
    directory = parts.directory(uuid)
    return sorted((*directory.glob("snapshot.*"), *directory.glob(".snapshot.*")))


def source(parts: Parts, uuid: str) -> FileSource:
    """Return the copy that the emulator makes, or has made."""
    return FileSource(path=parts.directory(uuid) / _COPY, format=DiskFormat.QCOW2)


def make(parts: Parts, uuid: str, disk: Source, size: int, wish: Quiesce, deadline: float) -> bool:
    """Have the emulator copy a disk; False if the guest stopped meanwhile.

    :raises OperationTimeout: if the copy takes too long, or the emulator hangs.
    """
    copy = source(parts, uuid).path
    # This process makes the file: libvirt gives the file back to its owner in the end.
    with files.new_file(copy) as new:
        argv = ["qemu-img", "create", "-q", "-f", "qcow2", str(new), str(size)]
        tools.run(argv, tools.limits(parts.conf))
    with parts.connection.watch(uuid) as watch:
        with freezing.quiesced(parts, uuid, wish):
            begun = _asked(parts, uuid, functools.partial(_begin, disk=disk, target=copy))
            steps.announce("copy begun")
        if not begun:
            return False
        return _wait(parts, uuid, watch, deadline)


def _begin(domain: libvirt.virDomain, disk: Source, target: Path) -> bool:
    """Begin to copy; False if the guest has stopped."""
    try:
        device = source_xml.device(domain.XMLDesc(), disk)
        if device is None:
            raise exceptions.SnapshotFailed(
                f"guest {domain.name()!r} has no disk {disk.address} now"
            )
        job = backup.push(device, target)
        domain.backupBegin(job, None, libvirt.VIR_DOMAIN_BACKUP_BEGIN_REUSE_EXTERNAL)
    except libvirt.libvirtError:
        if domain.isActive():
            raise
        return False
    return True


def _wait(parts: Parts, uuid: str, watch: events.Watch, deadline: float) -> bool:
    """Return when the copy is complete; False if the guest stopped meanwhile.

    :raises SnapshotFailed: if the emulator fails.
    :raises OperationTimeout: if it takes too long.
    """
    failure: str | None = None
    while failure is None:
        until = min(deadline, time.monotonic() + domains.ANSWER_SECONDS)
        event = watch.wait({events.JOB_ENDED, events.STOPPED}, until)
        if event is not None and event.kind == events.JOB_ENDED:
            if event.detail == libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP:
                failure = event.failure
            continue
        if parts.state(uuid) not in ACTIVE:
            return False
        if event is None:
            if time.monotonic() >= deadline:
                raise exceptions.OperationTimeout(
                    f"the disk of guest {parts.name(uuid)!r} was not copied in time; option"
                    " [hypervisor] snapshot_timeout grants more"
                )
            # The connection was lost, and events with it, or the emulator hangs.
            failure = _asked(parts, uuid, _outcome)
    if not failure:
        _asked(parts, uuid, domains.settle)
        return True
    watch.wait({events.STOPPED}, time.monotonic() + _STOP_SECONDS)
    if parts.state(uuid) not in ACTIVE:
        return False
    full = "No space left on device" in failure
    kind = exceptions.NotEnoughSpace if full else exceptions.SnapshotFailed
    raise kind(f"the disk of guest {parts.name(uuid)!r} could not be copied: {failure}")


def _asked(parts: Parts, uuid: str, question: Callable[[libvirt.virDomain], R]) -> R:
    """Return what a function of a guest's domain returns, which waits for the emulator.

    :raises OperationTimeout: if the emulator hangs.
    """
    answers: list[R] = []
    parts.ask_emulator(uuid, lambda domain: answers.append(question(domain)), EMULATOR_SECONDS)
    return answers[-1]


def _outcome(domain: libvirt.virDomain) -> str | None:
    """Return why the last job has failed; empty if it succeeded, None if it goes on."""
    if domain.jobStats().get("type", 0) != libvirt.VIR_DOMAIN_JOB_NONE:
        return None
    return events.job_failure(domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED))


def _aborted(parts: Parts, uuid: str, deadline: float) -> bool:
    """Make the emulator end its copy; False if the emulator makes no copy, or hangs."""
    answers: list[bool] = []
    concurrency.within(deadline, lambda: answers.append(parts.on_domain(uuid, _abort)))
    return any(answers)


def _abort(domain: libvirt.virDomain) -> bool:
    """Tell the emulator to end its copy; False if the emulator makes no copy."""
    try:
        domain.backupGetXMLDesc()  # fails if the job is no backup
        domain.abortJob()
    except libvirt.libvirtError as error:
        if error.get_error_code() not in (
            libvirt.VIR_ERR_NO_DOMAIN_BACKUP,
            libvirt.VIR_ERR_OPERATION_INVALID,  # the copy or the guest has ended just now
        ):
            raise
        return False
    return True
