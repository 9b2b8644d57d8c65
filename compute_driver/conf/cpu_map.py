# SPDX-License-Identifier: Apache-2.0
"""CPU models and their features from libvirt's files, which are readable without a daemon.

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
    return frozenset(_elements(guest_architecture))


def features(guest_architecture: str) -> dict[str, frozenset[str]]:
    """Return the features of every model that :func:`models` returns.

    A model has its own features and the features of the model that it is based on.
    """
    elements = _elements(guest_architecture)

    def collect(name: str) -> frozenset[str]:
        own: set[str] = set()
        removed: set[str] = set()
        for feature in elements[name].iterfind("feature"):
            names = removed if feature.get("removed") == "yes" else own
            names.add(feature.get("name", ""))
        base = elements[name].find("model")
        inherited = frozenset() if base is None else collect(base.get("name", ""))
        return (inherited | own) - removed

    return {name: collect(name) for name in elements}


def _elements(guest_architecture: str) -> dict[str, etree._Element]:
    """Return the element of each model, by the model's name."""
    name = _NAMES.get(architecture.get(guest_architecture).name)
    if name is None:
        return {}
    try:
        index = etree.parse(str(DIRECTORY / "index.xml"))
        includes = index.iterfind(f"arch[@name='{name}']//include")
        parsed = [etree.parse(str(DIRECTORY / include.get("filename", ""))) for include in includes]
    except (OSError, etree.XMLSyntaxError):
        return {}
    found = (model for tree in parsed for model in tree.iterfind("model"))
    return {model.get("name", ""): model for model in found if model.get("name")}
