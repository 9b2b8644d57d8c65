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
from typing import Any
from urllib.parse import urlsplit

from compute_driver import exceptions
from compute_driver.choices import DiskFormat
from compute_driver.guest import MAX_DISK_BYTES

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
    (0, b"QED\x00", "qed"),
    (0, b"KDMV", "vmdk"),
    (0, b"COWD", "vmdk"),
    (0, b"# Disk DescriptorFile", "vmdk"),
    (0, b"conectix", "vhd"),
    (0, b"vhdxfile", "vhdx"),
    (0, b"LUKS\xba\xbe", "luks"),
    (0x40, b"\x7f\x10\xda\xbe", "vdi"),
)

#: Offsets and magic numbers of files that are no disk, or contain a disk in another form.
_PACKED = (
    (0, b"\xfd7zXZ\x00", "compressed by xz"),
    (0, b"\x1f\x8b", "compressed by gzip"),
    (0, b"BZh", "compressed by bzip2"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (257, b"ustar", "a tar archive, such as an OVA"),
    (0, b"WithoutFreeSpace", "a disk of Parallels"),
    (0, b"WithouFreSpacExt", "a disk of Parallels"),
)
_HTML = (b"<!doctype html", b"<html")

#: The beginning of the footer of a VHD of fixed size, whose disk begins at byte 0 (Microsoft,
#: "Virtual Hard Disk Image Format Specification").
_VHD_FOOTER = b"conectix"

_INSIST = "give the format raw to use the bytes as a disk all the same (--image-format raw)"

_CHUNK = 64 * 1024
_SECTOR = 512

# QEMU's docs/interop/qcow2.txt, "Header"
_QCOW2_HEADER = struct.Struct(">4sIQIIQIIQQI")
_QCOW2_FEATURES = 72
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
    path: Path, *, claimed: DiskFormat | None = None, name: str | None = None
) -> ImageDetails:
    """Return the format and the size of an image.

    :param path: a regular file.
    :param claimed: the format that the user states; None if the user states no format.
    :param name: the name of the image in errors; None means its path.
    :raises ImageUnacceptable: if the image is empty, damaged, of an unsupported format or of
        another format than *claimed*, names other files, or is larger than any disk.
    """
    try:
        return _inspect(path, claimed, name or str(path))
    except _Refusal as refusal:
        raise exceptions.ImageUnacceptable(f"image {name or path} {refusal}") from refusal


class _Refusal(Exception):
    """The reason for refusing an image: a sentence whose subject is the image."""


def _inspect(path: Path, claimed: DiskFormat | None, name: str) -> ImageDetails:
    size = path.stat().st_size
    if not size:
        raise _Refusal("is empty")
    inspector = _recognise(path)
    found = _FORMATS.get(str(inspector))
    if found is None:
        raise _Refusal(f"is of format {inspector}; accepted: {', '.join(sorted(DiskFormat))}")
    if claimed not in (None, found):
        raise _Refusal(f"is said to be {claimed}, but is {found}")
    if found is DiskFormat.RAW and claimed is None:
        _refuse_other_files(path, size, name)
    virtual_size = size if found in _PLAIN else inspector.virtual_size
    if not 0 < virtual_size <= MAX_DISK_BYTES:
        raise _Refusal(
            f"is a disk of {virtual_size} bytes by its header; accepted: 1 to {MAX_DISK_BYTES}"
        )
    if found is DiskFormat.QCOW2:
        _check_qcow2(path, size)
    return ImageDetails(format=found, virtual_size=-(-virtual_size // _SECTOR) * _SECTOR)


def _recognise(path: Path) -> Any:
    """Return the inspector that recognises the file, after its safety check."""
    inspectors = _run_inspectors(path)
    if set(inspectors) == {"iso", "gpt"}:  # an ISO 9660 image that also boots from a USB stick
        return inspectors["iso"]
    if len(inspectors) > 1:
        raise _Refusal(f"is {' and '.join(sorted(inspectors))} at once")
    [(name, inspector)] = inspectors.items()
    if name == "raw":
        _refuse_remains(path)
    elif name in _FORMATS and name != "gpt":
        try:
            inspector.safety_check()
        except Exception as error:
            kind = _KINDS.get(name, "whole images")
            raise _Refusal(f"is {name}, but: {_why(error)}; accepted: {kind}") from error
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
            raise _Refusal(f"is damaged: no parser understands it ({error})") from error


def _why(error: Exception) -> str:
    failures = getattr(error, "failures", {})
    return "; ".join(str(failure) for failure in failures.values()) or str(error)


def _refuse_remains(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(_SECTOR)
    for name in _marks(head, _MAGICS):
        raise _Refusal(f"is damaged: it begins like {name}, but its header is incomplete")


def _marks(head: bytes, table: Iterable[tuple[int, bytes, str]]) -> list[str]:
    """Return the names in a table whose bytes are in the head of a file."""
    return [name for offset, magic, name in table if head.startswith(magic, offset)]


def _refuse_other_files(path: Path, size: int, name: str) -> None:
    """Refuse files that are no raw disk, although no parser recognises them.

    :param size: size of the file, in bytes.
    :param name: name of the image; its suffix may promise a format.
    """
    with path.open("rb") as file:
        head = file.read(_SECTOR)
        file.seek(max(0, size - _SECTOR))
        foot = file.read(len(_VHD_FOOTER))
    kinds = _marks(head, _PACKED)
    if head.lstrip().lower().startswith(_HTML):
        kinds.append("a page of HTML")
    if foot == _VHD_FOOTER:
        kinds.append("a VHD of fixed size, which 'qemu-img convert -f vpc -O qcow2' converts")
    if kinds:
        raise _Refusal(f"is {kinds[0]}; accepted: {', '.join(sorted(DiskFormat))}; or {_INSIST}")
    suffix = PurePosixPath(urlsplit(name).path).suffix.lower().removeprefix(".")
    if suffix in _NAMED:
        raise _Refusal(f"is no {suffix} in spite of its name, or its header is damaged; {_INSIST}")


def _check_qcow2(path: Path, size: int) -> None:
    """Check that the file has all tables that the header names, which the inspector does not do."""
    with path.open("rb") as file:
        fields = _QCOW2_HEADER.unpack(file.read(_QCOW2_HEADER.size))
        file.seek(_QCOW2_FEATURES)
        (features,) = struct.unpack(">Q", file.read(8))
    _, version, _, _, cluster_bits, virtual_size, encrypted, l1_entries, l1, refs, clusters = fields
    if encrypted:
        raise _Refusal("is encrypted; accepted: qcow2 without encryption")
    if version >= 3 and features & _QCOW2_CORRUPT:
        raise _Refusal("is damaged: its header marks it as corrupt")
    if not 9 <= cluster_bits <= 21:
        raise _Refusal(f"is damaged: its header states clusters of 2**{cluster_bits} bytes")
    # An L1 entry names an L2 table of one cluster, with 8 bytes for each cluster of the disk.
    per_entry = 1 << (2 * cluster_bits - 3)
    whole = l1 + l1_entries * 8 <= size and refs + (clusters << cluster_bits) <= size
    if not whole or l1_entries < -(-virtual_size // per_entry):
        raise _Refusal("is damaged: its tables are incomplete")
