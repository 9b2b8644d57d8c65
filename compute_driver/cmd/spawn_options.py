# SPDX-License-Identifier: Apache-2.0
"""The options of ``spawn``, by groups, with the fields of the hardware that the options set."""

from __future__ import annotations

from compute_driver.choices import (
    ConsoleModel,
    DiskBus,
    Firmware,
    InputModel,
    OsType,
    ScsiModel,
    SoundModel,
    UsbModel,
    VideoModel,
    VirtioForm,
    WatchdogAction,
)
from compute_driver.cmd import options, verb
from compute_driver.cmd.options import Option, choice, repeated, switch
from compute_driver.hardware import architecture

_IMAGE = (
    Option("--image", "path or URL of a disk or ISO image", "SRC"),
    *options.IMAGE,
    Option(
        "--disk", "size of the root disk (default, and 0: the image's size)", "GIB", verb.number
    ),
    *options.KERNEL,
    choice(
        "--firmware",
        "firmware that starts the boot loader: {words} (default: by machine)",
        "FIRMWARE",
        Firmware,
    ),
    switch(
        "--secure-boot",
        "start boot loaders with a signature by Microsoft's keys only (default: any boot loader)",
        "secure_boot",
    ),
    switch(
        "--boot-menu",
        "whether the firmware shows a menu of boot devices (default: no menu)",
        "boot_menu",
    ),
)

_MACHINE = (
    Option("--vcpus", "virtual CPUs (default: by the topology, or 1)", "N", verb.whole),
    Option(
        "--memory", "memory in MiB (default: 512)", "MIB", verb.whole, settings={"default": 512}
    ),
    Option(
        "--arch",
        "architecture (default: the host's)",
        "A",
        field="architecture",
        read=lambda flag, name: architecture.get(name, flag).name,
    ),
    Option("--machine", "QEMU machine type (default: by architecture)", "M", field="machine"),
    Option(
        "--cpu",
        "CPU model, host-model, host-passthrough or maximum (default: by architecture and"
        " accelerator)",
        "MODEL",
        field="cpu_model",
    ),
    repeated("--cpu-enable", "FEATURE", "a feature that the CPU has"),
    repeated("--cpu-disable", "FEATURE", "a feature that the CPU does not have"),
    Option("--sockets", "CPU sockets", "N", verb.whole),
    Option("--cores", "CPU cores in each socket", "N", verb.whole),
    Option("--threads", "CPU threads in each core", "N", verb.whole),
    choice(
        "--os-type",
        "the guest's system: {words}; windows has a clock of local time and, with KVM, Hyper-V's"
        " interfaces",
        "OS",
        OsType,
    ),
    Option("--uuid", "UUID of the guest (default: a new one)"),
    repeated(
        "--hw",
        "KEY=VALUE",
        "OpenStack image property or extra spec for hardware, such as hw_disk_bus=scsi; other"
        " options take precedence",
    ),
)

_DEVICES = (
    repeated(
        "--nic",
        "SPEC",
        f"network interface: {options.PORTS} (a bridge of Open vSwitch) or none,"
        f" then optionally {options.SETTINGS} (default: user);"
        " ,address=ADDRESS/PREFIX for a static address instead of DHCP, which cloud-init or"
        " similar programs set, and after the address ,gateway=ADDRESS",
    ),
    repeated(
        "--publish",
        "PORT",
        "port of the host that leads to a port of the guest, by its first interface of user-mode"
        f" networking: {options.PUBLISHED_HELP}",
    ),
    repeated("--ephemeral", "GIB", "an empty, formatted disk", type=verb.number),
    Option(
        "--swap",
        "a disk of swap space (default: 0, no disk)",
        "MIB",
        verb.whole,
        settings={"default": 0},
    ),
    choice(
        "--disk-bus",
        "bus of all disks: {words}; virtio and scsi are paravirtual, the others are emulated"
        " (default: by architecture)",
        "BUS",
        DiskBus,
    ),
    choice(
        "--cdrom-bus",
        "bus of the CD-ROM drives of an ISO image and of the config drive: {words} (default: by"
        " machine for an ISO image, the root disk's bus for the config drive)",
        "BUS",
        DiskBus,
    ),
    choice(
        "--scsi-model",
        "SCSI controller, of those that the machine has: {words} (default: virtio-scsi)",
        "MODEL",
        ScsiModel,
    ),
    choice(
        "--usb-model",
        "USB controller: {words} (default: one if the guest needs one)",
        "MODEL",
        UsbModel,
    ),
    choice(
        "--sound",
        "sound card, of those that the machine has: {words} (default: none)",
        "MODEL",
        SoundModel,
    ),
    choice(
        "--watchdog",
        "action of a watchdog when the guest hangs: {words} (default: no watchdog)",
        "ACTION",
        WatchdogAction,
    ),
    Option(
        "--serial-ports",
        "number of serial ports; the first one is the console (default: 1)",
        "N",
        verb.whole,
        field="serial_ports",
    ),
    choice(
        "--video",
        "display adapter, of those that the machine has: {words} (default: by architecture)",
        "MODEL",
        VideoModel,
    ),
    choice("--input", "keyboard and pointer: {words} (default: by machine)", "BUS", InputModel),
    choice(
        "--console",
        "device of the serial console: {words} (default: by machine)",
        "MODEL",
        ConsoleModel,
    ),
    switch("--rng", "whether the guest has a random number generator (default: yes)", "rng"),
    switch("--balloon", "whether the guest has a memory balloon (default: yes)", "balloon"),
    choice(
        "--virtio",
        "interface of virtio devices: {words}; virtio-transitional is for old guests"
        " (default: virtio, as the machine suggests)",
        "FORM",
        VirtioForm,
    ),
)

_DATA = (
    Option(
        "--user-data", "file of user data for cloud-init or similar programs", "FILE", verb.path
    ),
    repeated("--key", "FILE", "file of public SSH keys that may log in", type=verb.path),
    Option("--hostname", "host name of the guest (default: made from NAME)", "H"),
    repeated("--dns", "ADDRESS", "name server of the guest, besides those that DHCP tells"),
    repeated("--meta", "KEY=VALUE", "metadata of any kind"),
    switch(
        "--config-drive",
        "whether the guest has a config drive, with its host name, SSH keys and other data"
        " (default: if the guest has an image or data)",
    ),
)

_WAITING = (
    Option("--wait", "return when the serial console has shown TEXT", "TEXT", verb.words),
    Option(
        "--timeout",
        f"seconds to wait for TEXT (default: {verb.CONSOLE_SECONDS:g})",
        "SECONDS",
        verb.seconds,
    ),
)

#: All options of ``spawn``, by the titles of their groups.
GROUPS = {
    "boot source": _IMAGE,
    "machine": _MACHINE,
    "devices": _DEVICES,
    "data for the guest": _DATA,
    "waiting": _WAITING,
}

#: The options that set a field of the hardware.
HARDWARE = tuple(option for option in (*_IMAGE, *_MACHINE, *_DEVICES) if option.field)
