# SPDX-License-Identifier: Apache-2.0
"""Copy a guest's root disk into one image file, while the guest goes on.

The emulator of a running guest copies the disk as it is at one moment: the emulator saves a part
that is not copied yet before the guest overwrites the part (libvirt's backup in push mode).  Unlike
a block copy, a backup needs no transient domain, and ends by itself if this process dies; a block
copy would then mirror the guest's writes without an end.

The emulator writes qcow2 into the guest's own directory, where it may write.  A raw file would take
the space of the disk's empty parts, too.
"""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path

from compute_driver import exceptions
from compute_driver.choices import ACTIVE, Quiesce, SnapshotFormat
from compute_driver.contract.states import Request
from compute_driver.driver import Progress
from compute_driver.guest import is_uuid
from compute_driver.libvirt import domain as domains
from compute_driver.operations.base import disk_copy
from compute_driver.operations.base.context import Parts
from compute_driver.operations.base.journal import Operation
from compute_driver.storage import disks
from compute_driver.storage.layout import Role
from compute_driver.storage.source import Source
from compute_driver.system import files, space, steps, tools
from compute_driver.system.filesystem import host_errors
from compute_driver.xml import source as source_xml

_NEW = "a new file; this file exists"


def check_target(parts: Parts, target: Path) -> Path:
    """Refuse a target that cannot be made, before anything is made.

    :return: the target's absolute path.
    :raises InvalidParameter: names the accepted values.
    """
    with host_errors(f"{target} cannot be made"):
        target = target.absolute()
        refusals = {
            _NEW: target.is_symlink() or target.exists(),
            "a file in a directory that exists": not target.parent.is_dir(),
            "a file outside of the guests' directories": _is_guests(parts, target),
        }
    for accepted, refused in refusals.items():
        if refused:
            raise exceptions.InvalidParameter("target", str(target), accepted)
    return target


def _is_guests(parts: Parts, target: Path) -> bool:
    """Tell whether a path is in a guest's directory, or could become one."""
    instances, path = Path(os.path.realpath(parts.ownership.instances)), os.path.realpath(target)
    if not Path(path).is_relative_to(instances):
        return False
    return any(map(is_uuid, Path(path).relative_to(instances).parts[:1]))


def snapshot(
    parts: Parts,
    uuid: str,
    target: Path,
    image_format: SnapshotFormat,
    wish: Quiesce,
    timeout: float,
    progress: Progress,
    op: Operation,
) -> None:
    """Copy the guest's root disk to *target*.

    :param target: the result of :func:`check_target`.
    :param timeout: seconds.
    :param op: the operation, whose end removes the parts of the copy.
    :raises: see :meth:`compute_driver.driver.ComputeDriver.snapshot`.
    """
    deadline = time.monotonic() + timeout
    parts.require_answer(uuid)
    stored = parts.stored(uuid).guest
    disk = parts.plan(stored).disk(Role.ROOT)
    if disk is None:
        raise exceptions.SnapshotFailed(f"guest {stored.name!r} has no root disk")
    if wish is Quiesce.REQUIRE:
        parts.require(uuid, Request.QUIESCE_FOR_SNAPSHOT)
    size, needed = _sizes(parts, uuid, disk.source)
    activity = f"copying {stored.name}"
    progress(activity, 0, needed)
    op.undo.add(f"parts of a snapshot of {stored.name}", disk_copy.mend, parts, uuid)
    source = disk.source
    if parts.state(uuid) in ACTIVE:
        space.require(parts.directory(uuid), needed)
        if disk_copy.make(parts, uuid, source, size, wish, deadline):
            steps.announce("copy complete")
            source = disk_copy.source(parts, uuid)
    try:
        _finish(parts, uuid, source, target, image_format, needed, deadline)
    except files.Taken as error:  # another program has made the file since the check
        raise exceptions.InvalidParameter("target", str(target), _NEW) from error
    op.undo.close()  # the parts go after a success, too
    progress(activity, needed, needed)


def _sizes(parts: Parts, uuid: str, source: Source) -> tuple[int, int]:
    """Return the size of a disk, and the most that a copy of it takes, in bytes.

    libvirt is asked: QEMU's user alone may read the disk of a guest that runs.
    """
    size = parts.on_domain(uuid, lambda domain: domains.disk_size(domain, source))
    bases = parts.on_domain(uuid, lambda domain: source_xml.bases(domain.XMLDesc(), source))
    kind = disks.kind(source)
    if not bases and parts.state(uuid) not in ACTIVE:
        bases = kind.bases(source)
    return size, min(size, kind.allocated(source) + sum(map(files.allocated, bases)))


def _finish(
    parts: Parts,
    uuid: str,
    source: Source,
    target: Path,
    image_format: SnapshotFormat,
    needed: int,
    deadline: float,
) -> None:
    """Make *target* of a disk that nobody writes to."""
    copy = disk_copy.source(parts, uuid)
    if source == copy and image_format is SnapshotFormat.QCOW2 and _moved(copy.path, target):
        return
    space.require(target.parent, needed)
    with files.new_file(target, replace=False) as new:
        link = parts.directory(uuid) / disk_copy.ELSEWHERE
        link.symlink_to(new)
        left = max(1.0, deadline - time.monotonic())
        disks.convert(source, new, str(image_format), tools.limits(parts.conf), left)
        steps.announce("image converted")
    link.unlink()


def _moved(source: Path, target: Path) -> bool:
    try:
        files.move(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise exceptions.HostError(f"{target} cannot be made: {error.strerror}") from error
        return False
    return True
