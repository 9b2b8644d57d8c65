# SPDX-License-Identifier: Apache-2.0
"""Names of CPU models from libvirt's files, which are readable without a libvirt daemon.

Source: libvirt's ``src/cpu_map``.
"""

from __future__ import annotations

from pathlib import Path

from lxml import etree

from compute_driver.hardware import architecture

DIRECTORY = Path("/usr/share/libvirt/cpu_map")

#: libvirt's names of the architectures whose guests get models of the map only.
_NAMES = {"x86_64": "x86", "i686": "x86", "ppc64le": "ppc64"}


def models(guest_architecture: str) -> frozenset[str]:
    """Return the models that libvirt knows for an architecture.

    :return: empty if QEMU has models that libvirt does not know, or if there is no map here.
    """
    name = _NAMES.get(architecture.get(guest_architecture).name)
    if name is None:
        return frozenset()
    try:
        index = etree.parse(str(DIRECTORY / "index.xml"))
        includes = index.iterfind(f"arch[@name='{name}']//include")
        parsed = [etree.parse(str(DIRECTORY / include.get("filename", ""))) for include in includes]
    except (OSError, etree.XMLSyntaxError):
        return frozenset()
    names = (model.get("name") for tree in parsed for model in tree.iterfind("model"))
    return frozenset(str(name) for name in names if name)
