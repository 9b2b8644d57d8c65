# SPDX-License-Identifier: Apache-2.0
"""Functions on domains: their states, and their changes.

The functions run behind the gateway, on a native thread.  They take an open connection or a domain,
and let ``libvirtError`` pass.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable

import libvirt
from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import PowerState
from compute_driver.guest import is_uuid
from compute_driver.storage.source import Source
from compute_driver.xml import interface, metadata
from compute_driver.xml import source as source_xml

_STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: PowerState.STOPPED,
    libvirt.VIR_DOMAIN_RUNNING: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: PowerState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_SHUTOFF: PowerState.STOPPED,
    libvirt.VIR_DOMAIN_CRASHED: PowerState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: PowerState.PAUSED,
}

#: Seconds that an emulator may take to answer a question.
ANSWER_SECONDS = 10.0

#: Seconds that a guest's agent may take to answer.
AGENT_SECONDS = 5

_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)

#: Flags for the files that libvirt keeps for a guest, by whether the guest's own files stay.
_UNDEFINE_FILES = {
    False: libvirt.VIR_DOMAIN_UNDEFINE_NVRAM,
    True: libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM,
}


def power_state(number: int, *, saved: bool) -> PowerState:
    """Return the power state for a state of libvirt.

    :param number: ``VIR_DOMAIN_*`` state.
    :param saved: whether the domain has a managed save image.
    """
    state = _STATES.get(number, PowerState.STOPPED)
    return PowerState.SUSPENDED if saved and state is PowerState.STOPPED else state


def state_of(domain: libvirt.virDomain) -> PowerState:
    """Return the power state of a domain."""
    return present_state(domain, domain.state()[0])


def present_state(domain: libvirt.virDomain, number: int) -> PowerState:
    """Return the power state of a domain that has just told libvirt's state.

    :param number: ``VIR_DOMAIN_*`` state.
    """
    state = power_state(number, saved=False)
    stopped = state is PowerState.STOPPED  # only a stopped domain needs the second question
    return PowerState.SUSPENDED if stopped and domain.hasManagedSaveImage() else state


def metadata_of(domain: libvirt.virDomain, flags: int = libvirt.VIR_DOMAIN_AFFECT_CURRENT) -> str:
    """Return the element of this package in a domain's metadata; empty without the element.

    :param flags: ``VIR_DOMAIN_AFFECT_*``: the domain that runs, or from its next power-on.
    """
    kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
    try:
        return str(domain.metadata(kind, metadata.NAMESPACE, flags))
    except libvirt.libvirtError as error:
        # Another client may have removed the domain since libvirt listed it.
        if error.get_error_code() in (
            libvirt.VIR_ERR_NO_DOMAIN_METADATA,
            libvirt.VIR_ERR_NO_DOMAIN,
        ):
            return ""
        raise


def next_metadata(domain: libvirt.virDomain) -> str | None:
    """Return, as :func:`metadata_of`, the element that a domain has from its next power-on.

    :return: None if the domain has no next power-on: another client has undefined the domain.
    """
    try:
        return metadata_of(domain, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
            raise
        return None


def lookup(connection: libvirt.virConnect, uuid: str) -> libvirt.virDomain | None:
    """Return the domain with that UUID, also of another program; None without such a domain."""
    return _lookup(connection.lookupByUUIDString, uuid) if is_uuid(uuid) else None


def lookup_name(connection: libvirt.virConnect, name: str) -> libvirt.virDomain | None:
    """Return the domain with that name, also of another program; None without such a domain."""
    return _lookup(connection.lookupByName, name)


def _lookup(find: Callable[[str], libvirt.virDomain], key: str) -> libvirt.virDomain | None:
    try:
        return find(key)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return None
        raise


def define(connection: libvirt.virConnect, xml: str) -> libvirt.virDomain:
    """Define a domain, or its new description from the next power-on; return the domain.

    libvirt checks the XML against its own schema first.
    """
    return connection.defineXMLFlags(xml, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)


def description(domain: libvirt.virDomain) -> str:
    """Return the XML of a domain from its next power-on, for :func:`define_again`."""
    return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE))


def saved(domain: libvirt.virDomain) -> str:
    """Return the XML of a suspended domain when its memory was saved."""
    return str(domain.managedSaveGetXMLDesc(libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE))


def descriptions(domain: libvirt.virDomain) -> tuple[str, str | None]:
    """Return the XML of a domain from its next power-on, and of the domain that runs.

    :param domain: the domain, looked up just now: such a domain has an ID only if it runs.
    :return: the second is None if the domain does not run.
    """
    return description(domain), str(domain.XMLDesc()) if domain.ID() != -1 else None


def define_again(connection: libvirt.virConnect, xml: str) -> None:
    """Define a domain from XML that libvirt itself has written."""
    connection.defineXML(xml)


def describe(
    domain: libvirt.virDomain,
    contents: Iterable[metadata.Content],
    flags: int = libvirt.VIR_DOMAIN_AFFECT_LIVE,
) -> None:
    """Store a description in a running domain; do nothing if the domain does not run.

    :param contents: the result of :func:`compute_driver.xml.metadata.contents`.
    :param flags: ``VIR_DOMAIN_AFFECT_*`` for another description of the domain.
    """
    kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
    for content in contents:
        store = functools.partial(
            domain.setMetadata, kind, content.text, content.prefix, content.namespace
        )
        unless_stopped(functools.partial(store, flags))


def attach(domain: libvirt.virDomain, xml: str) -> None:
    """Attach a device to a running domain, but not to its description."""
    domain.attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def disk_size(domain: libvirt.virDomain, source: Source) -> int:
    """Return the size that a guest sees of one of its disks, in bytes.

    libvirt can read the disk also while the guest runs, when its file is QEMU's.

    :param source: where the disk's bytes are.
    :raises GuestError: if the domain has no such disk: another client has changed the domain, or
        the domain has an old path of the disk.
    """
    device = source_xml.device(domain.XMLDesc(), source)
    if device is None:
        raise exceptions.GuestError(
            f"domain {domain.name()!r} has no disk {source.address} now; a hard reboot gives the"
            " domain its disks again"
        )
    return int(domain.blockInfo(device)[0])


def interfaces(domain: libvirt.virDomain) -> dict[str, str | None]:
    """Return libvirt's alias of each interface that a domain has now, by MAC address.

    Interfaces of a domain that is off have no alias.
    """
    return interface.aliases(etree.fromstring(domain.XMLDesc()))


def start(domain: libvirt.virDomain) -> bool:
    """Power a domain on; return False if the domain runs already."""
    try:
        domain.create()
    except libvirt.libvirtError:
        if not domain.isActive():
            raise
        return False
    return True


def start_paused(domain: libvirt.virDomain) -> bool:
    """Power a domain on, paused: the guest does nothing until it is resumed.

    :return: False if the domain runs already: another client has started it.
    """
    try:
        domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
    except libvirt.libvirtError:
        if not domain.isActive():
            raise
        # The call is made again if its connection was lost: then the domain is there, paused.
        return bool(domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED)
    return True


def settle(domain: libvirt.virDomain) -> None:
    """Return when libvirt has done all that it was doing with the emulator of a domain.

    libvirt answers a question about the emulator only when the call or the job before has ended:
    after a job, when the job's files are closed, which is later than the job's event (seen with
    9.0).
    """
    unless_stopped(domain.memoryStats)


def ask_emulator(domain: libvirt.virDomain) -> None:
    """Return when the emulator of a domain has answered a question; at once if it has stopped.

    libvirt asks the emulator of every running domain for its I/O threads, also without any.
    """
    unless_stopped(functools.partial(domain.ioThreadInfo, libvirt.VIR_DOMAIN_AFFECT_LIVE))


def unless_stopped(call: Callable[[], object]) -> None:
    """Make a call that needs a running domain; pass over a domain that has stopped or gone."""
    _ignoring({libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN}, call)


def agent_answers(domain: libvirt.virDomain) -> bool:
    """Tell, within :data:`AGENT_SECONDS`, whether the guest's agent answers.

    Callers ask before each request to the agent: libvirt waits a minute for an agent that has
    answered before and hangs now.
    """
    try:
        domain.agentSetResponseTimeout(AGENT_SECONDS)
        domain.getTime()
    except libvirt.libvirtError:
        return False
    return True


def agent_or_button(domain: libvirt.virDomain, button: int) -> int:
    """Return the flags of a request to a guest to shut down or to reboot.

    :param button: the flag of the power button, for a guest whose agent does not answer.
    """
    # Without flags libvirt asks the agent first.
    return 0 if agent_answers(domain) else button


def power_off(domain: libvirt.virDomain) -> None:
    """End a domain's process and drop its saved memory, if the domain has any."""
    unless_stopped(domain.destroy)
    unless_stopped(functools.partial(_forget_memory, domain))


def _forget_memory(domain: libvirt.virDomain) -> None:
    if domain.hasManagedSaveImage():
        domain.managedSaveRemove()


def undefine(domain: libvirt.virDomain, *, keep_files: bool = False) -> None:
    """Remove a domain with all that libvirt keeps for it; pass over a domain that has gone.

    :param keep_files: whether the firmware's variables and the state of a TPM stay.
    """
    flags = _UNDEFINE | _UNDEFINE_FILES[keep_files]
    _ignoring({libvirt.VIR_ERR_NO_DOMAIN}, functools.partial(domain.undefineFlags, flags))


def _ignoring(codes: Collection[int], call: Callable[[], object]) -> None:
    try:
        call()
    except libvirt.libvirtError as error:
        if error.get_error_code() not in codes:
            raise
