# SPDX-License-Identifier: Apache-2.0
"""The guest's clocks.

Sources: libvirt, "Domain XML format", "Time keeping"; Linux, "Timekeeping Virtualization for
X86-Based Architectures".
"""

from __future__ import annotations

from compute_driver import exceptions
from compute_driver.choices import Accelerator, OsType
from compute_driver.guest import Guest
from compute_driver.hardware import architecture
from compute_driver.hardware.architecture import Machine
from compute_driver.xml.elements import YES_NO, E, Element


def element(guest: Guest, machine: Machine, accelerator: Accelerator) -> Element:
    """Return ``<clock>``.

    :raises InvalidParameter: if an HPET is wanted and the machine has none.
    """
    # Windows takes the hardware's clock for local time.
    clock = E.clock(offset="localtime" if guest.os_type is OsType.WINDOWS else "utc")
    if guest.hpet and not machine.hpet:
        raise exceptions.InvalidParameter("hpet", True, f"off: machine {machine.name} has none")
    if machine.hpet:
        clock.extend(_timers(guest, accelerator))
    return clock


def _timers(guest: Guest, accelerator: Accelerator) -> list[Element]:
    hpet = guest.hpet
    timers = []
    if accelerator is Accelerator.KVM:
        # What ticks get lost while the guest does not run is made up for by the one clock and not
        # by the other, as systems expect it; and there are better ones than the HPET.
        timers = [
            E.timer(name="pit", tickpolicy="delay"),
            E.timer(name="rtc", tickpolicy="catchup"),
        ]
        hpet = bool(hpet)
        if guest.os_type is OsType.WINDOWS and architecture.get(guest.architecture).hyperv:
            timers.append(E.timer(name="hypervclock", present="yes"))
    if hpet is not None:
        timers.append(E.timer(name="hpet", present=YES_NO[hpet]))
    return timers
