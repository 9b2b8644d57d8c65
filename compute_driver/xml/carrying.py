# SPDX-License-Identifier: Apache-2.0
"""Carries the changes of other clients from a guest's present domain to its new domain.

A value of another client is a value that the present domain has, and that libvirt has not made of
this driver's last description.  The new domain gets the value, unless this driver decides about it,
or itself changes it now.  What another client has removed comes back.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator

from lxml import etree

from compute_driver.xml import comparison, metadata
from compute_driver.xml import disk as disk_xml
from compute_driver.xml.comparison import Carried, Values
from compute_driver.xml.elements import KIB_PER_MIB, USER_ALIAS, E, Element
from compute_driver.xml.interface import mac_of
from compute_driver.xml.present import Present

#: Elements that this driver decides about at each power-on: they and their content.
_DECIDED = ("os", "devices/emulator", "cpu/model", "cpu/topology", "vcpus")
_DECIDED_ALONE = frozenset({"@type", "cpu@mode", "cpu@match", "cpu@check", "cpu@migratable"})

#: Without a baseline: devices and elements that neither this driver writes nor libvirt adds.
_OTHERS = frozenset(
    {
        *("hostdev", "filesystem", "redirdev", "smartcard", "tpm", "shmem", "vsock", "lease"),
        *("crypto", "title", "description", "memoryBacking", "numatune", "iothreads"),
    }
)

#: Types of addresses that libvirt does not give by itself.
_KEPT_ADDRESSES = frozenset({"virtio-mmio"})


@dataclasses.dataclass(frozen=True)
class Differences:
    """The changes of other clients to a domain, but for disks' places, memory and processors.

    :param added: paths of new elements and attributes, which the guest keeps.
    :param changed: paths of changed values, which the guest keeps.
    :param decided: paths of new elements, new attributes and changed values that the driver takes
        back.
    :param removed: paths of removed elements and attributes.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    decided: tuple[str, ...]
    removed: tuple[str, ...]


def differences(present: Present) -> Differences:
    """Return what other clients have changed in a guest's domain from its next power-on."""
    if present.unchanged:
        return Differences((), (), (), ())
    theirs, base = comparison.values(present.domain), _base(present)
    new = comparison.roots(path for path in theirs if path not in base)
    other = [path for path, value in theirs.items() if base.get(path, value) != value]
    gone = comparison.roots(path for path in base if path not in theirs)
    return Differences(
        added=tuple(path for path in new if not _is_decided(path)),
        changed=tuple(path for path in other if not _is_decided(path)),
        decided=tuple(path for path in (*new, *other) if _is_decided(path)),
        removed=tuple(gone),
    )


def carry(xml: str, present: Present) -> tuple[str, tuple[str, ...]]:
    """Return the XML of a domain with all that another client has added to the present domain.

    :param xml: the domain as this driver has built it.
    :return: the domain, with notes for :func:`compute_driver.xml.comparison.split`; and the paths
        of changes that are lost, because this driver now changes the same values.
    """
    domain = etree.fromstring(xml)
    _carry_metadata(domain, present)
    _keep_parts(domain, present.domain)
    _give_way(domain, present)
    lost = () if present.unchanged else _carry_values(domain, present)
    return etree.tostring(domain, encoding="unicode", pretty_print=True), lost


def _carry_values(domain: Element, present: Present) -> tuple[str, ...]:
    """Write the values of other clients into a domain, with notes; return the lost changes."""
    own = comparison.values(domain)
    difference = differences(present)
    paths = (*difference.added, *difference.changed)
    controllers = {
        path for path in paths if path.startswith("devices/controller[") and path not in own
    }
    lost = tuple(path for path in paths if _is_changed_now(path, own, present))
    for path in paths:
        if path not in lost:
            _write(domain, present, path, controllers)
    base = _base(present)
    notes = {
        path: Carried(own.get(path), base.get(path))
        for path, value in comparison.values(domain).items()
        if own.get(path) != value
    }
    comparison.mark(domain, notes)
    # Without a baseline it is not known who has set the values.
    return () if present.baseline is None else lost


def _base(present: Present) -> Values:
    if present.baseline is not None:
        return present.baseline.values
    # An earlier release has defined the domain, or libvirt has other defaults now.
    others = [
        path
        for path, element in comparison.elements(present.domain).items()
        if _is_other(path, element, present)
    ]
    return {
        path: value
        for path, value in comparison.values(present.domain).items()
        if not any(comparison.is_inside(path, top) for top in others)
    }


def _is_other(path: str, element: Element, present: Present) -> bool:
    if comparison.parent(path) not in ("", "devices"):
        return False
    if element.tag == "interface":
        return mac_of(element) not in {nic.mac for nic in present.stored.guest.interfaces}
    if element.tag == "disk":
        return not comparison.is_own(element)
    if element.tag == "controller":  # libvirt makes a controller, but of its default model
        on = {_controller(disk) for disk in present.added_disks}
        return element.get("type") == "scsi" and element.get("index", "0") in on
    return element.tag in _OTHERS


def _is_decided(path: str) -> bool:
    if any(comparison.is_inside(path, top) for top in _DECIDED) or path in _DECIDED_ALONE:
        return True
    return path.startswith("devices/") and path.partition("@")[0].endswith("/address")


def _is_changed_now(path: str, own: Values, present: Present) -> bool:
    """Tell whether this driver itself changes a value since its last description."""
    if present.baseline is None:
        return path in own
    return own.get(path) != present.baseline.written.get(path)


def _carry_metadata(domain: Element, present: Present) -> None:
    own_metadata = domain.find("metadata")
    assert own_metadata is not None
    annotations = metadata.elements(present.stored.guest.annotations)
    ours = {etree.QName(element).namespace for element in (*own_metadata, *annotations)}
    own_metadata.extend(
        copy.deepcopy(element)
        for element in present.domain.iterfind("metadata/*")
        if etree.QName(element).namespace not in ours
    )


def _give_way(domain: Element, present: Present) -> None:
    """Give disks of this driver other names, if other clients' disks have the names."""
    others = {_name(disk) for disk in present.added_disks}
    taken = others | {_name(disk) for disk in domain.iterfind("devices/disk")}
    for target in domain.iterfind("devices/disk/target"):
        name = target.get("dev", "")
        if name in others:
            target.set("dev", disk_xml.free_name(name, taken))
            taken.add(target.get("dev", ""))


def _name(disk: Element) -> str:
    target = disk.find("target")
    return "" if target is None else target.get("dev", "")


def _write(domain: Element, present: Present, path: str, controllers: set[str]) -> None:
    """Write one value of the present domain, with its element if the new domain lacks this.

    :param controllers: the paths of controllers of other clients.
    """
    ours, theirs = comparison.elements(domain), comparison.elements(present.domain)
    where = comparison.parent(path) if "@" in path else path
    if where in ours:
        name = path.rpartition("@")[2]
        if "@" in path:
            ours[where].set(name, theirs[where].get(name, ""))
        else:
            ours[where].text = theirs[where].text
        return
    while comparison.parent(where) not in ours:
        where = comparison.parent(where)
    if present.baseline is not None and where in present.baseline.written:
        return  # the guest has lost this device by this driver
    made = copy.deepcopy(theirs[where])
    if comparison.parent(where) == "devices":
        orders = {boot.get("order") for boot in domain.iterfind("devices/*/boot")}
        controller = f"devices/controller[scsi,{_controller(made)}]"
        _free(made, orders, on_carried=controller in controllers)
    ours[comparison.parent(where)].append(made)


def _free(device: Element, orders: set[str | None], *, on_carried: bool) -> None:
    """Remove what belongs to the other devices of the present domain from a device.

    :param orders: the places in the order of boot that are taken.
    :param on_carried: whether the device is on a controller of another client.
    """
    for child in _belonging(device, orders):
        is_kept = child.get("type") in _KEPT_ADDRESSES or (on_carried and child.tag == "address")
        if not is_kept:
            device.remove(child)


def _belonging(device: Element, orders: set[str | None]) -> Iterator[Element]:
    yield from device.findall("address")
    yield from (a for a in device.findall("alias") if not a.get("name", "").startswith(USER_ALIAS))
    yield from (boot for boot in device.findall("boot") if boot.get("order") in orders)


def _controller(device: Element) -> str | None:
    """Return the index of the SCSI controller that a device is on."""
    place = device.find("address[@type='drive']")
    on_scsi = device.get("type") == "scsi" or device.find("target[@bus='scsi']") is not None
    return place.get("controller") if place is not None and on_scsi else None


def _keep_parts(domain: Element, present: Element) -> None:
    """Keep how much of the memory and how many of the processors the guest has at its start."""
    memory, vcpu = present.findtext("memory"), present.find("vcpu")
    current = present.findtext("currentMemory")
    ours = domain.find("memory")
    assert ours is not None
    if current not in (None, memory) and memory == str(int(ours.text or 0) * KIB_PER_MIB):
        ours.addnext(E.currentMemory(current, unit="KiB"))
    own = domain.find("vcpu")
    assert own is not None
    if vcpu is not None and vcpu.get("current") and vcpu.text == own.text:
        own.set("current", vcpu.get("current", ""))
