# SPDX-License-Identifier: Apache-2.0
"""The guest's clocks.

Sources: libvirt, "Domain XML format", "Time keeping"; Linux, "Timekeeping Virtualization for
X86-Based Architectures".
"""

from __future__ import annotations

from compute_driver.hardware.description import Clock, Switch
from compute_driver.xml.elements import E, Element

_PRESENT = {Switch.ON: "yes", Switch.OFF: "no"}


def element(clock: Clock) -> Element:
    """Return ``<clock>``."""
    made = E.clock(offset="localtime" if clock.local_time else "utc")
    if clock.catch_up:
        # Guests expect that the RTC repeats lost ticks, and that the PIT delays its ticks.
        made.append(E.timer(name="pit", tickpolicy="delay"))
        made.append(E.timer(name="rtc", tickpolicy="catchup"))
    if clock.hyperv:
        made.append(E.timer(name="hypervclock", present="yes"))
    if clock.hpet in _PRESENT:
        made.append(E.timer(name="hpet", present=_PRESENT[clock.hpet]))
    return made
