# SPDX-License-Identifier: Apache-2.0
"""Where the bytes of a disk are, in libvirt's words, both ways.

Source: libvirt, "Domain XML format", "Hard drives, floppy disks, CDROMs".
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lxml import etree

from compute_driver.storage.source import FileSource, Source
from compute_driver.xml.elements import E, Element

#: For each kind of source: the word of ``<disk type=>``, and the function that makes ``<source>``.
_KINDS: dict[type[Source], tuple[str, Callable[[Any], Element]]] = {
    FileSource: ("file", lambda source: E.source(file=str(source.path))),
}


def kind(source: Source) -> str:
    """Return the word of ``<disk type=>``."""
    return _KINDS[type(source)][0]


def element(source: Source) -> Element:
    """Return ``<source>``."""
    return _KINDS[type(source)][1](source)


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
    found = () if disk is None else disk.iterfind(".//backingStore/source[@file]")
    return [Path(base.get("file", "")) for base in found]


def _find(domain: str, source: Source) -> Element | None:
    wanted = set(element(source).attrib.items())
    for disk in etree.fromstring(domain).iterfind("devices/disk"):
        found = disk.find("source")
        if found is not None and wanted <= set(found.attrib.items()):
            return disk
    return None
