# SPDX-License-Identifier: Apache-2.0
"""The test host as a QEMU process.

QEMU's fw_cfg gives the host its job, a shell script. The job's output goes to a second serial line,
which is QEMU's standard output. The job's exit status becomes QEMU's by the device isa-debug-exit,
so the status tells a finished job from a host that ended too early.
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

#: The host's first line on the job's serial line, once the host is up.
UP = b"up\n"

#: Seconds that the host may take to come up: a quiet machine needs four.
BOOT_SECONDS = 120.0
BOOT_ATTEMPTS = 3

#: Seconds for which the job may be silent: the longest test boots guests that are emulated twice.
SILENCE_SECONDS = 900.0

#: Seconds after which a silent host gets an interrupt from outside. QEMU 7.2 sometimes loses an
#: interrupt, as a processor with AMD-V changes its pending interrupts without the lock that all
#: other writers hold. A host that loses a timer interrupt sleeps until the next interrupt.
POKE_SECONDS = 1.0

MEMORY_MIB = 3072

# A busy machine may be too slow for the kernel's check of its timer.
_CMDLINE = "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check"

# An emulated host with two processors sometimes hangs.
_MACHINE = {
    "-machine": "q35",
    "-accel": "tcg,tb-size=512",
    "-cpu": "max,+svm,+npt",
    "-smp": "1",
    "-m": str(MEMORY_MIB),
    "-display": "none",
}
_ROOT = "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"
# A chardev must come before its device.
_DEVICES = (
    ("-fsdev", _ROOT),
    ("-device", "virtio-9p-pci,fsdev=root,mount_tag=root"),
    ("-chardev", "stdio,id=job,signal=off"),
    ("-serial", "chardev:console"),
    ("-serial", "chardev:job"),
    ("-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
)


class HostError(Exception):
    """The test host fails."""


class BootError(HostError):
    """The test host does not come up."""


class ReaderGoneError(HostError):
    """Nobody reads the results any more."""


class Output(io.RawIOBase):
    """The output of a host's job, until the host ends.

    :param process: the host's QEMU.
    :raises HostError: a read raises it when the job is silent too long or nobody reads the results.
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
        # Without events poll() still reports the end of the reader.
        self._poll.register(sys.stdout.fileno(), 0)
        self._patience = BOOT_SECONDS
        self._pokes = False

    def host_is_up(self) -> None:
        """Wait longer and send interrupts from now on; earlier, the line would echo them."""
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
                # A host that has ended, or sleeps for long, takes no input.
                with suppress(BlockingIOError, BrokenPipeError):
                    os.write(self._sink, b"\n")
        if self._source not in ready:
            raise ReaderGoneError("nobody reads the results")
        data = os.read(self._source, len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Host:
    """A test host that is up.

    :param process: the host's QEMU.
    :raises BootError: the host does not come up in time.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        raw = Output(process)
        self.output = io.BufferedReader(raw)
        try:
            line = self.output.read(len(UP))
        except ReaderGoneError:
            raise
        except HostError as error:
            raise BootError(str(error)) from error
        if line != UP:
            raise BootError(f"the host did not come up, its first line is {line!r}")
        raw.host_is_up()

    def status(self) -> int:
        """Return the exit status of the job, after its whole output is read.

        :raises HostError: the host ends before the job.
        """
        try:
            code = self._process.wait(BOOT_SECONDS)
        except subprocess.TimeoutExpired:
            raise HostError("the host has not ended with its job") from None
        # The device makes QEMU's exit status twice the job's, plus one.
        if code < 0 or code % 2 == 0:
            raise HostError(f"the host ended before its job (QEMU: {code})")
        return code // 2


@contextmanager
def running(image: HostImage, job: str, console: Path) -> Iterator[Host]:
    """Boot a test host for the block. The host also ends when this process dies.

    :param image: the host's kernel and initrd.
    :param job: a shell script.
    :param console: file that the messages of the kernel, the init and QEMU are added to.
    :raises BootError: the host does not come up in several attempts.
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
