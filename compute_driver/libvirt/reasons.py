# SPDX-License-Identifier: Apache-2.0
"""libvirt's reasons for the states of domains.

The functions run behind the gateway, see :mod:`compute_driver.libvirt.domain`.
Source: libvirt's "virDomainState" and "virDomainGetDiskErrors".
"""

from __future__ import annotations

import libvirt

from compute_driver.choices import StateReason

#: Reasons by libvirt's numbers of the state and of the reason.
_REASONS = {
    libvirt.VIR_DOMAIN_PAUSED: {
        libvirt.VIR_DOMAIN_PAUSED_USER: StateReason.USER,
        libvirt.VIR_DOMAIN_PAUSED_MIGRATION: StateReason.MIGRATION,
        libvirt.VIR_DOMAIN_PAUSED_SAVE: StateReason.SAVING,
        libvirt.VIR_DOMAIN_PAUSED_DUMP: StateReason.DUMPING,
        libvirt.VIR_DOMAIN_PAUSED_IOERROR: StateReason.IO_ERROR,
        libvirt.VIR_DOMAIN_PAUSED_WATCHDOG: StateReason.WATCHDOG,
        libvirt.VIR_DOMAIN_PAUSED_FROM_SNAPSHOT: StateReason.SNAPSHOT,
        libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN: StateReason.SHUTTING_DOWN,
        libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT: StateReason.SNAPSHOT,
        libvirt.VIR_DOMAIN_PAUSED_CRASHED: StateReason.CRASHED,
        libvirt.VIR_DOMAIN_PAUSED_STARTING_UP: StateReason.STARTING,
        libvirt.VIR_DOMAIN_PAUSED_POSTCOPY: StateReason.MIGRATION,
        libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED: StateReason.MIGRATION_FAILED,
        # VIR_DOMAIN_PAUSED_API_ERROR, of libvirt 9.2
        14: StateReason.OPERATION_FAILED,
    },
    libvirt.VIR_DOMAIN_PMSUSPENDED: {
        libvirt.VIR_DOMAIN_PMSUSPENDED_UNKNOWN: StateReason.ASLEEP,
    },
    libvirt.VIR_DOMAIN_SHUTOFF: {
        libvirt.VIR_DOMAIN_SHUTOFF_SHUTDOWN: StateReason.SHUT_DOWN,
        libvirt.VIR_DOMAIN_SHUTOFF_DESTROYED: StateReason.POWERED_OFF,
        libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: StateReason.CRASHED,
        libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED: StateReason.MIGRATION,
        libvirt.VIR_DOMAIN_SHUTOFF_FAILED: StateReason.START_FAILED,
        libvirt.VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT: StateReason.SNAPSHOT,
        libvirt.VIR_DOMAIN_SHUTOFF_DAEMON: StateReason.POWERED_OFF,
    },
    libvirt.VIR_DOMAIN_CRASHED: {
        libvirt.VIR_DOMAIN_CRASHED_PANICKED: StateReason.PANICKED,
    },
}

_DISK_ERRORS = {libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE: "no space left on the host"}


def reason(state: int, number: int) -> StateReason:
    """Return the reason for a state, by libvirt's numbers of both."""
    return _REASONS.get(state, {}).get(number, StateReason.NONE)


def reason_of(domain: libvirt.virDomain) -> StateReason:
    """Return the reason for the state of a domain."""
    return reason(*domain.state())


def explain(domain: libvirt.virDomain) -> str:
    """Return the reason for the state of a domain in words, with the errors of its disks."""
    return in_words(domain, reason_of(domain))


def in_words(domain: libvirt.virDomain, known: StateReason) -> str:
    """Return a reason for the state of a domain in words, with the errors of its disks."""
    if known is not StateReason.IO_ERROR:
        return str(known)
    errors = [f"{disk}: {_word(number)}" for disk, number in domain.diskErrors().items()]
    return f"{known} ({', '.join(errors)})" if errors else str(known)


def lacks_space(domain: libvirt.virDomain) -> bool:
    """Tell whether a disk of a running or paused domain lacks space on the host."""
    return libvirt.VIR_DOMAIN_DISK_ERROR_NO_SPACE in domain.diskErrors().values()


def _word(number: int) -> str:
    return _DISK_ERRORS.get(number, "failed")
