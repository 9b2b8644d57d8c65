# SPDX-License-Identifier: Apache-2.0
"""Which domains of a libvirt are guests of this driver."""

from __future__ import annotations

import tempfile
import unittest
import uuid
from pathlib import Path
from unittest import mock

import libvirt
from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import Accelerator
from compute_driver.guest import Disk, Guest
from compute_driver.hardware.acceleration import Decision
from compute_driver.libvirt import domain as domains
from compute_driver.libvirt.description import Description
from compute_driver.libvirt.known import Known
from compute_driver.libvirt.ownership import Ownership
from compute_driver.storage import owner
from compute_driver.xml import comparison, metadata

UUID = str(uuid.uuid4())
OTHER = str(uuid.uuid4())
GUEST = Guest(uuid=UUID, name="a", architecture="x86_64", root=Disk(size_bytes=512))


def stored(directory: Path, owned_by: str | None) -> metadata.Stored:
    """Return what a domain with a claim stores."""
    decision = Decision(Accelerator.TCG, "", False)
    return metadata.Stored(guest=GUEST, directory=directory, decision=decision, owner=owned_by)


def metadata_text(directory: Path, owned_by: str | None) -> str:
    """Return the metadata of a domain as libvirt returns it."""
    (content,) = metadata.contents(stored(directory, owned_by), GUEST)
    return str(content.text)


def domain_xml(directory: Path, owned_by: str | None) -> str:
    """Return a domain with a claim."""
    found = stored(directory, owned_by)
    element = metadata.element(GUEST, directory, found.decision, owned_by)
    domain = etree.fromstring(f"<domain><name>a</name><uuid>{UUID}</uuid><metadata/></domain>")
    domain[2].append(element)
    return etree.tostring(domain, encoding="unicode")


class OwnershipTestCase(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.instances = Path(holder.name, "instances")
        self.directory = self.instances / UUID
        self.elsewhere = Path(holder.name, "elsewhere", UUID)
        self.ownership = Ownership(self.instances, Known())
        self.domain = mock.create_autospec(libvirt.virDomain, instance=True)
        self.domain.UUIDString.return_value, self.domain.name.return_value = UUID, "a"
        self.connection = mock.create_autospec(libvirt.virConnect, instance=True)
        self.connection.listAllDomains.return_value = [self.domain]
        self.connection.lookupByUUIDString.return_value = self.domain
        self.claim(self.elsewhere)

    def own(self) -> str:
        """Make this driver's owner and the guest's directory."""
        self.directory.mkdir(parents=True)
        return owner.make(self.instances)

    def claim(self, directory: Path, owned_by: str | None = None) -> None:
        """Give the domain's metadata a claim."""
        self.domain.metadata.return_value = metadata_text(directory, owned_by)

    def assert_ours(self, expected: bool) -> None:
        self.assertIs(expected, self.ownership.owns(self.domain))
        found = self.ownership.stored(self.domain)
        self.assertEqual(self.directory if expected else None, found and found.directory)


class OwnerlessTest(OwnershipTestCase):
    """Domains from before owners, or a driver whose owner is not known."""

    def test_domain_without_metadata_is_not(self) -> None:
        self.directory.mkdir(parents=True)
        self.domain.metadata.return_value = ""
        self.assert_ours(False)

    def test_noted_directory_is_ours_even_without_files(self) -> None:
        for claimed in (None, OTHER):
            self.claim(self.directory, claimed)
            self.assert_ours(True)

    def test_noted_directory_elsewhere_is_not(self) -> None:
        for path in (self.elsewhere, self.directory):
            self.assert_ours(False)
            path.mkdir(parents=True)
        self.assert_ours(False)

    def test_old_domain_of_a_driver_with_an_owner(self) -> None:
        self.own()
        self.assert_ours(False)  # the noted directory is gone
        self.claim(self.directory)
        self.assert_ours(True)

    def test_files_are_here_by_another_path(self) -> None:
        self.directory.mkdir(parents=True)
        self.elsewhere.parent.symlink_to(self.instances)
        self.assert_ours(True)

    def test_directory_that_cannot_be_looked_at_is_another_drivers(self) -> None:
        self.directory.mkdir(parents=True)
        with mock.patch.object(Path, "samefile", side_effect=PermissionError(13, "denied")):
            self.assert_ours(False)


class OwnerTest(OwnershipTestCase):
    def test_directories_that_moved_with_their_owner(self) -> None:
        self.claim(self.elsewhere, self.own())
        self.assert_ours(True)

    def test_clone_by_another_client_is_none_even_without_its_original(self) -> None:
        self.own()
        self.claim(self.instances / OTHER, self.ownership.owner)
        self.assert_ours(False)

    def test_copy_beside_the_original_takes_no_guest(self) -> None:
        self.claim(self.elsewhere, self.own())
        self.elsewhere.mkdir(parents=True)
        self.assert_ours(False)
        self.claim(self.directory, self.ownership.owner)
        self.assert_ours(True)

    def test_directory_of_the_same_path_on_another_host_is_not(self) -> None:
        self.own()
        self.claim(self.directory, OTHER)
        self.assert_ours(False)

    def test_link_to_the_directory_proves_the_guest_of_another_owner(self) -> None:
        self.own()
        self.elsewhere.parent.symlink_to(self.instances)
        self.claim(self.elsewhere, OTHER)
        self.assert_ours(True)

    def test_original_that_cannot_be_looked_at_may_be_there(self) -> None:
        self.claim(self.elsewhere, self.own())
        with mock.patch("os.stat", side_effect=PermissionError(13, "denied")):
            self.assertFalse(self.ownership.owns(self.domain))

    def test_owner_is_read_once_when_it_is_known(self) -> None:
        self.assertIsNone(self.ownership.owner)
        made = self.own()
        with mock.patch.object(owner, "read", side_effect=owner.read) as read:
            for _twice in range(2):
                self.assertEqual(made, self.ownership.owner)
        read.assert_called_once()

    def test_question_takes_one_call(self) -> None:
        self.claim(self.directory, self.own())
        self.ownership.owns(self.domain)
        self.domain.metadata.assert_called_once()
        self.assertEqual([], self.connection.method_calls)


class StorageTest(OwnershipTestCase):
    def test_new_guest_is_refused_while_the_storage_of_others_is_away(self) -> None:
        self.claim(self.directory, OTHER)
        with self.assertRaisesRegex(exceptions.HostError, f"{UUID}; mount its storage"):
            self.ownership.require_storage(self.connection)
        self.assertFalse(self.instances.exists())

    def test_new_guest_is_made_where_no_guest_is_missed(self) -> None:
        self.ownership.require_storage(self.connection)  # the guest is another driver's
        self.claim(self.directory)
        self.ownership.require_storage(self.connection)  # the guest is from before owners
        self.claim(self.directory, self.own())
        self.ownership.require_storage(self.connection)


class DefinitionTest(OwnershipTestCase):
    def define(self, directory: Path | None = None, owned_by: str | None = None) -> str:
        """Define a domain, and return the XML that libvirt gets."""
        xml = domain_xml(directory or self.directory, owned_by)
        self.connection.defineXMLFlags.return_value = self.domain
        self.connection.getLibVersion.return_value = 9000000
        self.domain.XMLDesc.return_value = xml
        self.ownership.define(self.connection, xml)
        return str(self.connection.defineXMLFlags.call_args.args[0])

    def test_domain_gets_the_owner_and_the_directory(self) -> None:
        made = self.own()
        for owned_by in (None, OTHER):  # from before owners, or from another host
            xml = self.define(self.elsewhere, owned_by)
            self.assertEqual(metadata.Claim(self.directory, made), metadata.claim(xml))

    def test_first_domain_makes_the_owner(self) -> None:
        self.directory.mkdir(parents=True)
        xml = self.define()
        self.assertEqual(
            metadata.Claim(self.directory, owner.read(self.instances)), metadata.claim(xml)
        )

    def test_lost_owner_is_learned_from_the_guests(self) -> None:
        self.directory.mkdir(parents=True)
        self.claim(self.directory, OTHER)
        self.define()
        self.assertEqual(OTHER, owner.read(self.instances))

    def test_owner_that_is_lost_while_the_driver_runs_is_made_again(self) -> None:
        made = self.own()
        self.assertEqual(made, self.ownership.owner)
        (self.instances / owner.FILE).unlink()
        self.define()
        self.assertEqual(made, owner.read(self.instances))

    def test_nothing_is_made_where_the_storage_is_away(self) -> None:
        self.assertEqual(metadata.Claim(self.directory, None), metadata.claim(self.define()))
        self.assertFalse(self.instances.exists())

    def test_several_owners_are_named(self) -> None:
        self.directory.mkdir(parents=True)
        another = mock.create_autospec(libvirt.virDomain, instance=True)
        another.UUIDString.return_value = OTHER
        another.metadata.return_value = metadata_text(self.directory, UUID)
        self.claim(self.directory, OTHER)
        self.connection.listAllDomains.return_value = [self.domain, another]
        with self.assertRaisesRegex(exceptions.HostError, "several owners.*" + OTHER):
            self.define()
        self.connection.defineXMLFlags.assert_not_called()

    def test_description_is_kept_with_the_files(self) -> None:
        self.own()
        xml = self.define()
        latest = Description.latest(self.directory).read()
        self.assertEqual(xml, comparison.split(latest)[0])
        self.assertIsNotNone(comparison.baseline(latest, 9000000))
        self.assertIsNone(comparison.baseline(latest, 9001000))

    def test_description_of_another_guest_or_none_is_not_this_guests(self) -> None:
        self.own()
        latest = Description.latest(self.directory)
        with self.assertRaisesRegex(exceptions.HostError, str(latest.path)):
            latest.read()
        whole = domain_xml(self.directory, None)
        for text in ("\xff<", "", whole.replace(UUID, OTHER), whole.replace("{", "", 1)):
            latest.path.write_text(text, encoding="latin-1")
            with self.subTest(text), self.assertRaisesRegex(exceptions.MetadataDamaged, UUID):
                latest.read()
            self.assertIsNone(latest.intact())

    def test_guest_goes_on_without_its_description_on_a_full_disk(self) -> None:
        self.own()
        full = mock.patch("tempfile.mkstemp", side_effect=OSError(28, "full"))
        with full, self.assertLogs("compute_driver.libvirt.ownership", "WARNING"):
            self.define()
        self.connection.defineXMLFlags.assert_called_once()


class UndefinedTest(OwnershipTestCase):
    """Another client has removed the domain."""

    def setUp(self) -> None:
        super().setUp()
        self.directory.mkdir(parents=True)
        Description.latest(self.directory).write(domain_xml(self.directory, None))
        gone = mock.patch.object(domains, "lookup", return_value=None)
        self.addCleanup(gone.stop)
        gone.start()

    def test_guest_is_found_by_its_name(self) -> None:
        self.assertEqual(UUID, self.ownership.undefined(self.connection, "a"))
        self.assertIsNone(self.ownership.undefined(self.connection, "b"))

    def test_error_by_uuid_names_the_remedy(self) -> None:
        self.assertIn(f"'start {UUID}'", str(self.ownership.not_found(UUID, None)))
        self.assertNotIn("start", str(self.ownership.not_found(OTHER, None)))
        Description.kept(self.directory).write(domain_xml(self.directory, None))
        self.assertNotIn("start", str(self.ownership.not_found(UUID, None)))


class RenamedTest(OwnershipTestCase):
    """Another client has renamed the domain."""

    def setUp(self) -> None:
        super().setUp()
        self.claim(self.directory, self.own())

    def test_guest_has_the_name_of_its_domain(self) -> None:
        for name in ("b", "-c", "x" * 200):  # no guest could be made with the others
            self.domain.name.return_value = name
            found = self.ownership.stored(self.domain)
            assert found is not None
            self.assertEqual(name, found.guest.name)

    def test_old_description_is_defined_under_the_present_name(self) -> None:
        self.domain.name.return_value = "b"
        self.ownership.define_again(self.connection, domain_xml(self.directory, None))
        xml = self.connection.defineXML.call_args.args[0]
        self.assertEqual("b", etree.fromstring(xml).findtext("name"))
