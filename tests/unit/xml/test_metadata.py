# SPDX-License-Identifier: Apache-2.0
"""What a domain's metadata stores comes back equal, secrets excepted."""

from __future__ import annotations

import dataclasses
import unittest
from pathlib import Path

from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import Accelerator
from compute_driver.guest import ConfigDrive, Guest, Image, StaticAddress
from compute_driver.hardware.acceleration import Decision
from compute_driver.xml import metadata
from tests.unit.xml.base import DIRECTORY, FALLBACK, TCG, as_text, guest
from tests.unit.xml.cases import CASES


def text_of(made: Guest, decision: Decision = TCG, directory: Path = DIRECTORY) -> str:
    return etree.tostring(metadata.element(made, directory, decision), encoding="unicode")


def without_secrets(made: Guest) -> Guest:
    def clean(drive: ConfigDrive | None) -> ConfigDrive | None:
        return drive and ConfigDrive(hostname=drive.hostname, addresses=drive.addresses)

    rescue = made.rescue
    if rescue is not None:
        rescue = dataclasses.replace(rescue, config_drive=clean(rescue.config_drive))
    return dataclasses.replace(made, config_drive=clean(made.config_drive), rescue=rescue)


class TestRoundTrip(unittest.TestCase):
    def test_every_guest_comes_back_from_its_domain(self) -> None:
        for name, (made, decision, *_) in CASES.items():
            with self.subTest(name):
                expected = metadata.Stored(
                    guest=without_secrets(made), directory=DIRECTORY, decision=decision
                )
                xml = as_text(made, decision)
                self.assertEqual(expected, metadata.read(xml))

    def test_element_alone_is_enough(self) -> None:
        made = guest()
        stored = metadata.read(text_of(made, FALLBACK))
        self.assertEqual(
            metadata.Stored(guest=made, directory=DIRECTORY, decision=FALLBACK), stored
        )

    def test_element_is_read_as_libvirt_returns_it(self) -> None:
        # virDomainGetMetadata, libvirt 9.0: the namespace and its prefix are gone.
        text = text_of(guest()).replace(f' xmlns:driver="{metadata.NAMESPACE}"', "")
        text = text.replace("driver:guest", "guest")
        self.assertTrue(text.startswith("<guest directory="))
        stored = metadata.read(text)
        assert stored is not None
        self.assertEqual(guest(), stored.guest)

    def test_any_text_survives(self) -> None:
        texts = ("<&>\"']]>", "größe 名前 \U0001f600", " \t\r\n x ", "a\x01\x7f\x85", "\udcff")
        for text in texts:
            with self.subTest(repr(text)):
                made = guest(image=Image(location=f"/images/{text}"))
                stored = metadata.read(text_of(made))
                assert stored is not None
                self.assertEqual(made, stored.guest)

    def test_attributes_keep_their_blanks(self) -> None:
        decision = Decision(Accelerator.KVM, "two\nlines,\ta tab & 'größe'")
        directory = Path("/instances/a  b\tc")
        stored = metadata.read(text_of(guest(), decision, directory))
        assert stored is not None
        self.assertEqual((decision, directory), (stored.decision, stored.directory))


class TestChanges(unittest.TestCase):
    """The metadata and the name of a domain change, and the rest of the domain stays."""

    def test_claim_without_an_owner_keeps_the_owner(self) -> None:
        xml = metadata.claimed(as_text(guest()), metadata.Claim(DIRECTORY, "the owner"))
        self.assertEqual(xml, metadata.claimed(xml, metadata.Claim(DIRECTORY, None)))
        self.assertEqual(as_text(guest()).strip(), xml.replace(' owner="the owner"', ""))

    def test_domain_gets_another_name(self) -> None:
        xml = metadata.renamed(as_text(guest()), "größe & co")
        self.assertEqual("größe & co", etree.fromstring(xml).findtext("name"))
        self.assertEqual(guest().uuid, metadata.uuid(xml))


class TestSecrets(unittest.TestCase):
    def test_static_addresses_are_no_secret(self) -> None:
        static = {
            "52:54:00:00:00:01": (StaticAddress(address="192.0.2.5/24", gateway="192.0.2.1"),)
        }
        made = guest(config_drive=ConfigDrive(hostname="web1", addresses=static))
        stored = metadata.read(text_of(made))
        assert stored is not None
        self.assertEqual(made.config_drive, stored.guest.config_drive)

    def test_secrets_are_neither_written_nor_read(self) -> None:
        made = guest(config_drive=ConfigDrive(hostname="web1", admin_password="hunter2"))
        text = text_of(made)
        for word in ("hunter2", "admin_password", "user_data", "public_keys"):
            self.assertNotIn(word, text)
        forged = text.replace('"hostname"', '"admin_password": "x", "hostname"')
        stored = metadata.read(forged)
        assert stored is not None
        assert stored.guest.config_drive is not None
        self.assertIsNone(stored.guest.config_drive.admin_password)


class TestOtherVersions(unittest.TestCase):
    def test_unknown_keys_are_ignored(self) -> None:
        text = text_of(guest()).replace('{"uuid"', '{"from_the_future": [1], "uuid"')
        text = text.replace(" accelerator=", ' shape="round" accelerator=')
        self.assertIn("from_the_future", text)
        stored = metadata.read(text)
        assert stored is not None
        self.assertEqual(guest(), stored.guest)

    def test_missing_keys_take_their_defaults(self) -> None:
        text = text_of(guest(guest_agent=False)).replace(', "guest_agent": false', "")
        self.assertNotIn("guest_agent", text)
        stored = metadata.read(text)
        assert stored is not None
        self.assertTrue(stored.guest.guest_agent)


class TestForeignAndDamaged(unittest.TestCase):
    def test_domains_of_others_are_none_of_ours(self) -> None:
        for xml in (
            "<domain><name>x</name></domain>",
            "<domain><metadata><a:guest xmlns:a='urn:other'>{}</a:guest></metadata></domain>",
            "<domainsnapshot><domain/></domainsnapshot>",
        ):
            with self.subTest(xml):
                self.assertIsNone(metadata.read(xml))

    def test_claim_is_known_whatever_else_is_damaged(self) -> None:
        xml = as_text(guest()).replace('{"uuid"', "{")
        self.assertEqual(metadata.Claim(DIRECTORY, None), metadata.claim(xml))
        claim = metadata.Claim(Path("/elsewhere/ü <&>"), "the owner")
        self.assertEqual(claim, metadata.claim(metadata.claimed(xml, claim)))
        for nothing in ("", "<domain><name>x</name></domain>"):
            self.assertIsNone(metadata.claim(nothing))

    def test_damage_is_told(self) -> None:
        sound = as_text(guest())
        for name, old, new in (
            ("not JSON", '{"uuid"', '"uuid"'),
            ("required key", '"architecture": "x86_64", ', ""),
            ("wrong type", '"interfaces": [', '"interfaces": 3, "x": ['),
            ("null", '"vcpus": 1', '"vcpus": null'),
            ("unknown word", '"kind": "user"', '"kind": "carrier pigeon"'),
            ("unsound value", '"vcpus": 1', '"vcpus": 0'),
            ("no accelerator", ' accelerator="tcg"', ""),
            ("unknown accelerator", ' accelerator="tcg"', ' accelerator="magic"'),
            ("unknown boolean", ' fallback="false"', ' fallback="perhaps"'),
        ):
            with self.subTest(name):
                self.assertIn(old, sound)
                with self.assertRaisesRegex(exceptions.MetadataDamaged, "cannot be understood"):
                    metadata.read(sound.replace(old, new))

    def test_text_that_is_no_object_is_damage(self) -> None:
        for text in ("", "null", "3", "[]", '"guest"', "{}", '{"image": 3}', '{"cpu": null}'):
            with self.subTest(text):
                sound = metadata.element(guest(), DIRECTORY, TCG)
                sound.text = text
                with self.assertRaises(exceptions.MetadataDamaged):
                    metadata.read(etree.tostring(sound, encoding="unicode"))

    def test_entities_are_not_followed(self) -> None:
        text = text_of(guest())
        bomb = '<!DOCTYPE x [<!ENTITY leak SYSTEM "file:///etc/hostname">]>' + text.replace(
            ">{", ">&leak;{"
        )
        with self.assertRaises(exceptions.MetadataDamaged):
            metadata.read(bomb)
