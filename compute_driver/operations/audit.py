# SPDX-License-Identifier: Apache-2.0
"""What no guest owns, and what guests lack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import libvirt

from compute_driver import exceptions
from compute_driver.guest import is_uuid
from compute_driver.info import Finding
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt import leftovers
from compute_driver.operations import destroy, rescue, snapshot
from compute_driver.operations import image_cache as cached
from compute_driver.operations.base import journal
from compute_driver.operations.base.context import Parts
from compute_driver.storage import disks, overlay
from compute_driver.storage.layout import Role


def audit(parts: Parts, *, repair: bool) -> tuple[Finding, ...]:
    """Compare libvirt's domains with the files; what an operation works on now is left alone.

    :param repair: remove what nobody owns, and guests of which only the domain is left; one that
        lacks some of its files is only listed.
    """
    return (
        *_directories(parts, repair),
        *_guests(parts, repair),
        *_ports(parts, repair),
        *_images(parts, repair),
        *_system_directories(repair),
    )


def _directories(parts: Parts, repair: bool) -> Iterator[Finding]:
    root = parts.inventory.instances
    owned = parts.connection.run(_ours, root)
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        # Others' files, such as lost+found, may be there as well.
        if path.name in owned or not is_uuid(path.name):
            continue
        with journal.unless_busy(parts, path.name) as idle:
            # It may have become a guest since the domains were listed.
            if idle and path.name not in parts.connection.run(_ours, root):
                yield _orphan(parts, path, repair)


def _orphan(parts: Parts, path: Path, repair: bool) -> Finding:
    if destroy.is_released(parts, path.name):
        detail = (
            f"destroyed with its files kept; 'spawn --uuid {path.name}', with the image and disks "
            f"that it had, takes them again, 'destroy {path.name}' removes them"
        )
        return Finding(kind="kept directory", subject=str(path), detail=detail)
    if parts.connection.run(domains.lookup, path.name) is not None:
        detail = "the domain with its UUID lacks this driver's metadata, but may use it"
        return Finding(kind="orphan directory", subject=str(path), detail=detail)
    if repair:
        destroy.remove_files(parts, path.name)
    return Finding(
        kind="orphan directory", subject=str(path), detail="no guest owns it", repaired=repair
    )


def _guests(parts: Parts, repair: bool) -> Iterator[Finding]:
    for uuid in sorted(parts.connection.run(_ours, parts.inventory.instances)):
        with journal.unless_busy(parts, uuid) as idle:
            if idle:
                yield from _guest(parts, uuid, repair)


def _guest(parts: Parts, uuid: str, repair: bool) -> Iterator[Finding]:
    try:
        plan = parts.plan(parts.stored(uuid).guest)
    except exceptions.GuestNotFound:
        return  # destroyed meanwhile
    except exceptions.ComputeDriverError as error:
        yield Finding(kind="damaged guest", subject=uuid, detail=str(error))
        return
    if not plan.directory.exists():
        # libvirt was still busy with a call of a spawn that was killed, say.
        if repair:
            destroy.destroy(parts, uuid)
        yield Finding(
            kind="guest without files",
            subject=uuid,
            detail="its directory is gone",
            repaired=repair,
        )
        return
    yield from _snapshots(parts, uuid, repair)
    if plan.disk(Role.RESCUE) is None:
        yield from _rescues(parts, uuid, repair)
    for disk in plan.disks:
        if not disks.kind(disk.source).exists(disk.source):
            yield _missing(f"{disk.name} disk", disk.source.address, uuid)
    files = {"kernel": plan.kernel, "ramdisk": plan.ramdisk}
    # What cannot be read, QEMU has in hand as another user; or the images cannot be looked for.
    found = overlay.bases(plan.directory, {})
    files |= {f"base image of {path.name}": base for path, base in found}
    for what, path in files.items():
        if path is not None and not path.exists():
            yield _missing(what, str(path), uuid)


def _missing(what: str, address: str, uuid: str) -> Finding:
    return Finding(kind="missing file", subject=address, detail=f"the {what} of guest {uuid}")


def _snapshots(parts: Parts, uuid: str, repair: bool) -> Iterator[Finding]:
    # Usually an interrupted one is cleared up by whoever comes next; its note may be lost, though.
    found = snapshot.leftovers(parts, uuid)
    if found and repair:
        snapshot.mend(parts, uuid)
    for path in found:
        detail = "an interrupted snapshot left it"
        yield Finding(kind="partial snapshot", subject=str(path), detail=detail, repaired=repair)


def _rescues(parts: Parts, uuid: str, repair: bool) -> Iterator[Finding]:
    found = rescue.leftovers(parts, uuid)
    if found and repair:
        rescue.remove_files(parts, uuid)
    for path in found:
        detail = "of a rescue that is over"
        yield Finding(kind="orphan file", subject=str(path), detail=detail, repaired=repair)


def _ports(parts: Parts, repair: bool) -> Iterator[Finding]:
    for uuid, interfaces in parts.ports.plugged().items():
        with journal.unless_busy(parts, uuid) as idle:
            # Even somebody else's domain of that UUID may use them.
            if not idle or parts.connection.run(domains.lookup, uuid) is not None:
                continue
            if repair:
                parts.ports.unplug(uuid, interfaces)
            for interface in interfaces:
                yield Finding(
                    kind="orphan port",
                    subject=str(interface.switch_port),
                    detail=f"in bridge {interface.source}; its guest {uuid} is gone",
                    repaired=repair,
                )


def _images(parts: Parts, repair: bool) -> Iterator[Finding]:
    images, used = parts.images, cached.bases(parts).keys()
    for path in images.remove_leftovers(used) if repair else images.leftovers(used):
        yield Finding(
            kind="partial image",
            subject=str(path),
            detail="an interrupted fetch left it",
            repaired=repair,
        )


def _system_directories(repair: bool) -> Iterator[Finding]:
    for left in leftovers.find_left_directories():
        if repair:
            left.repair()
        yield Finding(
            kind="left directory", subject=str(left.path), detail=left.detail, repaired=repair
        )


def _ours(connection: libvirt.virConnect, instances: Path) -> set[str]:
    return {
        domain.UUIDString()
        for domain in connection.listAllDomains()
        if domains.is_ours(domain, instances)
    }
