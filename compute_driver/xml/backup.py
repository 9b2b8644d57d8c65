# SPDX-License-Identifier: Apache-2.0
"""What libvirt is asked to copy of a running guest.

Source: libvirt, "Backup XML format".
"""

from __future__ import annotations

from pathlib import Path

from lxml import etree

from compute_driver.xml.elements import E


def push(domain: str, source: Path, target: Path) -> str | None:
    """Return a backup job that copies one disk of a domain to a qcow2 file.

    :param domain: its XML.
    :param source: the file behind the disk.
    :param target: the file to copy it to.
    :return: None if the domain has no such disk.
    """
    for disk in etree.fromstring(domain).iterfind("devices/disk"):
        file, device = disk.find("source[@file]"), disk.find("target")
        if file is not None and device is not None and file.get("file") == str(source):
            return _job(device.get("dev", ""), target)
    return None


def chain(domain: str, source: Path) -> list[Path]:
    """Return the file behind a disk and those that it is based on, as libvirt knows them.

    :param domain: its XML; of one that does not run, it does not say what a disk is based on.
    :param source: the file behind the disk.
    """
    for disk in etree.fromstring(domain).iterfind("devices/disk"):
        file = disk.find("source[@file]")
        if file is not None and file.get("file") == str(source):
            based = disk.iterfind(".//backingStore/source[@file]")
            return [source, *(Path(each.get("file", "")) for each in based)]
    return [source]


def _job(device: str, target: Path) -> str:
    job = E.domainbackup(
        {"mode": "push"},
        E.disks(
            E.disk(
                {"name": device, "type": "file"},
                E.driver(type="qcow2"),
                E.target(file=str(target)),
            )
        ),
    )
    return etree.tostring(job, encoding="unicode")
