# SPDX-License-Identifier: Apache-2.0
"""A guest of every architecture, from its first power-on to its own shutdown.

Every row of the table is a test. With ``$COMPUTE_DRIVER_WRITE_TABLE`` a passing test writes its row
with measured values to that file, the documentation's table.
"""

from __future__ import annotations

import csv
import dataclasses
import fcntl
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from compute_driver import exceptions
from compute_driver.choices import Accelerator, Firmware, PowerState, RebootKind
from compute_driver.guest import MIB, ConfigDrive, Disk, Guest, Image
from compute_driver.hardware import architecture
from tests import guests, rfb
from tests.functional import base, inside

#: Seconds that a guest gets to shut itself down.
SHUTDOWN_TIMEOUT = 120.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A way to run guests.

    :param firmware: starts the boot loader; None: QEMU starts the kernel.
    :param shutdown: the signal to shut down, for the table.
    :param seen: the guest's facts about firmware and Secure Boot.
    :param flavour: of test guests.
    :param told: more of the kernel's command line.
    """

    architecture: str
    machine: str
    firmware: Firmware | None = None
    secure_boot: bool = False
    shutdown: str
    seen: tuple[str, str] = ("none", "none")
    flavour: str = "basic"
    memory_mib: int = 256
    told: str = ""

    @property
    def started_by(self) -> str:
        """Who starts the system, for the table."""
        if self.firmware is None:
            return "kernel"
        return f"{str(self.firmware).upper()}{', Secure Boot' * self.secure_boot}"

    @property
    def name(self) -> str:
        """The name of the row's test."""
        words = f"{self.architecture} {self.machine} {self.started_by}".lower()
        return re.sub(r"\W+", "_", words)


_BIOS: dict[str, Any] = {"firmware": Firmware.BIOS, "seen": ("bios", "none")}
_UEFI: dict[str, Any] = {"firmware": Firmware.UEFI, "seen": ("uefi", "no")}
_SIGNED: dict[str, Any] = {
    **_UEFI,
    "secure_boot": True,
    "flavour": "secure",
    "seen": ("uefi", "yes"),
}
_ACPI = "power button (ACPI)"
_GPIO = "power button (GPIO)"

ROWS = (
    Row(architecture="x86_64", machine="q35", **_BIOS, shutdown=_ACPI),
    Row(architecture="x86_64", machine="q35", **_UEFI, shutdown=_ACPI),
    Row(architecture="x86_64", machine="q35", **_SIGNED, shutdown=_ACPI),
    Row(architecture="x86_64", machine="pc", **_BIOS, shutdown=_ACPI),
    Row(
        architecture="x86_64",
        machine="microvm",
        shutdown=_ACPI,
        seen=("bios", "none"),
        # The machine has no clock to measure the processor's clock with.
        told="tsc_early_khz=2000000",
    ),
    Row(architecture="i686", machine="q35", **_BIOS, shutdown=_ACPI),
    Row(architecture="aarch64", machine="virt", **_UEFI, shutdown=_ACPI),
    Row(architecture="aarch64", machine="virt", shutdown=_GPIO),
    Row(architecture="armv7l", machine="virt", **_UEFI, shutdown=_GPIO),
    Row(architecture="armv7l", machine="virt", shutdown=_GPIO),
    Row(architecture="ppc64le", machine="pseries", shutdown="EPOW event", memory_mib=512),
    Row(architecture="s390x", machine="s390-ccw-virtio", shutdown="SCLP signal"),
    # QEMU 7.2's machine has no power button.
    Row(architecture="riscv64", machine="virt", shutdown="guest agent", flavour="agent"),
)


class ArchitectureTestCase(base.HostTestCase):
    """The steps of every row's test."""

    options: ClassVar = {
        "virt_type": "kvm",
        "emulation_fallback": True,
        "vnc_listen": "127.0.0.1",
    }

    def run_row(self, row: Row) -> None:
        images = guests.build(row.flavour, row.architecture)
        begun = time.monotonic()
        made = self.spawn(**description(row, images))
        seconds = time.monotonic() - begun
        self.check_facts(row, made)
        self.check_accelerator(row, made)
        self.check_console(made)
        self.check_screen(row, made)
        self.check_network(made)
        self.check_disk(made)
        self.check_interrupt(row, made)
        self.check_shutdown(made)
        record(row, images.console, seconds, self.driver.show(made.uuid).accelerator)

    def check_facts(self, row: Row, made: Guest) -> None:
        assert made.config_drive is not None
        self.assertEqual([made.config_drive.hostname], self.fact(made, "HOSTNAME"))
        self.assertEqual([row.seen[0]], self.fact(made, "FIRMWARE"))
        self.assertEqual([row.seen[1]], self.fact(made, "SECUREBOOT"))
        self.assertEqual(["1"], self.fact(made, "CPUS"))
        self.assertNotEqual(["none"], self.fact(made, "CPU-MODEL"))
        # Only UEFI leads a system of Arm to the SMBIOS tables.
        identified = row.firmware is not None and architecture.machine(made).smbios
        vendor = "compute_driver" if identified else "none"
        self.assertEqual([vendor], self.fact(made, "SMBIOS-VENDOR"))

    def check_accelerator(self, row: Row, made: Guest) -> None:
        info = self.driver.show(made.uuid)
        self.assertEqual([info.accelerator], self.fact(made, "VIRT"))
        self.assertIn("KVM", info.reason)
        if architecture.of_host() not in architecture.get(row.architecture).kvm_hosts:
            self.assertEqual(Accelerator.TCG, info.accelerator)
            self.assertIn(f"cannot run {row.architecture} guests", info.reason)

    def check_console(self, made: Guest) -> None:
        self.assertEqual("42\n", inside.run(self.driver, made, "echo $((6 * 7))"))

    def check_screen(self, row: Row, made: Guest) -> None:
        if row.machine == "microvm":  # has no display adapter
            with self.assertRaises(exceptions.ConsoleUnavailable):
                self.driver.display(made.uuid)
            return
        screen = self.driver.display(made.uuid)
        assert screen.port is not None
        with rfb.Client((screen.host, screen.port), 60) as client:
            self.assertGreaterEqual((client.width, client.height), (640, 400))

    def check_network(self, made: Guest) -> None:
        (card,) = self.fact(made, "NIC")
        self.assertIn("driver=virtio_net", card)
        self.driver.console_wait(made.uuid, "GUEST-LEASE: eth0 10.0.2.15/", timeout=30)

    def check_disk(self, made: Guest) -> None:
        self.assertTrue(all(" bus=virtio " in disk for disk in self.fact(made, "DISK")))
        self.on_data_disk(made, "echo kept >/disk/mark")
        with inside.boots(self.driver, made):
            self.driver.reboot(made.uuid, kind=RebootKind.HARD)
        self.assertEqual("kept\n", self.on_data_disk(made, "cat /disk/mark"))

    def on_data_disk(self, made: Guest, command: str) -> str:
        # Device names may change with every boot: the last line is of the last boot.
        *_, line = (disk for disk in self.fact(made, "DISK") if "serial=ephemeral0" in disk)
        mount = f"mount -t ext4 /dev/{line.split()[0]} /disk"
        return inside.run(self.driver, made, f"{mount} && {command} && umount /disk")

    def check_interrupt(self, row: Row, made: Guest) -> None:
        if row.machine == "microvm":
            return  # no table names the APIC's pin for such interrupts
        if row.architecture in ("x86_64", "i686"):
            self.driver.inject_nmi(made.uuid)
            self.driver.console_wait(made.uuid, "NMI received", timeout=30)
        elif row.architecture in ("aarch64", "armv7l", "riscv64"):
            with self.assertRaises(exceptions.InterruptUnsupported):
                self.driver.inject_nmi(made.uuid)

    def check_shutdown(self, made: Guest) -> None:
        before = len(self.driver.console_log(made.uuid))
        self.driver.stop(made.uuid, timeout=SHUTDOWN_TIMEOUT)
        self.assertIn(b"GUEST-DOWN", self.driver.console_log(made.uuid)[before:])
        self.assertIs(PowerState.STOPPED, self.driver.show(made.uuid).state)


class TestPersonalComputers(ArchitectureTestCase):
    """One test for each row of x86, made below."""


class TestOthers(ArchitectureTestCase):
    """One test for each other row, made below."""


def _test(row: Row) -> Callable[[ArchitectureTestCase], None]:
    return lambda case: case.run_row(row)


def _make_tests() -> None:
    for row in ROWS:
        case = TestPersonalComputers if row.architecture in ("x86_64", "i686") else TestOthers
        setattr(case, f"test_{row.name}", _test(row))


_make_tests()


def description(row: Row, images: guests.GuestImages) -> dict[str, Any]:
    """Return the fields in which a row's guest differs from :func:`base.guest`'s."""
    fields: dict[str, Any] = {
        "architecture": row.architecture,
        "machine": row.machine,
        "memory_mib": row.memory_mib,
        "ephemerals": (Disk(size_bytes=64 * MIB),),
        "config_drive": ConfigDrive(hostname=f"{row.architecture}-guest".replace("_", "-")),
    }
    if row.firmware is None:
        return fields | {"boot": base.kernel(*row.told.split(), images=images)}
    return fields | {
        "image": Image(location=str(images.disk)),
        "firmware": row.firmware,
        "secure_boot": row.secure_boot,
    }


HEADER = (
    "Architecture",
    "Machine",
    "Started by",
    "Boots (seconds)",
    "Console",
    "Shut down by",
    "Accelerator",
)
#: Columns that identify a row.
KEY = 3


def record(row: Row, console: str, seconds: float, accelerator: str) -> None:
    """Write a row to the table of the variable, in place of an older row."""
    if not (target := os.environ.get("COMPUTE_DRIVER_WRITE_TABLE")):
        return
    line = [row.architecture, row.machine, row.started_by, str(round(seconds))]
    line += [console, row.shutdown, accelerator.upper()]
    with Path(target).open("a+", encoding="utf-8", newline="") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        known = {(other.architecture, other.machine, other.started_by) for other in ROWS}
        lines = {tuple(old[:KEY]): old for old in csv.reader(file) if tuple(old[:KEY]) in known}
        lines[tuple(line[:KEY])] = line
        file.truncate(0)
        csv.writer(file, lineterminator="\n").writerows([HEADER, *sorted(lines.values())])
