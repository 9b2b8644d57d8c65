# SPDX-License-Identifier: Apache-2.0
"""Takes an image out of its compression and its archive."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from compute_driver.driver import Progress
from compute_driver.images import archive, compression
from compute_driver.images.inspect import Refusal, refused
from compute_driver.images.pieces import Piece, pour
from compute_driver.system import tools
from compute_driver.system.concurrency import run_blocking

#: Layers around an image at most: an OVA with a compressed disk, compressed once more, has three.
_LAYERS = 3


def unpack(
    path: Path, name: str, progress: Progress, limits: tools.ToolLimits
) -> tuple[Path, str | None]:
    """Return the file of an image without its compression and its archive.

    :param path: the file as published; it is removed once it is unpacked.
    :param name: the name of the image in errors.
    :param progress: called while bytes are unpacked.
    :param limits: limits of processor time and memory, for each layer.
    :return: the file, beside *path*, and its own name; *path* and None if the image is not packed.
    :raises ImageUnacceptable: if a layer is damaged, or an archive has not exactly one disk.
    :raises NotEnoughSpace: if the file system is full but for a reserve.
    :raises LimitPassed: if unpacking takes more processor time or memory.
    """
    inner = None
    try:
        for layer in range(_LAYERS + 1):
            with path.open("rb") as file:
                found = run_blocking(_open, file, inner or name, limits)
                if found is None:
                    return path, inner
                if layer == _LAYERS:
                    raise Refusal(f"is packed more than {_LAYERS} times")
                contents, inside = found
                target = path.with_name(f"{path.name}.{layer}")
                size = path.stat().st_size
                for _ in pour(contents, target, limits):
                    progress(f"unpacking {PurePosixPath(name).name}", file.tell(), size)
            path.unlink()
            path, inner = target, inside
    except Refusal as refusal:
        raise refused(name, inner, refusal) from refusal
    raise AssertionError  # the last layer returns or raises


def _open(
    file: IO[bytes], name: str, limits: tools.ToolLimits
) -> tuple[Iterator[Piece], str] | None:
    """Return the content of a packed file and its name; None if the file is not packed."""
    head = file.read(archive.HEAD_BYTES)
    file.seek(0)
    kind = compression.recognise(head)
    if kind is not None:
        path = PurePosixPath(name)
        suffix = kind.suffixes.get(path.suffix.lower())
        inner = path.name if suffix is None else path.stem + suffix
        return compression.decompress(file, kind, limits), inner
    if archive.is_archive(head):
        member = archive.find_disk(file)
        return archive.pieces(file, member), member.name
    return None
