# SPDX-License-Identifier: Apache-2.0
"""Which domains are guests of this driver.

The metadata of a guest's domain claims a directory for an owner: see :mod:`.storage.owner`.  All
questions about the owner of a domain come here, and all definitions of guests' domains, which
write the claim.

The methods run behind the gateway, on a native thread, and let ``libvirtError`` pass.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import libvirt

from compute_driver import exceptions
from compute_driver.guest import as_uuid, renamed
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt.connection import version
from compute_driver.libvirt.description import Description
from compute_driver.libvirt.known import Known, Told
from compute_driver.storage import layout, owner
from compute_driver.xml import comparison, metadata
from compute_driver.xml import source as source_xml
from compute_driver.xml.elements import Element

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Reading:
    """What libvirt has about a guest.

    :param stored: see :meth:`Ownership.stored`.
    :param inactive: see :func:`compute_driver.libvirt.domain.descriptions`.
    :param live: likewise.
    :param unchanged: see :class:`compute_driver.xml.present.Present`.
    :param find_note: likewise; returns None if another libvirt or another driver has defined the
        domain.
    """

    stored: metadata.Stored
    inactive: str
    live: str | None
    unchanged: bool
    find_note: Callable[[], Element | None]


class Ownership:
    """The claim of one driver to its guests.

    A domain is a guest of this driver if its owner is the driver's owner, and if no other directory
    that exists is claimed for the domain.  So a directory of guests can move together with its
    file, and a copy beside it takes no guests.  A link from the claimed directory to the driver's
    proves the guest, too.  If one of the two owners is not known, the claimed directory must be the
    driver's, by this path or by a link.

    :param instances: the directory of all guests of this driver.
    :param known: what libvirt has told about all domains, for questions about all guests.
    """

    def __init__(self, instances: Path, known: Known) -> None:
        self.instances = instances
        self.known = known
        self._owner: str | None = None

    @property
    def owner(self) -> str | None:
        """The owner of this driver's guests, read once; None as long as the owner is not known."""
        if self._owner is None:
            self._owner = owner.read(self.instances)
        return self._owner

    def owns(self, domain: libvirt.virDomain, told: Told | None = None) -> bool:
        """Tell whether a domain is a guest of this driver.

        :param told: the domain's metadata; None means that libvirt is asked.
        """
        return self._owns(domain.UUIDString(), told or Told(domains.metadata_of(domain)))

    def owned(
        self, found: Collection[libvirt.virDomain]
    ) -> Iterator[tuple[str, libvirt.virDomain, Told]]:
        """Yield UUID, domain and metadata of the guests of this driver.

        :param found: domains that libvirt has listed.
        """
        for domain, (uuid, told) in zip(found, self.known.told(found).items(), strict=True):
            if self._owns(uuid, told):
                yield uuid, domain, told

    def find(self, connection: libvirt.virConnect, uuid: str) -> libvirt.virDomain | None:
        """Return the domain with that UUID if it is a guest of this driver, else None."""
        domain = domains.lookup(connection, uuid)
        return domain if domain is not None and self.owns(domain) else None

    def stored(self, domain: libvirt.virDomain) -> metadata.Stored | None:
        """Return the content of a guest's metadata, with its present directory and name.

        :return: None if the domain is not a guest of this driver.
        :raises MetadataDamaged: if the metadata cannot be understood.
        """
        return self._owned_content(domain, domains.metadata_of(domain))

    def _owned_content(self, domain: libvirt.virDomain, text: str) -> metadata.Stored | None:
        told = Told(text)
        return self.content(domain, told) if self._owns(domain.UUIDString(), told) else None

    def content(self, domain: libvirt.virDomain, told: Told) -> metadata.Stored | None:
        """Return, as :meth:`stored`, the content of the metadata of a guest of this driver.

        :param told: the guest's metadata.
        """
        stored = _stored(domain, told)
        if stored is None:
            return None
        guest = renamed(stored.guest, domain.name())
        same = guest is stored.guest and stored.owner == self.owner
        if same and self._is(stored.directory, guest.uuid):
            return stored  # nothing has moved the guest, and a copy takes time
        return dataclasses.replace(
            stored, guest=guest, directory=self.instances / guest.uuid, owner=self.owner
        )

    def lookup(
        self, connection: libvirt.virConnect, uuid: str
    ) -> tuple[libvirt.virDomain, metadata.Stored]:
        """Return the domain of a guest of this driver, and the content of its metadata.

        :raises GuestNotFound: if no domain has that UUID, or the domain is not this driver's.
        """
        domain = domains.lookup(connection, uuid)
        stored = self.stored(domain) if domain is not None else None
        if domain is None or stored is None:
            raise self.not_found(uuid, domain)
        return domain, stored

    def not_found(self, guest: str, domain: libvirt.virDomain | None) -> exceptions.GuestNotFound:
        """Return the error for a guest whose domain is not there, or is not this driver's.

        :param guest: the guest's name or UUID.
        :param domain: the domain with this name or UUID.
        """
        hint = ""
        if domain is None and as_uuid(guest) and self._has_lost_domain(guest):
            hint = f"its domain is not in this libvirt; 'start {guest}' defines it again"
        elif domain is not None and Description.latest(self._directory(domain)).exists():
            hint = (
                f"the domain is not this driver's, but {self._directory(domain)} has a guest's"
                " files; see 'audit'"
            )
        return exceptions.GuestNotFound(guest, hint)

    def undefined(self, connection: libvirt.virConnect, name: str) -> str | None:
        """Return the UUID of a guest of that name whose domain is not in libvirt; None without one.

        The method reads the descriptions of all guests.
        """
        directories = sorted(path.parent for path in self.instances.glob(f"*/{layout.LATEST}"))
        named = (path.name for path in directories if Description.latest(path).name() == name)
        return next((uuid for uuid in named if domains.lookup(connection, uuid) is None), None)

    def fault(self, domain: libvirt.virDomain, *told: Told) -> exceptions.MetadataDamaged | None:
        """Return what is wrong with a guest's metadata.

        :param told: the metadata now, and from the next power-on.
        :return: None without a fault.
        """
        try:
            for content in told:
                if not content.text or _stored(domain, content) is None:
                    raise exceptions.MetadataDamaged(
                        f"domain {domain.name()!r}: another client has removed the metadata"
                    )
        except exceptions.MetadataDamaged as error:
            return error
        return None

    def relocate_memory(self, domain: libvirt.virDomain) -> None:
        """Let a suspended guest resume with its files where they are now."""
        claim = metadata.claim(domains.metadata_of(domain))
        if claim is not None and is_gone(claim.directory):
            directory = self._directory(domain)
            moved = source_xml.moved(domains.saved(domain), claim.directory, directory)
            domain.managedSaveDefineXML(self._claimed(domain.connect(), moved), 0)

    def require_storage(self, connection: libvirt.virConnect) -> None:
        """Refuse a new guest if the storage of the other guests is not mounted.

        :raises HostError: names the guests.
        """
        if owner.read(self.instances) is None:
            claims = self._claims(connection)
            if claims and not any(claim.directory.is_dir() for claim in claims):
                names = ", ".join(sorted(claim.directory.name for claim in claims))
                raise exceptions.HostError(
                    f"{self.instances} lacks its file {owner.FILE} and the files of guests {names};"
                    " mount its storage, or remove these guests by 'destroy'"
                )

    def settle(self, connection: libvirt.virConnect) -> str:
        """Return the owner in the directory of all guests, which exists; make a missing owner.

        :raises HostError: if the domains of the guests name several owners.
        """
        settled = owner.read(self.instances)
        if settled is None:
            settled = self._owner = owner.make(self.instances, self._lost(connection))
        return settled

    def read(self, domain: libvirt.virDomain) -> Reading | None:
        """Return all that libvirt has about a guest.

        :return: None if the domain is not a guest of this driver.
        :raises MetadataDamaged: if the metadata cannot be understood.
        """
        inactive, live = domains.descriptions(domain)
        stored = self._owned_content(domain, live or inactive)
        if stored is None:
            return None
        unchanged = Description.latest(stored.directory).has_digest_of(inactive)
        find_note = functools.partial(self._baseline, inactive, version(domain.connect()))
        return Reading(stored, inactive, live, unchanged=unchanged, find_note=find_note)

    def description(self, domain: libvirt.virDomain) -> str:
        """Return the XML of a domain with its baseline, for :meth:`define_again`."""
        inactive = domains.description(domain)
        note = self._baseline(inactive)
        return inactive if note is None else comparison.noted(inactive, [note])

    def define(self, connection: libvirt.virConnect, xml: str) -> None:
        """Define a guest's domain, or its new description from the next power-on, as this driver's.

        The guest's directory gets a copy of the description, which no other client can remove.

        :param xml: XML of this package, which libvirt checks against its own schema.
        """
        described, carried = comparison.split(self._claimed(connection, xml))
        made = domains.description(domains.define(connection, described))
        note = comparison.note(described, carried, made, version(connection))
        self._keep(comparison.noted(described, [note]), None if carried else made)

    def define_again(self, connection: libvirt.virConnect, xml: str) -> None:
        """Define a guest's domain, as :meth:`define`, from XML that libvirt itself has written.

        A domain that another client has renamed keeps its name.  The XML may come from another
        driver, and the files may have moved: the guest then is this driver's, with its files here.
        """
        uuid, claim = metadata.uuid(xml), metadata.claim(xml)
        present = domains.lookup(connection, uuid)
        if present is not None:
            xml = metadata.renamed(xml, present.name())
        if claim is not None:
            xml = source_xml.moved(xml, claim.directory, self.instances / uuid)
        described, notes = comparison.split(self._claimed(connection, xml))
        note = self._baseline(xml)
        if not notes and note is not None:
            notes = [note]
        domains.define_again(connection, described)
        self._keep(comparison.noted(described, notes))

    def describe_again(self, connection: libvirt.virConnect, xml: str) -> None:
        """Store a description in a domain whose metadata another client has removed or damaged.

        :param xml: the domain with the description, which is intact.
        """
        domain = domains.lookup(connection, metadata.uuid(xml))
        stored = metadata.read(self._claimed(connection, xml))
        if domain is not None and stored is not None:
            contents = metadata.contents(stored, stored.guest)
            for flags in (libvirt.VIR_DOMAIN_AFFECT_CONFIG, libvirt.VIR_DOMAIN_AFFECT_LIVE):
                domains.describe(domain, contents, flags)

    def _directory(self, domain: libvirt.virDomain) -> Path:
        """Return the directory that a domain's files have if the domain is this driver's."""
        return self.instances / str(domain.UUIDString())

    def _is(self, directory: Path, uuid: str) -> bool:
        """Tell by the path whether a directory is a guest's; paths compare slower than text."""
        return str(directory) == f"{self.instances}/{uuid}"

    def _has_lost_domain(self, uuid: str) -> bool:
        """Tell whether the files of a guest without a domain are not kept by the driver itself."""
        directory = self.instances / uuid
        return Description.latest(directory).exists() and not Description.kept(directory).exists()

    def _owns(self, uuid: str, told: Told) -> bool:
        claim = told.claim
        if claim is None:
            return False
        owners = {claim.owner, self.owner}
        known = None not in owners
        same = len(owners) == 1
        if self._is(claim.directory, uuid):
            return same or not known
        directory = self.instances / uuid
        try:
            return claim.directory.samefile(directory)
        except OSError:  # a directory is gone, or another user's
            # A clone, which another client has made with the same metadata, has another UUID.
            named = claim.directory.name == directory.name
            return known and same and named and is_gone(claim.directory)

    def _claimed(self, connection: libvirt.virConnect, xml: str) -> str:
        directory = self.instances / metadata.uuid(xml)
        if directory.is_dir():
            self.settle(connection)
        if self.instances.is_dir():
            owner.note_host(self.instances)
        return metadata.claimed(xml, metadata.Claim(directory, self.owner))

    def _lost(self, connection: libvirt.virConnect) -> str | None:
        """Return the owner that a lost file had, by the domains of the guests; None if unknown."""
        owners = {claim.owner for claim in self._claims(connection)} or {self.owner}
        if len(owners) > 1:
            raise exceptions.HostError(
                f"{self.instances} lacks its file {owner.FILE}, and its guests have several owners;"
                f" write one of them into the file: {', '.join(sorted(map(str, owners)))}"
            )
        return owners.pop()

    def _claims(self, connection: libvirt.virConnect) -> list[metadata.Claim]:
        """Return all claims of owners to a directory of a guest here."""
        claims = (told.claim for told in self.known.told(connection.listAllDomains()).values())
        return [
            claim
            for claim in claims
            if claim and claim.owner and claim.directory.parent == self.instances
        ]

    def _baseline(self, xml: str, made_by: int | None = None) -> Element | None:
        """Return the note about a domain that this driver has defined last, with present paths.

        :param made_by: the version of libvirt that must have made the domain.
        """
        uuid = metadata.uuid(xml)
        latest = Description.latest(self.instances / uuid).intact()
        if latest is None or metadata.text(latest) != metadata.text(xml):
            return None  # the file of the last description could not be written
        claim = metadata.claim(latest)
        if claim is not None:
            latest = source_xml.moved(latest, claim.directory, self.instances / uuid)
        return comparison.baseline(latest, made_by)

    def _keep(self, xml: str, made: str | None = None) -> None:
        """Write the description of a domain; see :meth:`Description.write`."""
        directory = self.instances / metadata.uuid(xml)
        try:
            if directory.is_dir():
                Description.latest(directory).write(xml, made)
        except (OSError, exceptions.HostError) as error:
            # On a full disk guests go on; the next definition tries again.
            LOG.warning("The description of guest %s is not kept: %s", directory.name, error)


def _stored(domain: libvirt.virDomain, told: Told) -> metadata.Stored | None:
    """Return the content of a domain's metadata.

    :raises MetadataDamaged: if the metadata cannot be understood, or describe another guest.
    """
    try:
        stored = told.stored
        if stored is not None:
            metadata.check_uuid(stored, domain.UUIDString())
    except exceptions.MetadataDamaged as error:
        raise exceptions.MetadataDamaged(f"domain {domain.name()!r}: {error}") from error
    return stored


def is_gone(directory: Path) -> bool:
    """Tell whether a directory that a domain claims is gone, and not only out of reach."""
    try:
        os.stat(directory)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # another user's, or of a storage that does not answer
        return False
    return False
