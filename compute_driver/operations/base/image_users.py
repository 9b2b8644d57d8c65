# SPDX-License-Identifier: Apache-2.0
"""Which files the disks of guests are based on."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import libvirt
from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import DiskFormat
from compute_driver.libvirt.ownership import Ownership
from compute_driver.operations.base.context import Parts
from compute_driver.storage import disks, home, overlay
from compute_driver.storage.layout import Role
from compute_driver.system.filesystem import host_errors
from compute_driver.xml import source as source_xml
from compute_driver.xml.elements import Element

LOG = logging.getLogger(__name__)

#: Name of a file without a backing file: only this driver makes the file.
_CONFIG_DRIVE = f"{Role.CONFIG_DRIVE}.{DiskFormat.ISO}"


def bases(parts: Parts) -> Mapping[Path, set[str]]:
    """Return the files that disks of guests are based on, with the guests' UUIDs.

    The homes of guests are searched, and not only the domains: a guest that is being made, moved
    here or resized has no domain, or another one; with shared storage the domain may be on another
    host.

    :raises HostError: if a disk or a directory cannot be read.
    """
    found: dict[Path, set[str]] = defaultdict(set)
    unreadable: dict[str, dict[Path, exceptions.HostError]] = defaultdict(dict)
    instances = parts.ownership.instances
    with host_errors(f"{instances} cannot be read"):
        directories = sorted(instances.iterdir()) if instances.is_dir() else []
    for directory in directories:
        name = directory.name
        for _path, base in home.Home(parts.conf, directory).bases(unreadable[name]):
            found[real(base)].add(name)
    running = parts.connection.run(_running)
    stopped = parts.connection.run(_stopped, parts.ownership)
    for uuid, files in (*running.items(), *stopped.items()):
        for file in files:
            found[real(file)].add(uuid)
    for name, reasons in unreadable.items():
        for path, reason in reasons.items():
            # libvirt knows the files of QEMU.
            if home.is_directory_name(name) and path not in running.get(name, ()):
                raise reason
    return found


def release_unneeded(parts: Parts, uuid: str) -> None:
    """Drop the records of the images that no disk of a guest is, or is based on, any more.

    The records stay if another client of libvirt has put a disk elsewhere, or if a disk cannot be
    read: then it is not known what the guest needs.
    """
    own, unreadable = parts.home(uuid), dict[Path, exceptions.HostError]()
    try:
        present, outside = parts.present(uuid), {source.address for source in own.outside()}
        bases = [base for _path, base in own.bases(unreadable)]
        if present is None or unreadable or not present.is_inside(own.directory, outside):
            return
        parts.images.release(uuid, but=[*bases, *own.directory.iterdir()])
    except (OSError, exceptions.ComputeDriverError) as error:
        LOG.debug("Guest %s keeps the records of all its images: %s", uuid, error)


def real(path: Path) -> Path:
    """Return a path without symbolic links."""
    return Path(os.path.realpath(path))


def _running(connection: libvirt.virConnect) -> dict[str, set[Path]]:
    """Return all files behind the disks of each domain that runs, of this driver or not."""
    active = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    return {
        domain.UUIDString(): {
            Path(address)
            for disk in _disks(domain)
            for source in disk.iter("source")
            if (address := source.get("file") or source.get("dev"))
        }
        for domain in active
    }


def _stopped(connection: libvirt.virConnect, ownership: Ownership) -> dict[str, set[Path]]:
    """Return files behind the disks of each domain that does not run, of this driver or not.

    libvirt does not know these base images.  Another client may have put an overlay anywhere.
    Domains with all disks in the guest's own directory are left out: :func:`bases` reads these.

    :raises HostError: if an overlay of a guest of this driver cannot be read.
    """
    # A guest whose emulator hangs must not delay the others.
    flags = (
        libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_INACTIVE
        | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    )
    records = connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_BLOCK, flags)
    return {
        domain.UUIDString(): set(_bases(domain, ownership))
        for domain, disk_values in records
        if not _is_at_home(disk_values, ownership.instances / domain.UUIDString())
    }


def _is_at_home(disk_values: Mapping[str, int | str], directory: Path) -> bool:
    """Tell whether all disks of a domain are in a directory, under names that are searched."""
    if "block.count" not in disk_values:
        return False
    numbers = range(int(disk_values["block.count"]))
    paths = (Path(str(disk_values.get(f"block.{number}.path", ""))) for number in numbers)
    return all(
        path.parent == directory and (path.suffix == overlay.SUFFIX or path.name == _CONFIG_DRIVE)
        for path in paths
    )


def _bases(domain: libvirt.virDomain, ownership: Ownership) -> Iterator[Path]:
    for source in map(source_xml.read, _disks(domain)):
        try:
            yield from disks.kind(source).bases(source) if source is not None else ()
        except exceptions.HostError:
            if ownership.owns(domain):
                raise


def _disks(domain: libvirt.virDomain) -> list[Element]:
    try:
        return list(etree.fromstring(domain.XMLDesc()).iterfind("devices/disk"))
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:  # destroyed meanwhile
            return []
        raise
