# SPDX-License-Identifier: Apache-2.0
"""``spawn``: make a guest from the options of the command line."""

from __future__ import annotations

import argparse
from typing import Any

from compute_driver import exceptions
from compute_driver.cmd import errors, guests, options, progress, verb
from compute_driver.cmd.columns import ShowOne
from compute_driver.guest import Guest


class Spawn(ShowOne):
    """Make a guest and start it."""

    columns = tuple(guests.SHOWN)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        """Return the parser."""
        parser = super().get_parser(prog_name)
        add = parser.add_argument
        add("name", metavar="NAME", help="name of the guest, unique on this host")
        for titles in (_IMAGE, _MACHINE, _DEVICES, _DATA, _WAITING):
            title, settings = titles
            group = parser.add_argument_group(title)
            for option, setting in settings.items():
                group.add_argument(option, **setting)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        """Make the guest, and return what ``show`` shows of it."""
        try:
            guest = options.guest(parsed_args)
        except exceptions.InvalidParameter as error:
            raise errors.UsageError(str(error)) from error
        with progress.shown(self.app.options.verbose_level > 0) as report:
            info = self.operate(guest, progress=report)
        if parsed_args.wait is not None:
            self._wait(guest, parsed_args.wait, parsed_args.timeout)
        return self.dict2columns(guests.describe(info))

    def _wait(self, guest: Guest, text: str, timeout: float) -> None:
        try:
            self.driver.console_wait(guest.uuid, text, timeout=timeout)
        except exceptions.OperationTimeout as error:
            raise exceptions.OperationTimeout(f"{error}; guest {guest.name!r} stays") from error


def _repeated(metavar: str, text: str, **settings: Any) -> dict[str, Any]:
    text = f"{text}; can be repeated"
    return {"action": "append", "default": [], "metavar": metavar, "help": text, **settings}


_IMAGE: tuple[str, dict[str, dict[str, Any]]] = (
    "what it boots from",
    {
        "--image": {"metavar": "SRC", "help": "path or URL of a disk or ISO image"},
        "--image-format": {"metavar": "F", "help": "what the image must be: qcow2, raw, iso..."},
        "--checksum": {"metavar": "ALG:HEX", "help": "checksum that the image must have"},
        "--disk": {
            "type": float,
            "metavar": "GIB",
            "help": "size of the root disk (default: the image's own)",
        },
        "--kernel": {"metavar": "SRC", "help": "path or URL of a kernel to start directly"},
        "--ramdisk": {"metavar": "SRC", "help": "path or URL of the kernel's initial ramdisk"},
        "--cmdline": {"metavar": "TEXT", "help": "command line of the kernel"},
        "--firmware": {"metavar": "bios|uefi", "help": "what starts the boot loader"},
        "--secure-boot": {
            "action": argparse.BooleanOptionalAction,
            "help": "start boot loaders that are signed by Microsoft's keys only (default: any)",
        },
        "--boot-menu": {
            "action": argparse.BooleanOptionalAction,
            "help": "whether the firmware offers a choice of what to boot from (default: it does"
            " not)",
        },
    },
)

_MACHINE: tuple[str, dict[str, dict[str, Any]]] = (
    "machine",
    {
        "--vcpus": {
            "type": verb.whole,
            "metavar": "N",
            "help": "virtual CPUs (default: as many as the topology makes, or 1)",
        },
        "--memory": {
            "type": verb.whole,
            "default": 512,
            "metavar": "MIB",
            "help": "memory in MiB (default: 512)",
        },
        "--arch": {"metavar": "A", "help": "architecture (default: the host's)"},
        "--machine": {"metavar": "M", "help": "QEMU machine type (default: by architecture)"},
        "--cpu": {
            "metavar": "MODEL",
            "help": "CPU model, host-model, host-passthrough or maximum (default: by"
            " architecture and accelerator)",
        },
        "--cpu-enable": _repeated("FEATURE", "a feature that the CPU is to have"),
        "--cpu-disable": _repeated("FEATURE", "a feature that the CPU is not to have"),
        "--sockets": {"type": verb.whole, "metavar": "N", "help": "CPU sockets"},
        "--cores": {"type": verb.whole, "metavar": "N", "help": "CPU cores in each socket"},
        "--threads": {"type": verb.whole, "metavar": "N", "help": "CPU threads in each core"},
        "--os-type": {
            "metavar": "OS",
            "help": "linux or windows; the latter gets a clock of local time and, with KVM,"
            " Hyper-V's interfaces",
        },
        "--uuid": {"help": "identity (default: a new one)"},
        "--hw": _repeated(
            "KEY=VALUE",
            "OpenStack image property or extra spec that describes hardware, such as"
            " hw_disk_bus=scsi; options of their own win",
        ),
    },
)

_DEVICES: tuple[str, dict[str, dict[str, Any]]] = (
    "devices",
    {
        "--nic": _repeated(
            "SPEC",
            "network interface: user, network=NAME, bridge=NAME, ovs=BRIDGE (of Open vSwitch) or"
            " none, then optionally ,model=MODEL, ,mac=MAC, ,mtu=BYTES and ,queues=N"
            " (default: user)",
        ),
        "--ephemeral": _repeated("GIB", "an empty, formatted disk", type=float),
        "--swap": {"type": verb.whole, "metavar": "MIB", "help": "a disk of swap space"},
        "--disk-bus": {
            "metavar": "BUS",
            "help": "bus of all disks: virtio or scsi (that is virtio-scsi), which are"
            " paravirtual; sata, ide or usb, which are emulated (default: by architecture)",
        },
        "--cdrom-bus": {
            "metavar": "BUS",
            "help": "bus of the CD-ROM drives, an ISO image's and the config drive's (default: by"
            " machine for the former, as the root disk for the latter)",
        },
        "--scsi-model": {
            "metavar": "MODEL",
            "help": "SCSI controller: virtio-scsi, or by machine vmpvscsi, lsilogic, lsisas1068,"
            " lsisas1078 or ibmvscsi (default: virtio-scsi)",
        },
        "--usb-model": {
            "metavar": "MODEL",
            "help": "USB controller: qemu-xhci, nec-xhci or none (default: if one is needed)",
        },
        "--sound": {
            "metavar": "MODEL",
            "help": "sound card: ich9, ich6, ac97, es1370, usb or sb16 (default: none)",
        },
        "--watchdog": {
            "metavar": "ACTION",
            "help": "what a watchdog does to a guest that hangs: reset, poweroff, pause or none"
            " (default: there is no watchdog)",
        },
        "--serial-ports": {
            "type": verb.whole,
            "metavar": "N",
            "help": "serial ports, of which the first is the console (default: 1)",
        },
        "--video": {"metavar": "MODEL", "help": "display adapter (default: by architecture)"},
        "--input": {"metavar": "BUS", "help": "keyboard and pointer: virtio, usb, ps2 or none"},
        "--console": {
            "metavar": "MODEL",
            "help": "what the serial console hangs on: serial, virtio or sclp",
        },
        "--rng": {
            "action": argparse.BooleanOptionalAction,
            "help": "whether there is a random number generator (default: there is)",
        },
        "--balloon": {
            "action": argparse.BooleanOptionalAction,
            "help": "whether there is a memory balloon (default: there is)",
        },
        "--virtio": {
            "metavar": "FORM",
            "help": "how virtio devices speak: virtio, virtio-transitional (for old guests) or"
            " virtio-non-transitional (default: virtio, as the machine suggests)",
        },
    },
)

_DATA: tuple[str, dict[str, dict[str, Any]]] = (
    "what the guest is told",
    {
        "--user-data": {"metavar": "FILE", "help": "user data for cloud-init or the like"},
        "--key": _repeated("FILE", "public SSH key to let in"),
        "--hostname": {"metavar": "H", "help": "name that the guest takes (default: like NAME)"},
        "--meta": _repeated("KEY=VALUE", "free metadata"),
        "--config-drive": {
            "action": argparse.BooleanOptionalAction,
            "help": "whether there is a config drive (default: if there is something to tell)",
        },
    },
)

_WAITING: tuple[str, dict[str, dict[str, Any]]] = (
    "waiting",
    {
        "--wait": {"metavar": "TEXT", "help": "return when the serial console has shown TEXT"},
        "--timeout": {
            "type": verb.seconds,
            "default": 300.0,
            "metavar": "SECONDS",
            "help": "how long to wait for that (default: 300)",
        },
    },
)
