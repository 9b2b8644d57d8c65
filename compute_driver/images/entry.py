# SPDX-License-Identifier: Apache-2.0
"""One image of the cache: its files, its last use, and the locks that keep it.

:mod:`compute_driver.images.cache` describes the files.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from compute_driver.choices import DiskFormat
from compute_driver.images.inspect import ImageDetails
from compute_driver.info import CacheEntry
from compute_driver.system import concurrency, files, steps
from compute_driver.system.concurrency import run_blocking

#: The shared locks of :func:`holding`, and the guest.
_holds: contextvars.ContextVar[tuple[contextlib.ExitStack, str] | None] = contextvars.ContextVar(
    "holds", default=None
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CachedImage:
    """An image that is ready for use and never changes.

    :param path: the file, absolute; any user who knows the path can read the file.
    :param format: ``qcow2``, ``raw`` or ``iso``.
    :param virtual_size: size of the disk that a guest sees, in bytes.
    """

    path: Path
    format: DiskFormat
    virtual_size: int


@contextlib.contextmanager
def holding(guest: str) -> Iterator[None]:
    """Protect all images that this thread asks for meanwhile, for a guest, from removal."""
    with contextlib.ExitStack() as stack:
        token = _holds.set((stack, guest))
        try:
            yield
        finally:
            _holds.reset(token)


def holder() -> str | None:
    """Return the guest of the innermost :func:`holding` of this thread."""
    held = _holds.get()
    return None if held is None else held[1]


class Entry:
    """The files of one KEY; all methods except :meth:`read` need the lock of the KEY."""

    def __init__(self, directory: Path, key: str) -> None:
        self.path = directory / key
        self.note = directory / f"{key}.json"
        self.part = directory / "tmp" / f"{key}.part"
        self.converted = directory / "tmp" / f"{key}.qcow2"
        self.lock = directory / "locks" / key

    def read(self) -> CachedImage | None:
        """Return the image if the cache has it complete."""
        try:
            note = json.loads(self.note.read_bytes())
            if self.path.stat().st_size != note["bytes"]:
                return None
            return CachedImage(
                path=self.path,
                format=DiskFormat(note["format"]),
                virtual_size=note["virtual_size"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def publish(self, path: Path, details: ImageDetails, source: str) -> CachedImage:
        """Move a complete file to its place.

        :param source: the location of the image, without credentials.
        """
        note = dataclasses.asdict(details) | {"bytes": path.stat().st_size, "source": source}
        draft = self.part.with_name(self.note.name)
        draft.write_text(json.dumps(note))
        for file in (path, draft):
            file.chmod(0o644)
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        path.replace(self.path)
        draft.replace(self.note)
        return CachedImage(path=self.path, **dataclasses.asdict(details))

    def describe(self) -> CacheEntry | None:
        """Return the image's row of the table of images; None if the image is gone."""
        found = self.read()
        if found is None:
            return None
        try:
            source = str(json.loads(self.note.read_bytes()).get("source", ""))
            used_at, size = self.note.stat().st_mtime, files.allocated_by(self.path.stat())
        except (OSError, ValueError):
            return None
        return CacheEntry(
            source=source,
            path=str(self.path),
            format=found.format,
            size_bytes=size,
            used_at=used_at,
        )

    def hold(self) -> bool:
        """Note a use of the image, and protect the image; tell whether the cache still has it.

        The protection ends with the innermost :func:`holding` of this thread.
        """
        held = _holds.get()
        if held is None:
            return self.touch()
        return self._lock(held[0], os.O_RDONLY, fcntl.LOCK_SH, wait=True) and self.touch()

    def lock_alone(self, stack: contextlib.ExitStack) -> bool:
        """Lock the image until *stack* ends; tell whether no other process had a lock."""
        # On NFS an exclusive lock needs a file that is open for writing.
        return self._lock(stack, os.O_RDWR, fcntl.LOCK_EX, wait=False)

    def _lock(self, stack: contextlib.ExitStack, mode: int, kind: int, *, wait: bool) -> bool:
        try:
            descriptor = os.open(self.note, mode | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            try:
                run_blocking(fcntl.flock, descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    raise
                # At most one thread of a process waits here: a process that prunes has locked many
                # images, and may need a thread of eventlet's pool to end.
                with concurrency.within_process(str(self.path.parent)):
                    run_blocking(fcntl.flock, descriptor, kind)
            held = os.path.samestat(os.fstat(descriptor), os.stat(self.note))
        except (BlockingIOError, FileNotFoundError):
            held = False
        except BaseException:
            os.close(descriptor)
            raise
        if held:
            stack.callback(os.close, descriptor)
        else:
            os.close(descriptor)
        return held

    def touch(self) -> bool:
        """Note a use of the image; tell whether the cache has it."""
        try:
            os.utime(self.note)
        except FileNotFoundError:
            return False
        except PermissionError:  # only the owner of a cache prunes it
            return True
        return True

    def is_linked(self) -> bool:
        """Tell whether a guest has a second name of the file."""
        return self.path.stat().st_nlink > 1

    def remove(self) -> None:
        """Remove the image, the note first: without its note a file is no image."""
        steps.announce("image chosen")
        self.forget()
        steps.announce("image forgotten")
        self.path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove the note."""
        self.note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the temporary files."""
        for path in self._temporary():
            path.unlink(missing_ok=True)

    def remains(self) -> list[Path]:
        """Return the files that only a later fetch can use."""
        broken = [] if self.read() else [self.path, self.note]
        return [path for path in broken if path.exists()] + self._temporary()

    def _temporary(self) -> list[Path]:
        return sorted(self.part.parent.glob(f"{self.path.name}.*"))
