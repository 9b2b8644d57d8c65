# SPDX-License-Identifier: Apache-2.0
"""Other ways to emulate the same image: nova's in-tree driver, and an expert's QEMU.

Both run the disk, the config drive and the user-mode network of :mod:`benchmarks.ways`, and log
their console to the same file; all other settings are theirs.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from lxml import etree

from benchmarks import ways
from compute_driver.guest import Guest
from compute_driver.storage.layout import Layout

_NOVA = Path(__file__).with_name("nova_xml.py")


class NovaLibvirt(ways.PlainLibvirt):
    """The domain that nova 34 defines for ``virt_type=qemu``, its options at their defaults.

    :param interpreter: a Python that has nova.
    :param describe: returns a new guest.
    """

    def __init__(self, *, interpreter: str, describe: Callable[[], Guest] = ways.describe) -> None:
        self._interpreter = interpreter
        super().__init__(cached=True, describe=describe, virt_type="qemu")

    def prepare(self) -> None:
        """Let nova write the XML, which is not measured."""
        super().prepare()
        arguments = [
            self._libvirt.getURI(),
            self.guest.name,
            self.guest.uuid,
            self.guest.interfaces[0].mac,
            str(self.guest.memory_mib),
            str(self.guest.vcpus),
        ]
        written = subprocess.run(
            [self._interpreter, str(_NOVA), *arguments],
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        self._xml = relocate(written.stdout, self._plan)


class HandTunedQemu(ways.PlainQemu):
    """The command line of an expert in QEMU's translator for this guest.

    :param describe: returns a new guest.
    """

    def __init__(self, *, describe: Callable[[], Guest]) -> None:
        super().__init__(cached=True, describe=describe, virt_type="qemu")

    def prepare(self) -> None:
        """Write the command line."""
        super().prepare()
        drives = []
        for number, disk in enumerate(self._plan.disks):
            source, file = disk.source, f"file={disk.source.path}"
            readonly = ",readonly=on" if disk.readonly else ",discard=unmap"
            drives += [
                *("-drive", f"if=none,id=d{number},format={source.format},{file}{readonly}"),
                *("-device", f"virtio-blk-pci,drive=d{number},bootindex={number + 1}"),
            ]
        self._command = [
            "qemu-system-x86_64",
            *("-uuid", self.guest.uuid),
            *("-no-user-config", "-nodefaults", "-display", "none"),
            *("-machine", "q35,usb=off,smm=off,vmport=off"),
            *("-accel", "tcg,thread=multi,tb-size=64"),
            *("-cpu", "Nehalem", "-smp", str(self.guest.vcpus)),
            *("-m", str(self.guest.memory_mib)),
            *drives,
            *("-netdev", "user,id=n0"),
            *("-device", f"virtio-net-pci,netdev=n0,mac={self.guest.interfaces[0].mac},romfile="),
            *("-device", "virtio-rng-pci"),
            *("-serial", f"file:{self._plan.console_log}"),
            *("-qmp", "stdio"),
        ]


def relocate(xml: str, layout: Layout) -> str:
    """Return nova's XML with the files of a layout and a user-mode network.

    :param xml: a domain with a root disk, a config drive and one interface.
    :raises ValueError: if the domain has others.
    """
    domain = etree.fromstring(xml)
    sources = domain.findall("devices/disk/source")
    for source, disk in zip(sources, layout.disks, strict=True):
        source.set("file", str(disk.source.path))
    (log,) = domain.findall("devices/serial/log")
    log.set("file", str(layout.console_log))
    (interface,) = domain.findall("devices/interface")
    interface.set("type", "user")
    for child in list(interface):
        if child.tag not in ("mac", "model"):
            interface.remove(child)
    return etree.tostring(domain, encoding="unicode")
