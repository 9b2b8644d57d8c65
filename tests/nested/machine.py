# SPDX-License-Identifier: Apache-2.0
"""The test host as a process of QEMU's.

What it runs is its job, a shell script handed over by QEMU's fw_cfg. What the job writes comes out
of QEMU's standard output, by a serial line of its own; its exit status is QEMU's, by the device
isa-debug-exit. So a host that was cut short in any way is told from one whose job has ended.
"""

from __future__ import annotations

import io
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import tenacity

from tests.nested.image import HostImage

#: What the host says on the job's line, once it is up.
UP = b"up\n"

#: Seconds that the host may take until then: four on a quiet machine.
BOOT_SECONDS = 120.0
BOOT_ATTEMPTS = 3

#: Seconds for which the job may be silent: its longest test boots guests that are emulated twice.
SILENCE_SECONDS = 900.0

#: Seconds after which a silent host is poked: it gets an interrupt from outside. QEMU 7.2 loses one
#: now and then, since a processor with AMD-V changes its pending interrupts without the lock that
#: all others hold; if that was the timer's, the host sleeps until the next one comes.
POKE_SECONDS = 1.0

MEMORY_MIB = 3072

# A busy machine may be too slow for the kernel's check of its timer.
_CMDLINE = "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check"

# With two processors an emulated host is known to hang at times.
_MACHINE = {
    "-machine": "q35",
    "-accel": "tcg,tb-size=512",
    "-cpu": "max,+svm,+npt",
    "-smp": "1",
    "-m": str(MEMORY_MIB),
    "-display": "none",
}
_ROOT = "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"
# A chardev must come before what uses it.
_DEVICES = (
    ("-fsdev", _ROOT),
    ("-device", "virtio-9p-pci,fsdev=root,mount_tag=root"),
    ("-chardev", "stdio,id=job,signal=off"),
    ("-serial", "chardev:console"),
    ("-serial", "chardev:job"),
    ("-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
)


class HostError(Exception):
    """The test host failed, whatever the job did."""


class BootError(HostError):
    """The test host did not come up."""


class ReaderGoneError(HostError):
    """Nobody wants the results any more."""


class Output(io.RawIOBase):
    """What a host's job writes, until the host ends.

    :param process: the host's QEMU.
    :raises HostError: from reads, once it was silent too long or nobody reads our own output.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__()
        assert process.stdin is not None
        assert process.stdout is not None
        self._source = process.stdout.fileno()
        self._sink = process.stdin.fileno()
        os.set_blocking(self._sink, False)
        self._poll = select.poll()
        self._poll.register(self._source, select.POLLIN)
        # No event but that of its reader's end.
        self._poll.register(sys.stdout.fileno(), 0)
        self._patience = BOOT_SECONDS
        self._pokes = False

    def host_is_up(self) -> None:
        """Be patient from now on, and poke the host; before, its line would echo that."""
        self._patience = SILENCE_SECONDS
        self._pokes = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        deadline = time.monotonic() + self._patience
        while not (ready := dict(self._poll.poll(POKE_SECONDS * 1000))):
            if time.monotonic() > deadline:
                raise HostError(f"the host said nothing for {self._patience:g} s")
            if self._pokes:
                # A host that has ended, or has not woken for long, takes none.
                with suppress(BlockingIOError, BrokenPipeError):
                    os.write(self._sink, b"\n")
        if self._source not in ready:
            raise ReaderGoneError("nobody reads the results")
        data = os.read(self._source, len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Host:
    """A test host that is up.

    :param process: its QEMU.
    :raises BootError: it does not come up in time.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        raw = Output(process)
        self.output = io.BufferedReader(raw)
        try:
            said = self.output.read(len(UP))
        except ReaderGoneError:
            raise
        except HostError as error:
            raise BootError(str(error)) from error
        if said != UP:
            raise BootError(f"the host did not come up, it said {said!r}")
        raw.host_is_up()

    def status(self) -> int:
        """Return the exit status of the job, once all of its output was read.

        :raises HostError: the host ended before the job did.
        """
        try:
            code = self._process.wait(BOOT_SECONDS)
        except subprocess.TimeoutExpired:
            raise HostError("the host has not ended with its job") from None
        # The device ends QEMU with twice the status, plus one.
        if code < 0 or code % 2 == 0:
            raise HostError(f"the host ended before its job (QEMU: {code})")
        return code // 2


@contextmanager
def running(image: HostImage, job: str, console: Path) -> Iterator[Host]:
    """Boot a test host, and end it with the block; it goes with this process in any case.

    :param image: what it boots.
    :param job: a shell script.
    :param console: file to which is added what the kernel, the init and QEMU say.
    :raises BootError: it does not come up, however often it is tried.
    """
    with ExitStack() as stack:
        for attempt in tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(BootError),
            stop=tenacity.stop_after_attempt(BOOT_ATTEMPTS),
            reraise=True,
        ):
            with attempt:
                host = stack.enter_context(_started(command(image, job, console), console))
        yield host


@contextmanager
def _started(arguments: Sequence[str], console: Path) -> Iterator[Host]:
    with (
        console.open("ab") as log,
        subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0
        ) as process,
    ):
        try:
            yield Host(process)
        finally:
            process.kill()


def command(image: HostImage, job: str, console: Path) -> list[str]:
    """Return QEMU's command line; see :func:`running`."""
    return [
        *("setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64"),
        *("-no-user-config", "-nodefaults", "-no-reboot"),
        *(word for pair in (*_MACHINE.items(), *_DEVICES) for word in pair),
        *("-chardev", f"file,id=console,append=on,path={_quoted(str(console))}"),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", _CMDLINE),
        *("-fw_cfg", f"name=opt/compute-driver/job,string={_quoted(job)}"),
    ]


def _quoted(text: str) -> str:
    """Quote a value as QEMU reads its options."""
    return text.replace(",", ",,")
