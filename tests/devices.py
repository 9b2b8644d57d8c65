# SPDX-License-Identifier: Apache-2.0
"""The table of all device families: each choice that a guest has, and the machines that offer it.

Tests of the drivers' refusals go through this table for every machine of every architecture.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from compute_driver.choices import (
    Accelerator,
    ConsoleModel,
    DiskBus,
    Firmware,
    InputModel,
    NicModel,
    ScsiModel,
    SoundModel,
    UsbModel,
    VideoModel,
    VirtioForm,
    WatchdogAction,
)
from compute_driver.guest import (
    MIB,
    ConfigDrive,
    Cpu,
    DirectBoot,
    Disk,
    Guest,
    Image,
    Interface,
    Topology,
)
from compute_driver.hardware import architecture
from compute_driver.hardware.architecture import Architecture
from compute_driver.hardware.machines import Machine

Offers = Callable[[Architecture, Machine, Accelerator], bool]


@dataclasses.dataclass(frozen=True)
class Wish:
    """One choice of a guest.

    :param family: the family of devices.
    :param changes: fields of the guest.
    :param offers: tells whether a machine offers the choice, by the columns of its facts.
    """

    family: str
    changes: dict[str, Any]
    offers: Offers


def guest(facts: Architecture, machine: Machine, kernel: Image, **changes: Any) -> Guest:
    """Describe a small guest that every machine runs: a kernel and an empty disk.

    :param kernel: the kernel that QEMU starts.
    """
    identity = str(uuid.uuid4())
    fields = {
        "uuid": identity,
        "name": f"guest-{identity[:8]}",
        "architecture": facts.name,
        "machine": machine.name,
        "memory_mib": 16,
        "boot": DirectBoot(kernel=kernel),
        "root": Disk(size_bytes=MIB),
    }
    return Guest(**{**fields, **changes})


def machines() -> Iterator[tuple[Architecture, Machine]]:
    """Yield every machine of every architecture."""
    for facts in architecture.TABLE.values():
        for machine in facts.machines:
            yield facts, machine


def _column(name: str, choice: object) -> Offers:
    return lambda _facts, machine, _accelerator: choice in getattr(machine, name)


def _flag(name: str) -> Offers:
    return lambda _facts, machine, _accelerator: bool(getattr(machine, name))


def _pmu(facts: Architecture, _machine: Machine, accelerator: Accelerator) -> bool:
    return facts.pmu and (facts.emulated_pmu or accelerator is Accelerator.KVM)


def _threads(facts: Architecture, _machine: Machine, accelerator: Accelerator) -> bool:
    return facts.threads and (facts.emulated_threads or accelerator is Accelerator.KVM)


def _vcpus(number: int) -> Offers:
    return lambda _facts, machine, _accelerator: (
        machine.max_vcpus == 0 or number <= machine.max_vcpus
    )


def _ports(number: int, console: ConsoleModel | None = None) -> Offers:
    def offers(_facts: Architecture, machine: Machine, _accelerator: Accelerator) -> bool:
        model = console or machine.consoles[0]
        most = machine.serial_ports if model is ConsoleModel.SERIAL else 1
        return model in machine.consoles and number <= most

    return offers


_EMPTY = Disk(size_bytes=MIB)
_WITH_MEMORY = (VideoModel.VGA, VideoModel.QXL, VideoModel.BOCHS)
_DRIVE = ConfigDrive(hostname="web1")

WISHES: tuple[Wish, ...] = (
    *(
        Wish("firmware", {"firmware": choice, "boot": None}, _column("firmwares", choice))
        for choice in Firmware
    ),
    Wish(
        "secure boot",
        {"firmware": Firmware.UEFI, "secure_boot": True, "boot": None},
        _flag("secure_boot"),
    ),
    Wish("boot menu", {"boot_menu": True}, _flag("boot_menu")),
    *(
        Wish("disk bus", {field: make(choice)}, _column("buses", choice))
        for choice in DiskBus
        for field, make in (
            ("root", lambda bus: Disk(size_bytes=MIB, bus=bus)),
            ("ephemerals", lambda bus: (_EMPTY, Disk(size_bytes=MIB, bus=bus))),
            ("swap", lambda bus: Disk(size_bytes=MIB, bus=bus)),
        )
    ),
    *(
        Wish("CD-ROM bus", {"cdrom_bus": choice, "config_drive": _DRIVE}, _column("buses", choice))
        for choice in DiskBus
    ),
    Wish(
        "IDE drives",
        {"ephemerals": (Disk(size_bytes=MIB, bus=DiskBus.IDE),) * 5},
        lambda _facts, _machine, _accelerator: False,
    ),
    *(Wish("SCSI model", {"scsi_model": each}, _column("scsis", each)) for each in ScsiModel),
    *(
        Wish("network card", {"interfaces": (Interface(model=each),)}, _column("nics", each))
        for each in NicModel
    ),
    *(Wish("video", {"video": each}, _column("videos", each)) for each in VideoModel),
    *(
        Wish(
            "video memory",
            {"video": each, "video_ram_mib": 32},
            lambda _facts, machine, _accelerator, each=each: (
                each in machine.videos
                and each in (VideoModel.VGA, VideoModel.QXL, VideoModel.BOCHS)
            ),
        )
        for each in VideoModel
    ),
    *(Wish("input", {"input": each}, _column("inputs", each)) for each in InputModel),
    *(Wish("USB", {"usb_model": each}, _column("usbs", each)) for each in UsbModel),
    *(
        Wish("USB is needed", {"usb_model": UsbModel.NONE, **changes}, lambda *_: False)
        for changes in (
            {"sound": SoundModel.USB},
            {"input": InputModel.USB},
            {"swap": Disk(size_bytes=MIB, bus=DiskBus.USB)},
        )
    ),
    *(Wish("sound", {"sound": each}, _column("sounds", each)) for each in SoundModel),
    *(Wish("watchdog", {"watchdog": each}, _flag("watchdogs")) for each in WatchdogAction),
    *(Wish("console", {"console": each}, _column("consoles", each)) for each in ConsoleModel),
    *(Wish("serial ports", {"serial_ports": n}, _ports(n)) for n in (1, 2, 4)),
    *(
        Wish("serial ports", {"serial_ports": 2, "console": each}, _ports(2, each))
        for each in ConsoleModel
    ),
    *(Wish("virtio", {"virtio": each}, _column("virtios", each)) for each in VirtioForm),
    Wish(
        "packed ring",
        {"packed_ring": True},
        lambda _facts, machine, _accelerator: not machine.mmio,
    ),
    Wish("HPET", {"hpet": True}, _flag("hpet")),
    Wish("HPET", {"hpet": False}, lambda *_: True),
    Wish("PMU", {"pmu": True}, _pmu),
    Wish("PMU", {"pmu": False}, lambda *_: True),
    Wish(
        "hidden hypervisor",
        {"hide_hypervisor": True},
        lambda facts, _machine, _accelerator: facts.signed,
    ),
    Wish("threads", {"vcpus": 2, "cpu": Cpu(topology=Topology(threads=2))}, _threads),
    *(Wish("vcpus", {"vcpus": n}, _vcpus(n)) for n in (1, 9, 256)),
)
