# SPDX-License-Identifier: Apache-2.0
"""The files among a guest's files that describe its domain, for when libvirt does not.

Each file is the XML of the whole domain, whose metadata describes the guest:

=======================  =======================================================================
``.domain.xml``          the domain as this driver has defined it last, written by each definition;
                         with it a domain or metadata comes back that another client has removed
``domain.xml``           the domain as libvirt had it when the guest was destroyed and its files
                         kept; it goes when the files have a domain again
``resize.*/domain.xml``  the domain as libvirt had it before a resize, beside the old files
=======================  =======================================================================
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

from lxml import etree

from compute_driver import exceptions
from compute_driver.storage import layout
from compute_driver.system import files
from compute_driver.system.filesystem import host_errors
from compute_driver.xml import metadata


@dataclasses.dataclass(frozen=True)
class Description:
    """A file that may describe the domain of a guest.

    :param path: the file.
    :param uuid: the guest's UUID.
    """

    path: Path
    uuid: str

    @classmethod
    def latest(cls, directory: Path) -> Description:
        """Return the description of the domain that this driver has defined last.

        :param directory: the guest's own directory, which has the guest's UUID as name.
        """
        return cls(directory / layout.LATEST, directory.name)

    @classmethod
    def kept(cls, directory: Path, files: str = "") -> Description:
        """Return the description that is kept with files of a guest.

        :param directory: see :meth:`latest`.
        :param files: the name of the directory of the files before a resize.
        """
        return cls(directory / files / layout.DESCRIPTION, directory.name)

    def exists(self) -> bool:
        """Tell whether the file exists."""
        return self.path.exists()

    def write(self, xml: str, made: str | None = None) -> None:
        """Replace the file.

        :param xml: the domain.
        :param made: the XML that libvirt has made of the domain, from its next power-on; None if
            the domain carries values of other clients.
        :raises HostError: if the operating system refuses.
        """
        digest = "" if made is None else _digest(made)
        with files.new_file(self.path) as path:
            path.write_text(digest + xml)

    def has_digest_of(self, made: str) -> bool:
        """Tell whether no other client has changed a domain since the file was written.

        :param made: the domain's XML from its next power-on, as libvirt has it now.
        :return: False also if this is not known.
        """
        digest = _digest(made).encode()
        try:
            with open(self.path, "rb") as file:
                return file.read(len(digest)) == digest
        except OSError:
            return False

    def remove(self) -> None:
        """Remove the file; nothing without the file."""
        self.path.unlink(missing_ok=True)

    def read(self) -> str:
        """Return the XML of the domain.

        :raises MetadataDamaged: if the file is damaged, or describes another guest or none.
        :raises HostError: if the file cannot be read.
        """
        with host_errors(f"{self.path} cannot be read"):
            xml = self.path.read_text(errors="replace")
        damage = exceptions.MetadataDamaged(f"{self.path} does not describe guest {self.uuid}")
        try:
            if metadata.read(xml) is None or metadata.uuid(xml) != self.uuid:
                raise damage
        except (exceptions.MetadataDamaged, ValueError) as error:
            raise damage from error
        return xml

    def name(self) -> str | None:
        """Return the name of the domain; None without a file that describes the guest."""
        try:
            xml = self.path.read_text(errors="replace")
            return metadata.name(xml) if metadata.uuid(xml) == self.uuid else None
        except (OSError, etree.XMLSyntaxError):
            return None

    def intact(self) -> str | None:
        """Return the XML of the domain; None if :meth:`read` raises an error."""
        try:
            return self.read()
        except (exceptions.HostError, exceptions.MetadataDamaged):
            return None


def _digest(made: str) -> str:
    """Return the first line of a file: an XML comment."""
    return f"<!-- SHA-256 of libvirt's form: {hashlib.sha256(made.encode()).hexdigest()} -->\n"
