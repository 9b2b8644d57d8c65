# SPDX-License-Identifier: Apache-2.0
"""The disk in a tar archive: an OVA, or an archive of one disk.

An OVA is a tar archive with a description, the OVF (DMTF DSP0243, "OVF Package").  Other archives
hold one file, such as ``disk.raw`` of Google's images and of Debian's.  No file of an archive is
ever extracted under its own name.
"""

from __future__ import annotations

import dataclasses
import io
import tarfile
import urllib.parse
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO

from lxml import etree

from compute_driver.guest import MAX_DISK_BYTES, MIB
from compute_driver.images.inspect import Refusal
from compute_driver.images.pieces import PIECE, Piece

#: Bytes of an archive that the recognition needs: one block.
HEAD_BYTES = tarfile.BLOCKSIZE

#: Bytes of headers and descriptions at most; some headers are as long as an archive says.
_HEADER_BYTES = 16 * MIB
_OVF_BYTES = 4 * MIB

#: Suffixes of files that are no disks: description, checksums, certificate, messages, firmware.
_OVF = ".ovf"
_BESIDE = frozenset({_OVF, ".mf", ".cert", ".msg", ".xml", ".nvram"})

#: Files in errors at most.
_SHOWN = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Member:
    """A regular file of an archive.

    :param name: its path.
    :param size: its size in bytes, with holes.
    :param start: the position of its first byte of data in the archive.
    :param extents: positions and lengths of its data; the rest is holes.
    """

    name: str
    size: int
    start: int
    extents: tuple[tuple[int, int], ...]


class _Headers(io.RawIOBase):
    """The archive for tarfile, which may read a limited number of bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._left = _HEADER_BYTES

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self._left:
            raise Refusal(f"is a tar archive with more than {_HEADER_BYTES} bytes of headers")
        self._left -= size
        return self._file.read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def is_archive(head: bytes) -> bool:
    """Tell by its first block whether a file is a tar archive: the block has its checksum."""
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return head[257:262] == b"ustar"
    return True


def find_disk(file: IO[bytes]) -> Member:
    """Return the disk in an archive.

    :param file: the archive.
    :raises Refusal: if the archive is damaged or unsafe, or has no disk or several disks.
    """
    members = _members(file)
    descriptions = [member for member in members.values() if _suffix(member) == _OVF]
    if len(descriptions) > 1:
        raise Refusal(f"is an archive with {len(descriptions)} OVF descriptions; accepted: 1")
    if descriptions:
        named = _named_disks(_content(file, descriptions[0]))
        if len(named) > 1:
            raise Refusal(f"is an OVA with {len(named)} disks; accepted: 1; {_remedy(named)}")
        if named and named[0] not in members:
            raise Refusal(f"is an OVA without the disk {named[0]!r} of its description")
        if named:
            return members[named[0]]
    others = [member for member in members.values() if _suffix(member) not in _BESIDE]
    if len(others) != 1:
        kind = "an OVA whose description names no disk" if descriptions else "a tar archive"
        if not others:
            raise Refusal(f"is {kind}, without a file that may be a disk; accepted: 1 disk")
        names = [member.name for member in others]
        raise Refusal(f"is {kind}, with {len(names)} files; accepted: 1 disk; {_remedy(names)}")
    return others[0]


def pieces(file: IO[bytes], member: Member) -> Iterator[Piece]:
    """Yield the content of a member of an archive."""
    file.seek(member.start)
    position = 0
    for offset, length in member.extents:
        if offset > position:
            yield offset - position
        position = offset + length
        while length:
            data = file.read(min(PIECE, length))
            if not data:
                raise Refusal("is a damaged tar archive: its end is missing")
            length -= len(data)
            yield data
    if member.size > position:
        yield member.size - position


def _members(file: IO[bytes]) -> dict[str, Member]:
    """Return the regular files of an archive by their paths; refuse anything else."""
    members: dict[str, Member] = {}
    try:
        with tarfile.open(fileobj=_Headers(file), mode="r:") as archive:
            for entry in archive:
                if entry.isdir():
                    continue
                _check_entry(entry)
                name = str(PurePosixPath(entry.name))
                if name in members:
                    raise Refusal(f"is a tar archive with two files {name!r}")
                members[name] = _member(name, entry)
    except Refusal:
        raise
    except Exception as error:  # hostile headers may make tarfile fail in any way
        raise Refusal(f"is a damaged tar archive ({error})") from error
    return members


def _check_entry(entry: tarfile.TarInfo) -> None:
    path = PurePosixPath(entry.name)
    if path.is_absolute() or ".." in path.parts:
        raise Refusal(f"is a tar archive with the unsafe path {entry.name!r}")
    if entry.issym() or entry.islnk():
        raise Refusal(f"is a tar archive with the link {entry.name!r}; accepted: regular files")
    if not entry.isreg():
        raise Refusal(f"is a tar archive with {entry.name!r}, which is no regular file")


def _member(name: str, entry: tarfile.TarInfo) -> Member:
    sparse: list[tuple[int, int]] | None = getattr(entry, "sparse", None)
    data = [(0, entry.size)] if sparse is None else sparse
    extents = tuple((offset, length) for offset, length in data if length)
    end = 0
    for offset, length in extents:
        if offset < end or length < 0:
            raise Refusal(f"is a damaged tar archive: the holes of {name!r} overlap")
        end = offset + length
    if not end <= entry.size <= MAX_DISK_BYTES:
        raise Refusal(f"is a damaged tar archive: {name!r} has {entry.size} bytes")
    return Member(name=name, size=entry.size, start=entry.offset_data, extents=extents)


def _content(file: IO[bytes], member: Member) -> bytes:
    if member.size > _OVF_BYTES:
        raise Refusal(f"is an OVA with a description of {member.size} bytes")
    return b"".join(
        bytes(piece) if isinstance(piece, int) else piece for piece in pieces(file, member)
    )


def _named_disks(ovf: bytes) -> list[str]:
    """Return the files of the disks in a description."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(ovf, parser)
    except etree.XMLSyntaxError as error:
        raise Refusal(f"is an OVA with a damaged description ({error})") from error
    files = {
        _attribute(element, "id"): element for element in root.iterfind("{*}References/{*}File")
    }
    names = []
    for disk in root.iterfind("{*}DiskSection/{*}Disk"):
        reference = _attribute(disk, "fileRef")
        if reference is None:  # an empty disk, which the image does not need
            continue
        if _attribute(disk, "parentRef") is not None:
            raise Refusal("is an OVA whose disk is based on another disk; accepted: whole disks")
        file = files.get(reference)
        name = None if file is None else _attribute(file, "href")
        if file is None or name is None:
            raise Refusal(f"is an OVA without the file {reference!r} of its disk")
        if _attribute(file, "chunkSize") is not None:
            raise Refusal(f"is an OVA whose disk {name!r} is in several parts; accepted: 1")
        names.append(str(PurePosixPath(urllib.parse.unquote(name))))
    return names


def _attribute(element: etree._Element, name: str) -> str | None:
    """Return an attribute, in the namespace of its element or in none."""
    namespace = etree.QName(element).namespace
    return element.get(f"{{{namespace}}}{name}", element.get(name))


def _suffix(member: Member) -> str:
    return PurePosixPath(member.name).suffix.lower()


def _remedy(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"unpack the archive and give one of its files ({shown})"
