# SPDX-License-Identifier: Apache-2.0
"""The standard streams of the command: closed, full, slow, or in another encoding.

A command that has done its work cannot fail any more, whatever its output meets.  A closed stream
becomes ``/dev/null``, as in git: a file that is opened later must not get its number.  Only a
result that cannot be written is an error, of its own exit status.  Messages have no such error,
because nothing could tell it.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from compute_driver.cmd import errors

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}


def prepare() -> None:
    """Make the standard streams usable, unless other code has replaced the streams of Python."""
    for number, (name, mode) in enumerate(_MODES.items()):
        if getattr(sys, name) is None:
            _open_null(number)
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
    sys.stdout = _wrapped(sys.stdout, _Results)
    sys.stderr = _wrapped(sys.stderr, _Messages)


def discard_results() -> None:
    """Drop the output that is not written yet: the interpreter would try again at its end."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _open_null(number: int) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
    os.set_inheritable(number, True)


class _Writer(io.BufferedWriter):
    """A buffer that waits for a slow reader also where the file does not wait.

    The buffer drops no byte and writes none twice if a signal raises an exception; a class of raw
    files could not promise this.
    """

    def write(self, data: ReadableBuffer) -> int:
        """Write bytes, and return their number."""
        left = memoryview(data).cast("B")
        with self._failures():
            while left:
                try:
                    left = left[super().write(left) :]
                except BlockingIOError as error:
                    left = left[error.characters_written :]
                    self._wait()
        return memoryview(data).nbytes

    def flush(self) -> None:
        """Write all bytes to the file."""
        with self._failures():
            while True:
                try:
                    return super().flush()
                except BlockingIOError:
                    self._wait()

    def _wait(self) -> None:
        select.select([], [self], [])

    def _failures(self) -> contextlib.AbstractContextManager[None]:
        raise NotImplementedError


class _Results(_Writer):
    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            raise errors.OutputError(
                f"the command is done, but its output cannot be written: {error.strerror}"
            ) from error


class _Messages(_Writer):
    def _failures(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.suppress(OSError)


def _wrapped(stream: TextIO, kind: type[_Writer]) -> TextIO:
    """Return a stream to the same file; every character can be written."""
    try:
        file = io.FileIO(stream.fileno(), "w", closefd=False)
    except (OSError, ValueError):  # a test or another program has replaced the stream
        return stream
    stream.flush()
    return io.TextIOWrapper(
        kind(file),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream is sys.stderr or stream.isatty(),
    )
