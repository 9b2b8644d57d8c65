# SPDX-License-Identifier: Apache-2.0
"""Where the bytes of a disk are, in libvirt's words, both ways.

Source: libvirt, "Domain XML format", "Hard drives, floppy disks, CDROMs".
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lxml import etree

from compute_driver.choices import DiskFormat
from compute_driver.storage.source import FileSource, Source
from compute_driver.xml.elements import E, Element

#: For each kind of source: the word of ``<disk type=>``, and the function that makes ``<source>``.
_KINDS: dict[type[Source], tuple[str, Callable[[Any], Element]]] = {
    FileSource: ("file", lambda source: E.source(file=str(source.path))),
}

#: The words for a drive without a medium.
EMPTY = "no medium"

#: The formats of :class:`FileSource`.
_FORMATS = frozenset({DiskFormat.QCOW2, DiskFormat.RAW})


def kind(source: Source) -> str:
    """Return the word of ``<disk type=>``."""
    return _KINDS[type(source)][0]


def element(source: Source) -> Element:
    """Return ``<source>``."""
    return _KINDS[type(source)][1](source)


def read(disk: Element) -> Source | None:
    """Return where the bytes of a disk are; None if no kind of source fits.

    :param disk: a ``<disk>`` of libvirt's, which states the format.
    """
    place, driver = disk.find("source"), disk.find("driver")
    if place is None or driver is None or disk.find("source/encryption") is not None:
        return None
    path, written = place.get("file"), driver.get("type")
    if path is None or written not in _FORMATS:
        return None
    return FileSource(path=Path(path), format=DiskFormat(written))


def written(source: Source) -> str:
    """Return :func:`words` of a disk with that source."""
    driver = E.driver(type=str(source.format))
    return words(E.disk({"type": kind(source)}, driver, element(source)))


def words(disk: Element) -> str:
    """Return the place and the format of a disk's bytes, for people to read."""
    place, driver = disk.find("source"), disk.find("driver")
    if place is None:
        return EMPTY
    values = [str(value) for key, value in place.attrib.items() if key != "index"]
    written = "unknown" if driver is None else driver.get("type", "unknown")
    return f"{disk.get('type')} {' '.join(values)} (format {written})"


def device(domain: str, source: Source) -> str | None:
    """Return the name that libvirt has for a disk of a domain, ``vda`` for example.

    :param domain: the domain's XML.
    :param source: where the disk's bytes are.
    :return: None if the domain has no such disk.
    """
    disk = _find(domain, source)
    target = None if disk is None else disk.find("target")
    return None if target is None else target.get("dev")


def bases(domain: str, source: Source) -> list[Path]:
    """Return the files that a disk of a domain is based on, nearest first.

    :param domain: the XML of a domain that runs; libvirt knows no bases of a domain that is off.
    :param source: where the disk's bytes are.
    """
    disk = _find(domain, source)
    sources = () if disk is None else disk.iterfind(".//backingStore/source[@file]")
    return [Path(base.get("file", "")) for base in sources]


def _find(domain: str, source: Source) -> Element | None:
    wanted = set(element(source).attrib.items())
    for disk in etree.fromstring(domain).iterfind("devices/disk"):
        present = disk.find("source")
        if present is not None and wanted <= set(present.attrib.items()):
            return disk
    return None


def moved(domain: str, old: Path, new: Path) -> str:
    """Return a domain with other paths of the files that have moved to another directory.

    :param domain: the domain's XML.
    :param old: the directory of the files before.
    :param new: their directory now.
    """
    if old == new:
        return domain

    def path(text: str) -> str:
        inside = text.removeprefix(f"{old}/")
        return f"{new}/{inside}" if text.startswith(f"{old}/") else text

    root = etree.fromstring(domain)
    for element in root.iter(etree.Element):
        element.text = element.text and path(element.text)
        for name, value in element.attrib.items():
            element.set(name, path(str(value)))
    return etree.tostring(root, encoding="unicode")
