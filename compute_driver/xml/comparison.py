# SPDX-License-Identifier: Apache-2.0
"""Compares a domain with the domain that this driver has defined last, value by value.

A value is an attribute, or the text of an element, and has a path, for example
``devices/disk[root]/driver@cache``.  libvirt adds defaults to each domain, so this driver notes
what libvirt has made of the driver's own description.  All other values are of other clients.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from lxml import etree

from compute_driver.storage.layout import is_disk_name
from compute_driver.xml import disk as disk_xml
from compute_driver.xml import metadata
from compute_driver.xml.elements import Element, maker
from compute_driver.xml.interface import mac_of

#: Values by path.
Values = Mapping[str, str]

_E = maker(metadata.NAMESPACE, metadata.PREFIX)
_BASELINE, _CARRIED = (f"{{{metadata.NAMESPACE}}}{name}" for name in ("baseline", "carried"))

#: The attributes that tell elements of one name apart; the order tells other elements apart.
#: Elements that only other clients write need no key: the driver copies them whole.
_KEYS: dict[str, tuple[str, ...]] = {
    "controller": ("type", "index"),
    "serial": ("target/port",),
    "console": ("target/type", "target/port"),
    "channel": ("target/name",),
    "graphics": ("type",),
    "input": ("type", "bus"),
    "timer": ("name",),
    "watchdog": ("model",),
    "feature": ("name",),
    "entry": ("name",),
    "vcpupin": ("vcpu",),
    "iothreadpin": ("iothread",),
    "cell": ("id",),
}

#: The index of a controller whose XML has none.
_FIRST = "0"

#: Values that the driver follows by other means: see :class:`compute_driver.xml.present.Present`.
_FOLLOWED = frozenset({"name", "uuid", "memory", "currentMemory", "metadata"})
_FOLLOWED_ALONE = frozenset({"vcpu", "vcpu@current"})
_PLACE = frozenset({"disk/source", "disk/backingStore", "disk/mirror"})
_PLACE_ALONE = frozenset({"disk@type", "disk/driver@type"})

#: What libvirt adds to a domain of which no device has an order of boot.
_IMPLIED = frozenset({"os/boot"})

#: Values that each power-on chooses.
_CHOSEN = frozenset({"serial/source@service", "console/source@service"})

_SKIPPED = _FOLLOWED_ALONE | _CHOSEN

#: Controllers of PCI that libvirt adds for other devices.
_PORTS = frozenset(
    {
        *("pci-root", "pci-bridge", "dmi-to-pci-bridge"),
        *("pcie-root", "pcie-root-port", "pcie-to-pci-bridge"),
    }
)


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A domain without the changes of other clients.

    :param written: the values that this driver has written.
    :param values: the values that libvirt has made of them.
    """

    written: Values
    values: Values


@dataclasses.dataclass(frozen=True)
class Carried:
    """What was in the place of another client's value, which this driver writes again.

    :param written: the value that this driver writes by itself; None for no value.
    :param value: the value that libvirt has made of it; None for no value.
    """

    written: str | None
    value: str | None


def values(domain: Element) -> dict[str, str]:
    """Return the values of a domain, without those that the driver follows by other means."""
    return {path: value for path, value, _ in _walk(domain, "", "", own=False)}


def elements(domain: Element) -> dict[str, Element]:
    """Return the elements of a domain by path; the path of the domain itself is empty."""
    walk = _walk(domain, "", "", own=False)
    return {"": domain} | {path: element for path, _, element in walk if "@" not in path}


def parent(path: str) -> str:
    """Return the path of the element that an element or an attribute is in."""
    return path.rpartition("@")[0] if "@" in path else path.rpartition("/")[0]


def is_inside(path: str, top: str) -> bool:
    """Tell whether a value is the text of an element, an attribute of it, or deeper inside."""
    return path == top or path.startswith((f"{top}/", f"{top}@"))


def roots(paths: Iterable[str]) -> list[str]:
    """Return the paths of values that are in none of the elements among the paths."""
    ordered = list(paths)
    known = {*ordered}
    return [path for path in ordered if parent(path) not in known]


def _put(found: dict[str, str], path: str, value: str | None) -> None:
    if value is not None:
        found[path] = value
        return
    for inner in [inner for inner in found if is_inside(inner, path)]:
        del found[inner]


def mark(domain: Element, carried: Mapping[str, Carried]) -> None:
    """Note in a domain, which is not defined yet, the values of other clients in it."""
    domain.extend(
        _E.carried({"path": path} | _present(written=before.written, value=before.value))
        for path, before in carried.items()
    )


def split(xml: str) -> tuple[str, list[Element]]:
    """Return a domain without the notes of this module, and the notes."""
    domain = etree.fromstring(xml)
    notes = [*domain.iterfind(_CARRIED), *domain.iterfind(_BASELINE)]
    for note in notes:
        domain.remove(note)
    return etree.tostring(domain, encoding="unicode"), notes


def note(written: str, carried: Iterable[Element], made: str, version: int) -> Element:
    """Return a note of what libvirt has made of a domain.

    :param written: the domain as it was defined.
    :param carried: the notes about values of other clients in it.
    :param made: the domain's XML from its next power-on, as libvirt has made it.
    :param version: libvirt's version.
    """
    domains = map(etree.fromstring, (written, made))
    made_note: Element = _E.baseline(*domains, *carried, version=str(version))
    return made_note


def read(note: Element) -> Baseline:
    """Return what a domain is without the changes of other clients, by a note."""
    written, made = map(values, note.iterfind("domain"))
    for carried in note.iterfind(_CARRIED):
        path = carried.get("path", "")
        _put(written, path, carried.get("written"))
        _put(made, path, carried.get("value"))
    return Baseline(written, made)


def baseline(xml: str, version: int | None = None) -> Element | None:
    """Return the note of :func:`note` in a domain; None without one.

    :param version: the version of libvirt that the note must have.
    """
    found = etree.fromstring(xml).find(_BASELINE)
    known = found is not None and version in (None, int(found.get("version", "0")))
    return found if known else None


def noted(xml: str, notes: Iterable[Element]) -> str:
    """Return a domain with notes, for a file of this driver's."""
    domain = etree.fromstring(xml)
    domain.extend(notes)
    return etree.tostring(domain, encoding="unicode")


def _present(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _walk(
    element: Element, path: str, kind: str, *, own: bool
) -> Iterator[tuple[str, str, Element]]:
    """Yield path, value, and element of each value.

    :param kind: the path without keys, from the device.
    :param own: whether the element is a disk of the guest, or in one.
    """
    for attribute, value in element.attrib.items():
        name = str(attribute)
        where = f"{kind}@{name}"
        if where not in _SKIPPED and not (own and where in _PLACE_ALONE):
            yield f"{path}@{name}", str(value), element
    used: Counter[str] = Counter()
    for child in element.iterchildren(etree.Element):
        tag = _plain(child)
        inner = f"{kind}/{tag}" if kind else tag
        ours = own or (path == "devices" and tag == "disk" and is_own(child))
        if child.tag in (_BASELINE, _CARRIED) or (not path and tag in _FOLLOWED):
            continue
        if inner in _IMPLIED or (ours and inner in _PLACE) or _is_port(child):
            continue
        step = f"{tag}{_key(child, ours)}"
        used[step] += 1
        step += f"[{used[step]}]" if used[step] > 1 else ""
        where = f"{path}/{step}" if path else step
        if path or tag not in _FOLLOWED_ALONE:
            yield where, (child.text or "").strip(), child
        yield from _walk(child, where, "" if where == "devices" else inner, own=ours)


def is_own(disk: Element) -> bool:
    """Tell whether a disk is one of the guest's disks, which this driver writes."""
    return is_disk_name(disk_xml.name_of(disk))


def _key(element: Element, own: bool) -> str:
    if element.tag == "interface":
        found = [mac_of(element)]
    elif element.tag == "disk":
        target = element.find("target")
        name = "" if target is None else target.get("dev", "")
        found = [disk_xml.name_of(element) if own else name]
    else:
        found = [_value(element, key) for key in _KEYS.get(str(element.tag), ())]
        if element.tag == "controller" and not found[1]:
            found[1] = _FIRST
    words = ",".join(found).translate(str.maketrans("/@[]", "____"))
    return f"[{words}]" if words else ""


def _value(element: Element, key: str) -> str:
    child, _, name = key.rpartition("/")
    holder = element.find(child) if child else element
    return "" if holder is None else holder.get(name, "")


def _is_port(element: Element) -> bool:
    """Tell whether libvirt adds an element for other devices."""
    is_pci = element.tag == "controller" and element.get("type") == "pci"
    return is_pci and element.get("model") in _PORTS


def _plain(element: Element) -> str:
    """Return the name of an element, with the prefix of its namespace."""
    tag = str(element.tag)
    return tag if tag[0] != "{" else f"{element.prefix}:{etree.QName(element).localname}"
