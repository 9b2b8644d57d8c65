# SPDX-License-Identifier: Apache-2.0
"""Entry of ``compute-driver``: one line for each error, and the exit status."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import NoReturn

from compute_driver import exceptions
from compute_driver.cmd import errors, streams, surroundings

BROKEN_PIPE = 141

#: Seconds that a command may take to clean up after a signal.
UNWIND_SECONDS = 15.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    :param argv: the words of the command line; None means the arguments of this process.
    :return: exit status: 0 done, 1 refused or failed, 2 bad usage or configuration, 3 done without
        complete output.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in words
    streams.prepare()
    surroundings.prepare()
    status = 0
    try:
        status = _run(words, debug)
        if not sys.stdout.closed:  # cliff's pager closes stdout when its user leaves
            sys.stdout.flush()
    except BrokenPipeError:
        streams.discard_results()
        return status or BROKEN_PIPE
    except errors.OutputError as error:
        streams.discard_results()
        return status or _report(error, debug)
    return status


def _run(words: list[str], debug: bool) -> int:
    """Run the verb, and report its error.

    :return: the exit status.
    :raises BrokenPipeError: if the reader of the output has gone.
    :raises OutputError: if the output cannot be written for another reason.
    """
    with _leaving_at_once():
        from compute_driver.cmd import app  # slow to import
    try:
        with _unwinding_signals():
            return app.Application().run(words)
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except (BrokenPipeError, errors.OutputError):
        raise
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last resort
        return _report(error, debug)


def _report(error: Exception | KeyboardInterrupt, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    text, status = errors.outcome(error)
    print(f"compute-driver: {text}", file=sys.stderr, flush=True)  # noqa: T201
    return status


@contextlib.contextmanager
def _leaving_at_once() -> Iterator[None]:
    """Let Ctrl-C end the process silently while the verb has not begun.

    Python ignores an exception inside an import, or shows the exception as ignored.
    """
    before = signal.getsignal(signal.SIGINT)
    main_thread = threading.current_thread() is threading.main_thread()
    if not main_thread or before is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(errors.INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _unwinding_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise an exception as Ctrl-C does: the verb undoes its steps."""

    def leave(number: int, frame: object) -> NoReturn:
        raise exceptions.Interrupted(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # An ignored signal stays ignored, for example under nohup.
    numbers = (signal.SIGTERM, signal.SIGHUP)
    handled = [n for n in numbers if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, leave) for number in handled}
    done = threading.Event()
    arrived, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_insist, args=(arrived, done), name="signals", daemon=True).start()
    try:
        yield
    finally:
        done.set()
        signal.set_wakeup_fd(-1)
        waker.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _insist(arrived: socket.socket, done: threading.Event) -> None:
    """End the process if the verb does not end after a signal: Python waits for a call to libvirt.

    The journal notes the unfinished operation, and the next command recovers it.
    """
    with arrived:  # open to the end: Python complains if it cannot note a second signal
        number = arrived.recv(1)
        if number and not done.wait(UNWIND_SECONDS):
            os.write(2, b"compute-driver: ended, though libvirt or a guest does not answer\n")
            os._exit(128 + number[0])


if __name__ == "__main__":
    sys.exit(main())
