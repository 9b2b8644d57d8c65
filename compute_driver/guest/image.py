# SPDX-License-Identifier: Apache-2.0
"""The sources of a guest's disks and of its boot."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence

from compute_driver.choices import DiskBus, DiskFormat, FileSystem
from compute_driver.guest.addresses import Address, StaticAddress, is_server
from compute_driver.guest.bounds import (
    MAX_DISK_BYTES,
    MAX_USER_DATA_BYTES,
    require,
    require_match,
    require_whole,
)

_SECRET = {"secret": True}

#: Checksum algorithms, with their numbers of hexadecimal digits.
_CHECKSUMS = {"sha256": 64, "sha512": 128, "sha1": 40, "md5": 32}
_CHECKSUM = re.compile("|".join(f"{name}:[0-9a-f]{{{n}}}" for name, n in _CHECKSUMS.items()))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Image:
    """The source of a disk, kernel or ramdisk.

    :param location: a local path, or a URL whose scheme an image source serves.
    :param checksum: ``ALGORITHM:HEX`` of the bytes at the location; None means unknown.
    :param format: format of the image, checked against the bytes; None means unknown.
    """

    location: str
    checksum: str | None = None
    format: DiskFormat | None = None

    def __post_init__(self) -> None:
        sound = bool(self.location.strip()) and "\x00" not in self.location
        require(sound, "image", self.location, "a local path or a URL, without NUL characters")
        accepted = ", ".join(f"{name}:HEX of {n} digits" for name, n in _CHECKSUMS.items())
        require_match(_CHECKSUM, "checksum", self.checksum, f"{accepted}, in lower case")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Disk:
    """One disk of the guest.

    :param size_bytes: size that the guest sees; 0 on the root disk means the size of the image.
    :param bus: bus of the disk; None means the architecture's paravirtual default.
    :param filesystem: file system of an ephemeral disk; None means ext4.
    """

    size_bytes: int = 0
    bus: DiskBus | None = None
    filesystem: FileSystem | None = None

    def __post_init__(self) -> None:
        require_whole("disk", self.size_bytes, 0, MAX_DISK_BYTES, "bytes")
        require(self.size_bytes % 512 == 0, "disk", self.size_bytes, "a multiple of 512 bytes")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DirectBoot:
    """A kernel that QEMU loads itself, without the boot loader of the image.

    :param kernel: the kernel.
    :param ramdisk: the initial ramdisk; None means no ramdisk.
    :param cmdline: command line of the kernel.
    """

    kernel: Image
    ramdisk: Image | None = None
    cmdline: str = ""

    def __post_init__(self) -> None:
        sound = self.cmdline.isprintable() and len(self.cmdline) <= 2048
        require(sound, "cmdline", self.cmdline, "at most 2048 printable characters")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConfigDrive:
    """The content of a config drive, in OpenStack's ``config-2`` layout.

    :param hostname: host name for the guest.
    :param user_data: opaque bytes for cloud-init or similar programs, at most 65535.
    :param public_keys: SSH keys by name.
    :param meta: free key-value pairs.
    :param admin_password: initial password of the administrator.
    :param addresses: static addresses of network interfaces, by MAC address; other interfaces ask
        DHCP.
    :param name_servers: addresses of name servers, besides those that DHCP tells.
    :param files: complete content of the drive, by path, which replaces the other fields.
    """

    hostname: str
    user_data: bytes | None = dataclasses.field(default=None, metadata=_SECRET, repr=False)
    public_keys: Mapping[str, str] = dataclasses.field(
        default_factory=dict, metadata=_SECRET, repr=False
    )
    meta: Mapping[str, str] = dataclasses.field(default_factory=dict, metadata=_SECRET, repr=False)
    admin_password: str | None = dataclasses.field(default=None, metadata=_SECRET, repr=False)
    addresses: Mapping[str, tuple[StaticAddress, ...]] = dataclasses.field(default_factory=dict)
    name_servers: Sequence[str] = dataclasses.field(default=(), metadata=_SECRET, repr=False)
    files: Mapping[str, bytes] = dataclasses.field(
        default_factory=dict, metadata=_SECRET, repr=False
    )

    def __post_init__(self) -> None:
        size, accepted = len(self.user_data or b""), f"at most {MAX_USER_DATA_BYTES} bytes"
        require(size <= MAX_USER_DATA_BYTES, "user_data", f"{size} bytes", accepted)
        for server in self.name_servers:
            accepted = "an IPv4 or IPv6 address of one host, such as 192.0.2.53"
            require(is_server(server), "name server", server, accepted)
        seen: set[Address] = set()
        for address in itertools.chain.from_iterable(self.addresses.values()):
            accepted = "another address for each interface"
            require(address.ip not in seen, "nic address", address.address, accepted)
            seen.add(address.ip)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rescue:
    """A rescue system, which boots temporarily with the guest's disks attached.

    :param image: a disk or an ISO 9660 image.
    :param boot: kernel to start instead of the image's boot loader.
    :param config_drive: config drive of the rescue system; None means the guest's config drive.
    :param last: whether the rescue disk comes after the guest's disks, which then keep their
        places; otherwise the rescue disk comes first, and its config drive is on the same bus.
    :param bus: bus of the rescue disk; None means the root disk's bus, or the machine's bus for a
        CD-ROM.  A machine that has SATA and no IDE gives SATA for IDE; ``fdc`` is a floppy drive.
    :param cdrom: whether the image is in a CD-ROM drive; None means yes for an ISO 9660 image.
    """

    image: Image
    boot: DirectBoot | None = None
    config_drive: ConfigDrive | None = None
    last: bool = False
    bus: DiskBus | None = None
    cdrom: bool | None = None

    def __post_init__(self) -> None:
        floppy = self.bus is DiskBus.FDC
        require(not (floppy and self.cdrom), "rescue bus", str(self.bus), "a bus of CD-ROM drives")

    @property
    def in_drive(self) -> bool:
        """Whether the image is in a CD-ROM drive; needs the format of the image."""
        return self.image.format is DiskFormat.ISO if self.cdrom is None else self.cdrom
