# SPDX-License-Identifier: Apache-2.0
"""The guests of this driver, their states and their use of resources.

A question about all guests takes a constant number of libvirt calls, and one more call for each
domain whose metadata is not known: see :mod:`.known`.  The call for metadata never waits for an
emulator.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import libvirt
from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import ACTIVE, Accelerator, PowerState, StateReason
from compute_driver.guest import Guest, as_uuid, is_name, renamed
from compute_driver.hardware import tuning
from compute_driver.info import (
    DiskStats,
    GuestInfo,
    GuestStats,
    InterfaceStats,
)
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt import reasons
from compute_driver.libvirt.connection import Connection
from compute_driver.libvirt.description import Description
from compute_driver.libvirt.known import Told
from compute_driver.libvirt.ownership import Ownership
from compute_driver.storage import exchange, layout
from compute_driver.system import concurrency, memory
from compute_driver.xml import metadata

LOG = logging.getLogger(__name__)

# Without CPU_TOTAL, for which libvirt 9 starts every installed emulator once.
_STATS = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)

#: How often all guests are asked, of which each time another emulator may hang.
_STATS_TRIES = 5


class Inventory:
    """The guests of one driver.

    :param connection: the gateway to libvirt.
    :param ownership: tells which domains are guests of this driver.
    """

    def __init__(self, connection: Connection, ownership: Ownership) -> None:
        self._connection = connection
        self.ownership = ownership

    def guests(self) -> tuple[GuestInfo, ...]:
        """Return all guests of this driver, by name."""
        guests, damaged = self._connection.run(_list, self.ownership)
        for error in damaged:
            # A damaged guest must not hide the others; 'audit' lists the damaged guest.
            LOG.warning("Not listed: %s", error)
        return tuple(sorted(guests, key=lambda info: info.guest.name))

    def guest(self, uuid: str) -> GuestInfo:
        """Return the description and the state of one guest.

        :raises GuestNotFound: if this driver has no such guest.
        """
        return self._connection.run(_show, uuid, self.ownership)

    def state(self, uuid: str) -> PowerState:
        """Return the state of one guest, without reading its description.

        A driver that listens answers from libvirt's events, or from an answer that is at most
        :data:`.known.STATES_AGE` seconds old.

        :raises GuestNotFound: if this driver has no such guest.
        """
        state = self.ownership.known.state(uuid)
        return state or self._connection.run(_state, uuid, self.ownership)

    def find(self, name_or_uuid: str) -> str:
        """Return the UUID of the guest with that name or UUID.

        :raises GuestNotFound: if this driver has no such guest.
        """
        return self._connection.run(_find, name_or_uuid, self.ownership)

    def console_log(self, uuid: str) -> Path:
        """Return the log of the serial console of one guest."""
        return Path(self.guest(uuid).console)

    def stats(self, uuid: str | None = None) -> tuple[GuestStats, ...]:
        """Return the use of resources by one guest, or by all guests of this driver.

        Of a guest whose emulator hangs, libvirt tells only some: it passes over the emulator that
        an earlier call waits for.

        :raises OperationTimeout: if emulators of many guests hang, or libvirt itself.
        """
        answers: list[list[GuestStats]] = []

        def ask() -> None:
            answers.append(self._connection.run(_stats, self.ownership, uuid))

        for _try in range(_STATS_TRIES):
            if concurrency.within(time.monotonic() + domains.ANSWER_SECONDS, ask):
                break
        if not answers:
            raise exceptions.OperationTimeout("emulators of several guests do not answer")
        for stats in answers[-1]:
            if not stats.answers:
                LOG.warning("Not counted: the emulator of guest %r does not answer", stats.name)
        return tuple(sorted(answers[-1], key=lambda stats: stats.name))


def _describe(
    stored: metadata.Stored, state: PowerState, state_reason: str, accelerator: Accelerator
) -> GuestInfo:
    return GuestInfo(
        guest=stored.guest,
        state=state,
        state_reason=state_reason,
        accelerator=accelerator,
        reason=stored.decision.reason,
        console=f"{stored.directory}/{layout.CONSOLE_LOG}",
    )


def _show(connection: libvirt.virConnect, uuid: str, ownership: Ownership) -> GuestInfo:
    from compute_driver.xml import address, boot, cpu

    domain, stored = ownership.lookup(connection, uuid)
    xml = etree.fromstring(domain.XMLDesc())
    # The accelerator in libvirt's domain counts, not the decision in the metadata.
    accelerator = Accelerator.KVM if xml.get("type") == "kvm" else Accelerator.TCG
    number, reason = domain.state()
    words = reasons.in_words(domain, reasons.reason(number, reason))
    info = _describe(stored, domains.present_state(domain, number), words, accelerator)
    overhead = tuning.overhead_mib(
        stored.guest,
        accelerator,
        boot.translation_buffer_mib(xml) or tuning.qemu_translation_buffer_mib(memory.total_mib()),
        uefi=boot.has_uefi(xml),
    )
    before = _before(stored.directory)
    return dataclasses.replace(
        info,
        cpu=cpu.described(xml, stored.guest.cpu.enable),
        overhead_mib=overhead,
        devices=tuple(address.attached(xml)),
        before=before and renamed(before, stored.guest.name),
    )


def _state(connection: libvirt.virConnect, uuid: str, ownership: Ownership) -> PowerState:
    known = ownership.known
    if known.has_old_states:
        with contextlib.suppress(libvirt.libvirtError):  # the question for one guest may do
            known.keep_states(functools.partial(_states, connection, ownership))

    def ask() -> PowerState:
        domain = domains.lookup(connection, uuid)
        if domain is None or not ownership.owns(domain):
            raise ownership.not_found(uuid, domain)
        return domains.state_of(domain)

    return known.state(uuid) or known.keep_state(uuid, ask)


def _states(connection: libvirt.virConnect, ownership: Ownership) -> dict[str, PowerState]:
    """Return the states of all guests of this driver, by UUID."""
    return {domain.UUIDString(): state for domain, _, state, _ in _owned(connection, ownership)}


def _owned(
    connection: libvirt.virConnect, ownership: Ownership
) -> Iterator[tuple[libvirt.virDomain, Told, PowerState, StateReason]]:
    """Yield domain, metadata, state and its reason of each guest of this driver."""
    saved, found = _saved(connection), states(connection)
    for uuid, domain, told in ownership.owned([domain for domain, _numbers in found.values()]):
        number, reason = found[uuid][1]
        state = domains.power_state(number, saved=uuid in saved)
        yield domain, told, state, reasons.reason(number, reason)


def _before(directory: Path) -> Guest | None:
    """Return a guest as it was before a resize that is not confirmed yet.

    None also if the kept description is damaged: such damage must not hide the guest.
    """
    try:
        kept = metadata.read(Description.kept(directory, exchange.KEPT).read())
    except (exceptions.HostError, exceptions.MetadataDamaged) as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            LOG.warning("Guest %s: description before its resize: %s", directory.name, error)
        return None
    return kept.guest if kept else None


def _find(connection: libvirt.virConnect, name_or_uuid: str, ownership: Ownership) -> str:
    domain = domains.lookup_name(connection, name_or_uuid) if is_name(name_or_uuid) else None
    uuid = as_uuid(name_or_uuid)
    if domain is None and uuid is not None:
        domain = domains.lookup(connection, uuid)
        directory = ownership.instances / uuid
        descriptions = (Description.kept(directory), Description.latest(directory))
        if domain is None and any(description.exists() for description in descriptions):
            return uuid  # the domain is gone, its files are here
    if domain is None and uuid is None:
        undefined = ownership.undefined(connection, name_or_uuid)
        if undefined is not None:
            hint = f"guest {undefined} of this name has no domain in this libvirt; see 'audit'"
            raise exceptions.GuestNotFound(name_or_uuid, hint)
    if domain is None or not ownership.owns(domain):
        raise ownership.not_found(name_or_uuid, domain)
    return str(domain.UUIDString())


def _list(
    connection: libvirt.virConnect, ownership: Ownership
) -> tuple[list[GuestInfo], list[exceptions.MetadataDamaged]]:
    """Return the guests of this driver, and the errors of the damaged guests."""
    guests, damaged = [], []
    for domain, told, state, reason in _owned(connection, ownership):
        try:
            stored = ownership.content(domain, told)
        except exceptions.MetadataDamaged as error:
            damaged.append(error)
            continue
        if stored is not None:
            guests.append(_describe(stored, state, str(reason), stored.decision.accelerator))
    return guests, damaged


def states(
    connection: libvirt.virConnect,
) -> dict[str, tuple[libvirt.virDomain, tuple[int, int]]]:
    """Return all domains with libvirt's numbers for their state and for its reason, by UUID."""
    return {
        domain.UUIDString(): (domain, (values["state.state"], values["state.reason"]))
        for domain, values in connection.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0)
    }


def _saved(connection: libvirt.virConnect) -> set[str]:
    flag = libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE
    return {domain.UUIDString() for domain in connection.listAllDomains(flag)}


def _stats(
    connection: libvirt.virConnect, ownership: Ownership, uuid: str | None
) -> list[GuestStats]:
    saved = _saved(connection)
    if uuid is None:
        # A guest whose emulator hangs must not delay the others.
        flag = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        records = connection.getAllDomainStats(_STATS, flag)
    else:
        domain, _ = ownership.lookup(connection, uuid)
        records = connection.domainListGetStats([domain], _STATS, 0)
    values = {domain.UUIDString(): values for domain, values in records}
    found = [domain for domain, _values in records]
    return [
        _guest_stats(domain, values[uuid], saved) for uuid, domain, _told in ownership.owned(found)
    ]


def _used(values: Mapping[str, int | str]) -> int | None:
    """Return the memory that a guest uses, in bytes; its caches do not count if it tells so."""
    free = values.get("balloon.usable", values.get("balloon.unused"))
    total = values.get("balloon.available")
    return None if free is None or total is None else (int(total) - int(free)) * 1024


def _guest_stats(
    domain: libvirt.virDomain, values: dict[str, int | str], saved: set[str]
) -> GuestStats:
    def number(key: str) -> int:
        return int(values.get(key, 0))

    def counter(key: str) -> int | None:
        # libvirt counts at the device of the host; user-mode networking has no such device.
        return int(values[key]) if key in values else None

    state = domains.power_state(number("state.state"), saved=domain.UUIDString() in saved)
    return GuestStats(
        uuid=domain.UUIDString(),
        name=domain.name(),
        state=state,
        answers=state not in ACTIVE or "balloon.rss" in values,
        state_reason=str(reasons.reason(number("state.state"), number("state.reason"))),
        vcpus=number("vcpu.current"),
        memory_bytes=number("balloon.current") * 1024,
        resident_bytes=number("balloon.rss") * 1024,
        used_bytes=_used(values),
        vcpu_times_ns=tuple(
            number(f"vcpu.{n}.time")
            for n in range(number("vcpu.current"))
            if f"vcpu.{n}.time" in values
        ),
        disks=tuple(
            DiskStats(
                name=str(values[f"block.{n}.name"]),
                read_bytes=number(f"block.{n}.rd.bytes"),
                read_requests=number(f"block.{n}.rd.reqs"),
                write_bytes=number(f"block.{n}.wr.bytes"),
                write_requests=number(f"block.{n}.wr.reqs"),
            )
            for n in range(number("block.count"))
        ),
        interfaces=tuple(
            InterfaceStats(
                name=str(values.get(f"net.{n}.name", n)),
                received_bytes=counter(f"net.{n}.rx.bytes"),
                received_packets=counter(f"net.{n}.rx.pkts"),
                sent_bytes=counter(f"net.{n}.tx.bytes"),
                sent_packets=counter(f"net.{n}.tx.pkts"),
            )
            for n in range(number("net.count"))
        ),
    )
