# SPDX-License-Identifier: Apache-2.0
"""Names of CPU models from libvirt's own files: nothing needs to be started to read them.

Source: libvirt's ``src/cpu_map``.
"""

from __future__ import annotations

from pathlib import Path

from lxml import etree

from compute_driver.hardware import architecture

DIRECTORY = Path("/usr/share/libvirt/cpu_map")

#: libvirt's names of the architectures of which guests get no models but those of the map.
_NAMES = {"x86_64": "x86", "i686": "x86", "ppc64le": "ppc64"}


def models(guest_architecture: str) -> frozenset[str]:
    """Return the models that libvirt knows for an architecture.

    :return: empty if others may be taken as well, or if that cannot be told here.
    """
    name = _NAMES.get(architecture.get(guest_architecture).name)
    if name is None:
        return frozenset()
    try:
        index = etree.parse(str(DIRECTORY / "index.xml"))
        included = index.iterfind(f"arch[@name='{name}']//include")
        parsed = [etree.parse(str(DIRECTORY / each.get("filename", ""))) for each in included]
    except (OSError, etree.XMLSyntaxError):
        return frozenset()
    found = (each.get("name") for tree in parsed for each in tree.iterfind("model"))
    return frozenset(str(name) for name in found if name)
