# SPDX-License-Identifier: Apache-2.0
"""A guest, its hardware and files, and the domain XML built of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from lxml import etree

from compute_driver.choices import (
    Accelerator,
    DiskBus,
    DiskFormat,
)
from compute_driver.consoles import Served
from compute_driver.guest import (
    GIB,
    DirectBoot,
    Disk,
    Guest,
    Image,
    Interface,
)
from compute_driver.hardware import resolve, tuning
from compute_driver.hardware.acceleration import Decision
from compute_driver.hardware.description import Hardware
from compute_driver.hardware.settings import Settings
from compute_driver.storage.home import Home
from compute_driver.storage.layout import Layout, plan
from compute_driver.xml import domain
from tests.unit.base import configuration

DIRECTORY = Path("/instances/3b1f0e5e-7d3c-4a52-9d53-0d5d6f3c7a10")

EMULATOR = "/usr/bin/qemu-system"
NOTHING = Served()
USUAL = Settings()

KVM = Decision(Accelerator.KVM, "virt_type is kvm: svm, and the probe passed")
TCG = Decision(Accelerator.TCG, "virt_type is qemu: emulation as configured")
FALLBACK = Decision(Accelerator.TCG, "KVM is not usable: no svm or vmx", fallback=True)

IMAGE = Image(location="/images/debian.qcow2", format=DiskFormat.QCOW2)
ISO = Image(location="https://images.example.org/live.iso", format=DiskFormat.ISO)
KERNEL = DirectBoot(
    kernel=Image(location="/images/vmlinuz"),
    ramdisk=Image(location="/images/initrd.img"),
    cmdline="console=ttyS0 root=/dev/vda1 quiet",
)


def nic(number: int, **fields: Any) -> Interface:
    return Interface(mac=f"52:54:00:00:00:{number:02x}", **fields)


def guest(**fields: Any) -> Guest:
    defaults = {
        "uuid": "3b1f0e5e-7d3c-4a52-9d53-0d5d6f3c7a10",
        "name": "web1",
        "architecture": "x86_64",
        "image": IMAGE,
        "interfaces": (nic(1),),
    }
    return Guest(**{**defaults, **fields})


def hardware(
    made: Guest, decision: Decision = TCG, served: Served = NOTHING, settings: Settings = USUAL
) -> Hardware:
    """Return a guest's hardware, with the default configuration of processors."""
    defaults = tuning.CpuDefaults(kvm_mode="host-model", tcg_models={})
    processor = tuning.cpu(made, decision.accelerator, defaults)
    return resolve.resolve(made, decision.accelerator, processor, served, settings)


def layout(
    made: Guest, devices: Hardware | None = None, *, disk_format: DiskFormat = DiskFormat.QCOW2
) -> Layout:
    devices = devices or hardware(made)
    uefi = devices.boot.uefi
    home = Home(configuration(disk_format=disk_format), DIRECTORY)
    return plan(made, DIRECTORY, devices.drives, home.locate, uefi=uefi)


def on_bus(bus: DiskBus) -> dict[str, Any]:
    return {
        "root": Disk(size_bytes=10 * GIB, bus=bus),
        "ephemerals": (Disk(size_bytes=GIB, bus=bus),),
    }


def as_text(
    made: Guest,
    decision: Decision = TCG,
    served: Served = NOTHING,
    settings: Settings = USUAL,
    **changes: Any,
) -> str:
    """Return a guest's domain.

    :param changes: to the layout.
    """
    devices = hardware(made, decision, served, settings)
    files = dataclasses.replace(layout(made, devices), **changes)
    return domain.build(made, devices, files, decision, EMULATOR)


def built(
    made: Guest, decision: Decision = TCG, served: Served = NOTHING, settings: Settings = USUAL
) -> etree._Element:
    return etree.fromstring(as_text(made, decision, served, settings))
