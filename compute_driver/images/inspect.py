# SPDX-License-Identifier: Apache-2.0
"""Tells the format of an image by its bytes, in this process, and refuses unsafe images.

The parsers come from oslo.utils (``imageutils.format_inspector``).  They exist because of images
that name other files of the host as backing or data files (CVE-2024-32498, CVE-2022-47951).  No
label is trusted.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar
from urllib.parse import urlsplit

from compute_driver import exceptions
from compute_driver.choices import DiskFormat
from compute_driver.guest import MAX_DISK_BYTES
from compute_driver.images import vhd

M = TypeVar("M")

#: Formats by the names of the parsers.  Partitions of a raw disk are the guest's business.
_FORMATS = {
    "qcow2": DiskFormat.QCOW2,
    "vmdk": DiskFormat.VMDK,
    "vdi": DiskFormat.VDI,
    "vhd": DiskFormat.VHD,
    "vhdx": DiskFormat.VHDX,
    "iso": DiskFormat.ISO,
    "gpt": DiskFormat.RAW,
    "raw": DiskFormat.RAW,
}

#: The accepted variants of formats with several variants.
_KINDS = {
    "qcow2": "version 2 or 3 without backing file, data file and extended L2 entries",
    "vmdk": "monolithicSparse or streamOptimized",
}

#: Formats that a suffix of a name can promise.
_NAMED = {*_FORMATS.values()} - {DiskFormat.RAW}

#: Formats whose disk is as large as the file.
_PLAIN = (DiskFormat.RAW, DiskFormat.ISO)

#: Offsets and magic numbers of formats.  A file with one that no parser recognises is damaged.
_MAGICS = (
    (0, b"QFI\xfb", "qcow2"),
    (0, b"KDMV", "vmdk"),
    (0, vhd.COOKIE, "vhd"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"LUKS\xba\xbe", "luks"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
)

#: Offsets and magic numbers of foreign formats, and the names of QEMU's drivers for them.
_FOREIGN = (
    (0, b"QFI\xfb\x00\x00\x00\x01", ("qcow of version 1", "qcow")),
    (0, b"QED\x00", ("qed", "qed")),
    (0, b"COWD", ("a VMDK of ESX", "vmdk")),
)

#: The beginning of a VMDK of createType monolithicFlat, for example.  QEMU opens the named files.
_VMDK_DESCRIPTION = b"# Disk DescriptorFile"

#: The field of a VMDK for the backing file, which QEMU searches anywhere in the description.
_VMDK_PARENT = "parentfilenamehint"

#: Offsets and magic numbers of files that are no disk, or contain a disk in another form.
_PACKED = (
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"LZIP", "compressed by lzip"),
    (0, b"\x04\x22\x4d\x18", "compressed by lz4"),
    (0, b"070701", "a cpio archive"),
    (0, b"!<arch>\n", "an ar archive, such as a Debian package"),
    (0, b"VMA\x00", "a backup of Proxmox"),
    (0, b"version https://git-lfs", "a pointer of Git LFS in place of a file"),
    (0, b"d8:announce", "a torrent"),
    (0, b"MSWIM\x00\x00\x00", "an image of Windows Imaging"),
    (0, b"WithoutFreeSpace", "a disk of Parallels, which 'qemu-img convert -f parallels' reads"),
    (0, b"WithouFreSpacExt", "a disk of Parallels, which 'qemu-img convert -f parallels' reads"),
)

#: The end of a disk image of macOS.
_DMG = b"koly"

#: Suffixes, besides formats, that promise a file that is no raw disk.
_PROMISES = frozenset(
    {
        *("gz", "tgz", "bz2", "tbz", "tbz2", "xz", "txz", "zst", "zstd", "tzst", "lz4", "lz"),
        *("ova", "ovf", "tar", "zip", "7z", "rar", "qcow", "qed", "dmg", "hdd", "wim", "html"),
    }
)

#: Beginnings of documents, in lower case; a byte order mark may precede.
_DOCUMENTS = (b"<!doctype", b"<html", b"<head", b"<script", b"<!--", b"<?xml", b'{"')
#: A file that servers and proxies send in place of an image.
DOCUMENT = "a page of HTML, XML or JSON, such as the sign-in page of a server"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

#: Bytes that no text contains: control characters, and those that UTF-8 does not have.
_BINARY = bytes({*range(32), 127, 0xC0, 0xC1, *range(0xF5, 0x100)} - {*b"\t\n\v\f\r\x1b"})

_INSIST = "give the format raw to use the bytes as a disk all the same (--image-format raw)"

_CHUNK = 64 * 1024
_SECTOR = 512

# QEMU's docs/interop/qcow2.txt, "Header"
_QCOW2_MAGIC = b"QFI\xfb"
_QCOW2_HEADER = struct.Struct(">4sIQIIQIIQQI")
_QCOW2_FEATURES = 72
_QCOW2_DIRTY = 1 << 0
_QCOW2_CORRUPT = 1 << 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageDetails:
    """Format and size of an image.

    :param format: the format by the bytes of the image.
    :param virtual_size: size of the disk that a guest sees, in bytes, a multiple of 512.
    """

    format: DiskFormat
    virtual_size: int


def inspect(
    path: Path,
    *,
    claimed: DiskFormat | None = None,
    name: str | None = None,
    inner: str | None = None,
) -> ImageDetails:
    """Return the format and the size of an image.

    :param path: a regular file.
    :param claimed: the format that the user states; None if the user states no format.
    :param name: the name of the image in errors; None means its path.
    :param inner: the name of the file in a packed image; None means the image is not packed.
    :raises ImageUnacceptable: if the image is empty, damaged, of an unsupported format or of
        another format than *claimed*, names other files, or is larger than any disk.
    """
    name = name or str(path)
    try:
        return _inspect(path, claimed, inner or name)
    except Refusal as refusal:
        raise refused(name, inner, refusal) from refusal


class Refusal(Exception):
    """The reason for refusing an image: a sentence whose subject is the image."""


def refused(name: str, inner: str | None, refusal: Refusal) -> exceptions.ImageUnacceptable:
    """Return the error for a refusal; the parameters are those of :func:`inspect`."""
    inside = "" if inner is None else f", file {inner},"
    return exceptions.ImageUnacceptable(f"image {name}{inside} {refusal}")


def is_document(path: Path) -> bool:
    """Tell whether a file is :data:`DOCUMENT`."""
    with path.open("rb") as file:
        return _begins_document(file.read(_SECTOR))


def is_dirty(path: Path) -> bool:
    """Tell whether the reference counts of a qcow2 image wait for their repair after a crash."""
    with path.open("rb") as file:
        head = file.read(_QCOW2_FEATURES + 8)
    (version,) = struct.unpack_from(">I", head, len(_QCOW2_MAGIC))
    (features,) = struct.unpack_from(">Q", head.ljust(_QCOW2_FEATURES + 8), _QCOW2_FEATURES)
    return bool(version >= 3 and features & _QCOW2_DIRTY)


def _inspect(path: Path, claimed: DiskFormat | None, name: str) -> ImageDetails:
    size = path.stat().st_size
    if not size:
        raise Refusal("is empty")
    with path.open("rb") as file:
        head = file.read(_SECTOR)
        file.seek(max(0, size - _SECTOR))
        foot = file.read(_SECTOR)
    _refuse_foreign(head)
    inspector = _recognise(path, head)
    found = _FORMATS.get(str(inspector))
    if found is None:
        raise Refusal(f"is of format {inspector}; accepted: {', '.join(sorted(DiskFormat))}")
    virtual_size = size if found in _PLAIN else inspector.virtual_size
    footer = None
    if found is DiskFormat.RAW and claimed is not DiskFormat.RAW:
        _refuse_packed(head, foot)
        footer = vhd.read_footer(foot)
    if found is DiskFormat.VHD:
        footer = vhd.read_footer(head)
        if footer is None:
            raise Refusal("is damaged: its VHD header has a wrong checksum")
    if footer is not None:
        found, virtual_size = DiskFormat.VHD, _vhd_size(footer, size)
    if claimed not in (None, found):
        insist = f"; {_INSIST}" if found is DiskFormat.RAW else ""
        raise Refusal(f"is said to be {claimed}, but is {found}{insist}")
    if found is DiskFormat.RAW and claimed is None:
        _refuse_name(name)
    if not 0 < virtual_size <= MAX_DISK_BYTES:
        raise Refusal(
            f"is a disk of {virtual_size} bytes by its header; accepted: 1 to {MAX_DISK_BYTES}"
        )
    if found is DiskFormat.QCOW2:
        _check_qcow2(path, size)
    return ImageDetails(format=found, virtual_size=-(-virtual_size // _SECTOR) * _SECTOR)


def _refuse_foreign(head: bytes) -> None:
    """Refuse the formats that QEMU knows and this driver does not accept."""
    for name, driver in _marks(head, _FOREIGN):
        raise Refusal(
            f"is {name}; accepted: {', '.join(sorted(DiskFormat))}; "
            f"'qemu-img convert -f {driver} -O qcow2' converts the image"
        )
    if head.startswith(_VMDK_DESCRIPTION):
        raise Refusal(
            "is a VMDK that only describes other files, such as a flat VMDK; accepted: "
            f"{_KINDS['vmdk']}; beside the other files, 'qemu-img convert -f vmdk -O qcow2' makes "
            "one file of all files, if you trust them"
        )


def _vhd_size(footer: vhd.Footer, size: int) -> int:
    if footer.kind is vhd.Kind.DIFFERENCING:
        raise Refusal("is a VHD that is based on another VHD; accepted: whole images")
    if footer.kind is vhd.Kind.FIXED and footer.size + vhd.FOOTER_BYTES > size:
        raise Refusal(f"is damaged: a VHD of {footer.size} bytes by its footer is longer")
    return footer.size


def _recognise(path: Path, head: bytes) -> Any:
    """Return the inspector that recognises the file, after its safety check."""
    inspectors = _run_inspectors(path)
    if set(inspectors) == {"iso", "gpt"}:  # an ISO 9660 image that also boots from a USB stick
        return inspectors["iso"]
    if len(inspectors) > 1:
        raise Refusal(f"is {' and '.join(sorted(inspectors))} at once")
    [(name, inspector)] = inspectors.items()
    if name == "raw":
        _refuse_remains(head)
    elif name in _FORMATS and name != "gpt":
        try:
            inspector.safety_check()
        except Exception as error:
            kind = _KINDS.get(name, "whole images")
            raise Refusal(f"is {name}, but: {_why(error)}; accepted: {kind}") from error
    if name == "vmdk" and _VMDK_PARENT in inspector.desc_text.lower():
        raise Refusal(f"is a VMDK that is based on another file; accepted: {_KINDS['vmdk']}")
    return inspector


def _run_inspectors(path: Path) -> dict[str, Any]:
    # This import takes 0.1 s, and a hit in the cache does not need it.
    from oslo_utils.imageutils import format_inspector

    with path.open("rb") as file:
        wrapper = format_inspector.InspectWrapper(file)
        try:
            while wrapper.formats is None and wrapper.read(_CHUNK):
                pass
            wrapper.close()
            return {str(inspector): inspector for inspector in wrapper.formats or ()}
        except OSError:
            raise
        except Exception as error:  # hostile bytes may make a parser fail in any way
            raise Refusal(f"is damaged: no parser understands it ({error})") from error


def _why(error: Exception) -> str:
    failures = getattr(error, "failures", {})
    return "; ".join(str(failure) for failure in failures.values()) or str(error)


def _refuse_remains(head: bytes) -> None:
    for name in _marks(head, _MAGICS):
        raise Refusal(f"is damaged: it begins like {name}, but its header is incomplete")


def _marks(head: bytes, table: Iterable[tuple[int, bytes, M]]) -> list[M]:
    """Return the names in a table whose bytes are in the head of a file."""
    return [name for offset, magic, name in table if head.startswith(magic, offset)]


def _refuse_packed(head: bytes, foot: bytes) -> None:
    """Refuse files that are no raw disk, although no parser recognises them."""
    kinds = _marks(head, _PACKED)
    if _begins_document(head):
        kinds.append(DOCUMENT)
    elif (head + foot).translate(None, _BINARY) == head + foot:
        kinds.append("a text")
    if foot.startswith(_DMG):
        kinds.append("a disk image of macOS, which 'qemu-img convert -f dmg' reads")
    if kinds:
        raise Refusal(f"is {kinds[0]}; accepted: {', '.join(sorted(DiskFormat))}; or {_INSIST}")


def _begins_document(head: bytes) -> bool:
    return head.removeprefix(_BYTE_ORDER_MARK).lstrip().lower().startswith(_DOCUMENTS)


def _refuse_name(name: str) -> None:
    """Refuse a file whose name promises another format than raw."""
    suffix = PurePosixPath(urlsplit(name).path).suffix.lower().removeprefix(".")
    if suffix in _NAMED or suffix in _PROMISES:
        raise Refusal(f"is no {suffix} in spite of its name, or its header is damaged; {_INSIST}")


def _check_qcow2(path: Path, size: int) -> None:
    """Check that the file has all tables that the header names, which the inspector does not do."""
    with path.open("rb") as file:
        fields = _QCOW2_HEADER.unpack(file.read(_QCOW2_HEADER.size))
        file.seek(_QCOW2_FEATURES)
        (features,) = struct.unpack(">Q", file.read(8))
    _, version, _, _, cluster_bits, virtual_size, encrypted, l1_entries, l1, refs, clusters = fields
    if encrypted:
        raise Refusal("is encrypted; accepted: qcow2 without encryption")
    if version >= 3 and features & _QCOW2_CORRUPT:
        remedy = "'qemu-img check -r all' may repair the image"
        raise Refusal(f"is damaged: its header marks it as corrupt; {remedy}")
    if not 9 <= cluster_bits <= 21:
        raise Refusal(f"is damaged: its header states clusters of 2**{cluster_bits} bytes")
    # An L1 entry names an L2 table of one cluster, with 8 bytes for each cluster of the disk.
    per_entry = 1 << (2 * cluster_bits - 3)
    whole = l1 + l1_entries * 8 <= size and refs + (clusters << cluster_bits) <= size
    if not whole or l1_entries < -(-virtual_size // per_entry):
        raise Refusal("is damaged: its tables are incomplete")
