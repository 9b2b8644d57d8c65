# SPDX-License-Identifier: Apache-2.0
"""A separate program that runs a few guest instructions through ``/dev/kvm``.

    python3 -I -S kvm_probe.py DEVICE ARCHITECTURE SECONDS

On a processor that KVM cannot drive, the guest may never end; then the alarm ends the program.  The
program uses only the standard library and imports nothing of this package, because its interpreter
may not find the package.

The program prints one word on a line after each step: ``opened``, ``made`` (a virtual processor),
``ran`` (the instructions, with the right result); or a last line ``failed: ...``.

Sources: Linux, "The Definitive KVM API Documentation"; linux/kvm.h and asm/kvm.h.
"""

from __future__ import annotations

import ctypes
import dataclasses
import fcntl
import mmap
import os
import signal
import struct
import sys
from collections.abc import Callable

API_VERSION = 12
MIB = 1 << 20
#: Where the guest's code writes its result: a port on x86, elsewhere an address without memory.
PORT, NOWHERE = 0x10, 0x2000_0000

#: Formats of the structures for the kernel, in native byte order.
REGION = "=IIQQQ"  # struct kvm_userspace_memory_region: slot, flags, address, size, where
ONE_REG = "=QQ"  # struct kvm_one_reg: which, where
VCPU_INIT = "=8I"  # struct kvm_vcpu_init (arm64): target, features
SEGMENT = "=QIH10B"  # struct kvm_segment (x86)
SREGS = "=" + 8 * "24s" + 2 * "16s" + "7Q" + "4Q"  # struct kvm_sregs (x86)
REGS = "=18Q"  # struct kvm_regs (x86)
CPUID = "=II"  # struct kvm_cpuid2 (x86): number of entries, padding; the entries follow
CPUID_ENTRY = "=10I"  # struct kvm_cpuid_entry2 (x86)

#: Number of entries: the limit of KVM, KVM_MAX_CPUID_ENTRIES.
CPUID_ENTRIES = 256

#: Parts of an ioctl number: the position of the direction, and the values of the direction.
#: Source: asm-generic/ioctl.h; POWER has its own asm/ioctl.h.
_SHIFT, _NONE, _READ, _WRITE = (29, 1, 2, 4) if os.uname().machine[:3] == "ppc" else (30, 0, 2, 1)


def number(code: int, direction: int = _NONE, layout: str = "=") -> int:
    """Return the number of one of KVM's ioctls, as the macros _IO, _IOR and _IOW do.

    :param code: the ioctl's code in KVM's documentation.
    :param direction: whether the kernel reads or writes the argument.
    :param layout: struct format of the argument.
    """
    return direction << _SHIFT | struct.calcsize(layout) << 16 | 0xAE << 8 | code


GET_API_VERSION = number(0x00)
CREATE_VM = number(0x01)
CHECK_EXTENSION = number(0x03)
GET_VCPU_MMAP_SIZE = number(0x04)
GET_SUPPORTED_CPUID = number(0x05, _READ | _WRITE, CPUID)
CREATE_VCPU = number(0x41)
SET_USER_MEMORY_REGION = number(0x46, _WRITE, REGION)
SET_TSS_ADDR = number(0x47)
RUN = number(0x80)
SET_REGS = number(0x82, _WRITE, REGS)
GET_SREGS = number(0x83, _READ, SREGS)
SET_SREGS = number(0x84, _WRITE, SREGS)
SET_CPUID2 = number(0x90, _WRITE, CPUID)
SET_ONE_REG = number(0xAC, _WRITE, ONE_REG)
ARM_VCPU_INIT = number(0xAE, _WRITE, VCPU_INIT)
ARM_PREFERRED_TARGET = number(0xAF, _READ, VCPU_INIT)

CAP_ARM_VM_IPA_SIZE = 165

EXIT_IO, EXIT_MMIO, EXIT_S390_SIEIC = 2, 6, 13
#: Offsets into struct kvm_run.
EXIT_REASON, PSW, EXIT_DATA = 8, 32, 32

#: Numbers of the program counter for ioctl SET_ONE_REG.
PC = {"aarch64": 0x6030_0000_0010_0040, "riscv64": 0x8030_0000_0200_0000}


class Failed(Exception):
    """KVM opens but does not work as it should."""


class Machine:
    """A virtual machine with one processor and 1 MiB of memory that begins with the code.

    :ivar kvm: descriptor of the device.
    :ivar run: struct kvm_run, which the processor and this program share.
    """

    def __init__(self, kvm: int, trial: Trial) -> None:
        self.kvm = kvm
        self.vm = fcntl.ioctl(kvm, CREATE_VM, trial.kind(kvm))
        if trial.code:
            self.memory = mmap.mmap(-1, 2 * MIB)
            start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
            self.offset = -start % MIB  # s390x takes whole segments only
            region = struct.pack(REGION, 0, 0, trial.base, MIB, start + self.offset)
            self.write(trial.entry, trial.code)
            fcntl.ioctl(self.vm, SET_USER_MEMORY_REGION, region)
        self.vcpu = fcntl.ioctl(self.vm, CREATE_VCPU, 0)
        self.run = mmap.mmap(self.vcpu, fcntl.ioctl(kvm, GET_VCPU_MMAP_SIZE, 0))

    def write(self, offset: int, data: bytes) -> None:
        """Write into the guest's memory at *offset* bytes."""
        place = self.offset + offset
        self.memory[place : place + len(data)] = data

    def set_pc(self, register: int, address: int) -> None:
        """Set the address of the first instruction."""
        value = ctypes.c_uint64(address)
        fcntl.ioctl(self.vcpu, SET_ONE_REG, struct.pack(ONE_REG, register, ctypes.addressof(value)))


def prepare_x86(machine: Machine) -> None:
    """Enter long mode, with an identity mapping of the first 2 MiB.

    KVM can emulate real mode where the processor lacks it, but not long mode.  Linux 6.12 refuses
    long mode for a processor whose features are not set.
    """
    features = bytearray(struct.calcsize(CPUID) + CPUID_ENTRIES * struct.calcsize(CPUID_ENTRY))
    struct.pack_into(CPUID, features, 0, CPUID_ENTRIES, 0)
    fcntl.ioctl(machine.kvm, GET_SUPPORTED_CPUID, features)
    fcntl.ioctl(machine.vcpu, SET_CPUID2, features)
    fcntl.ioctl(machine.vm, SET_TSS_ADDR, 0x7FFB_D000)
    for table, entry in ((0x2000, 0x3003), (0x3000, 0x4003), (0x4000, 0x83)):
        machine.write(table, struct.pack("=Q", entry))
    state = bytearray(struct.calcsize(SREGS))
    fcntl.ioctl(machine.vcpu, GET_SREGS, state)
    fields = list(struct.unpack(SREGS, state))
    # selector, type, present, privilege, 32-bit, no system segment, 64-bit, in pages
    fields[0] = struct.pack(SEGMENT, 0, 0xFFFF_FFFF, 8, 11, 1, 0, 0, 1, 1, 1, 0, 0, 0)
    fields[1:6] = [struct.pack(SEGMENT, 0, 0xFFFF_FFFF, 16, 3, 1, 0, 1, 1, 0, 1, 0, 0, 0)] * 5
    # cr0: paging and protection; cr2; cr3: the tables; cr4: PAE; cr8; efer: long mode
    fields[10:16] = 0x8000_0033, 0, 0x2000, 0x20, 0, 0x500
    fcntl.ioctl(machine.vcpu, SET_SREGS, struct.pack(SREGS, *fields))
    fcntl.ioctl(machine.vcpu, SET_REGS, struct.pack(REGS, *[0] * 16, 0x1000, 2))


def ended_x86(run: mmap.mmap) -> bool:
    """Tell whether the second byte of EFER was written to the port."""
    _direction, _size, port, _count, where = struct.unpack_from("=BBHIQ", run, EXIT_DATA)
    return bool(port == PORT and run[where] == 0x05)


def ipa_bits(kvm: int) -> int:
    """Return the width of a guest's addresses if the host supports fewer than 40 bits, else 0."""
    bits = fcntl.ioctl(kvm, CHECK_EXTENSION, CAP_ARM_VM_IPA_SIZE)
    return bits if 0 < bits < 40 else 0


def prepare_aarch64(machine: Machine) -> None:
    """Choose the host's kind of processor, with its MMU off."""
    target = bytearray(struct.calcsize(VCPU_INIT))
    fcntl.ioctl(machine.vm, ARM_PREFERRED_TARGET, target)
    fcntl.ioctl(machine.vcpu, ARM_VCPU_INIT, target)
    machine.set_pc(PC["aarch64"], 0)


def prepare_riscv64(machine: Machine) -> None:
    """Begin in supervisor mode, with the MMU off."""
    machine.set_pc(PC["riscv64"], 0x8000_0000)


def prepare_s390x(machine: Machine) -> None:
    """Set the program status word: 64-bit addresses, everything else off."""
    struct.pack_into("=QQ", machine.run, PSW, 0x0000_0001_8000_0000, 0x1000)


def ended_mmio(run: mmap.mmap) -> bool:
    """Tell whether the byte was stored at the address without memory."""
    address, data, _length, write = struct.unpack_from("=Q8sIB", run, EXIT_DATA)
    return bool(address == NOWHERE and data[0] == 0x42 and write == 1)


def ended_s390x(run: mmap.mmap) -> bool:
    """Tell whether the processor waits in disabled state, with the right code."""
    return bool(struct.unpack_from("=QQ", run, PSW)[1] == 0x42)


def nothing(_machine: Machine) -> None:
    """Leave the machine as it is."""


@dataclasses.dataclass(frozen=True)
class Trial:
    """The guest of a host architecture.

    :param code: a loop of eight million rounds, which takes some milliseconds unless the kernel
        interprets each instruction, then an instruction that leaves the guest; empty if the probe
        can only make a processor.
    :param exit_reason: the exit reason of that instruction.
    :param ended: tells by struct kvm_run whether the result is right.
    :param prepare: sets up the processor.
    :param base: address of the memory.
    :param entry: offset of the code in the memory, in bytes.
    :param kind: returns the type of machine for ioctl CREATE_VM, from the open device.
    """

    code: bytes = b""
    exit_reason: int = 0
    ended: Callable[[mmap.mmap], bool] = bool
    prepare: Callable[[Machine], None] = nothing
    base: int = 0
    entry: int = 0
    kind: Callable[[int], int] = lambda _kvm: 0


_X86 = Trial(
    # mov ecx, 8M; 1: dec ecx; jnz 1b; mov ecx, EFER; rdmsr; shr eax, 8; and al, 5; out; hlt
    bytes.fromhex("b900008000 ffc9 75fc b9800000c0 0f32 c1e808 2405 e610 f4"),
    EXIT_IO,
    ended_x86,
    prepare_x86,
    entry=0x1000,
)

TRIALS = {
    "x86_64": _X86,
    "aarch64": Trial(
        # x0 = 8M; 1: subs x0, x0, 1; b.ne 1b; w1 = 0x42; x2 = NOWHERE; strb w1, [x2]; b .
        bytes.fromhex("0010a0d2 000400f1 e1ffff54 41088052 0200a4d2 41000039 00000014"),
        EXIT_MMIO,
        ended_mmio,
        prepare_aarch64,
        kind=ipa_bits,
    ),
    "riscv64": Trial(
        # a0 = 8M; 1: addi a0, a0, -1; bnez a0, 1b; a1 = 0x42; a2 = NOWHERE; sb a1, (a2); j .
        bytes.fromhex("37058000 1305f5ff e31e05fe 93052004 37060020 2300b600 6f000000"),
        EXIT_MMIO,
        ended_mmio,
        prepare_riscv64,
        base=0x8000_0000,
    ),
    "s390x": Trial(
        # lgfi r1, 8M; 1: brctg r1, 1b; larl r2, 2f; lpswe 0(r2); .balign 8; 2: wait, 0x42
        bytes.fromhex(
            "c01100800000 a7170000 c02000000007 b2b22000 070707070002000180000000 0000000000000042"
        ),
        EXIT_S390_SIEIC,
        ended_s390x,
        prepare_s390x,
        entry=0x1000,
    ),
}


def say(word: str) -> None:
    """Print one line and flush it: the next step may not end."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def probe(device: str, architecture: str, seconds: float) -> None:
    """Run the guest, and print each step.

    :param device: path of the device node.
    :param architecture: canonical name of the host's architecture.
    :param seconds: time limit of the guest.
    :raises OSError: if the kernel refuses a call.
    :raises Failed: if the result is wrong.
    """
    trial = TRIALS.get(architecture, Trial())
    kvm = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    version = fcntl.ioctl(kvm, GET_API_VERSION, 0)
    if version != API_VERSION:
        raise Failed(f"it has version {version} of the interface, not {API_VERSION}")
    say("opened")
    machine = Machine(kvm, trial)
    say("made")
    if not trial.code:
        return
    trial.prepare(machine)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    fcntl.ioctl(machine.vcpu, RUN, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    (reason,) = struct.unpack_from("=I", machine.run, EXIT_REASON)
    if reason != trial.exit_reason or not trial.ended(machine.run):
        raise Failed(f"the guest was left with exit reason {reason} or a wrong result")
    say("ran")


def main(device: str, architecture: str, seconds: str) -> int:
    """Probe, and print the steps.

    :return: the exit status: 0 after success.
    """
    try:
        probe(device, architecture, float(seconds))
    except OSError as error:
        say(f"failed: {error.strerror}")
        return 1
    except Failed as error:
        say(f"failed: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
