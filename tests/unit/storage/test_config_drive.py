# SPDX-License-Identifier: Apache-2.0
"""The documents of the config drive, and refused values."""

from __future__ import annotations

import base64
import dataclasses
import json
import unittest
from typing import Any

from compute_driver import exceptions
from compute_driver.choices import InterfaceKind
from compute_driver.guest import ConfigDrive, Guest, Image, Interface, StaticAddress
from compute_driver.storage import config_drive

UUID = "0f0c8d5e-6f0b-4c1b-9a39-0d7a58a4c1d1"
MAC = "52:54:00:00:00:03"
SECRET = "s3cret"


GUEST = Guest(
    uuid=UUID,
    name="a guest",
    architecture="x86_64",
    image=Image(location="/images/a"),
    interfaces=(
        Interface(mac="52:54:00:00:00:01"),
        Interface(kind=InterfaceKind.NETWORK, source="default", mac="52:54:00:00:00:02"),
    ),
)


def document(name: str, **fields: Any) -> Any:
    config = ConfigDrive(**{"hostname": "a", **fields})
    return json.loads(config_drive.contents(config, GUEST)[name])


def ids(documents: list[dict[str, str]]) -> list[str]:
    return [each["id"] for each in documents]


class MetaDataTest(unittest.TestCase):
    def test_meta_data_of_every_guest(self) -> None:
        found = document("meta_data.json", hostname="b\u00fccher.example")
        self.assertEqual(len(base64.b64decode(found.pop("random_seed"))), 512)
        self.assertEqual(
            found,
            {"uuid": UUID, "name": "a guest", "hostname": "b\u00fccher.example", "launch_index": 0},
        )

    def test_given_values_are_in_the_meta_data(self) -> None:
        found = document(
            "meta_data.json",
            public_keys={"me": "ssh-ed25519 AAAA me@here"},
            meta={"role": "web", "note": "two\nlines", "empty": ""},
            admin_password=SECRET,
        )
        self.assertEqual(found["public_keys"], {"me": "ssh-ed25519 AAAA me@here"})
        self.assertEqual(
            found["keys"], [{"name": "me", "type": "ssh", "data": "ssh-ed25519 AAAA me@here"}]
        )
        self.assertEqual(found["meta"], {"role": "web", "note": "two\nlines", "empty": ""})
        self.assertEqual(found["admin_pass"], SECRET)

    def test_only_the_random_seed_differs(self) -> None:
        first, second = document("meta_data.json"), document("meta_data.json")
        self.assertNotEqual(first.pop("random_seed"), second.pop("random_seed"))
        self.assertEqual(first, second)


class OtherDocumentsTest(unittest.TestCase):
    def test_network_data_has_a_link_for_each_interface(self) -> None:
        found = document("network_data.json")
        self.assertEqual(
            [link["ethernet_mac_address"] for link in found["links"]],
            ["52:54:00:00:00:01", "52:54:00:00:00:02"],
        )
        self.assertEqual(
            [(net["link"], net["type"], net["network_id"]) for net in found["networks"]],
            [("interface0", "ipv4_dhcp", "user"), ("interface1", "ipv4_dhcp", "default")],
        )
        self.assertEqual({link["id"] for link in found["links"]}, {"interface0", "interface1"})
        self.assertEqual(found["services"], [])

    def test_network_data_has_static_addresses_and_the_largest_packet(self) -> None:
        bridge = Interface(kind=InterfaceKind.BRIDGE, source="br0", mac=MAC, mtu=1400)
        guest = dataclasses.replace(GUEST, interfaces=(*GUEST.interfaces, bridge))
        config = ConfigDrive(
            hostname="a",
            addresses={
                MAC: (
                    StaticAddress(address="192.0.2.5/24", gateway="192.0.2.1"),
                    StaticAddress(address="2001:db8::5/64", gateway="fe80::1"),
                    StaticAddress(address="192.0.2.6/25"),
                )
            },
            name_servers=("192.0.2.53",),
        )
        found = json.loads(config_drive.contents(config, guest)["network_data.json"])
        self.assertEqual(found["links"][2]["mtu"], 1400)
        self.assertNotIn("mtu", found["links"][0])
        self.assertEqual([f"network{number}" for number in range(5)], ids(found["networks"]))
        place = {"link": "interface2", "network_id": "br0"}
        self.assertEqual(
            [
                {
                    "id": "network2",
                    "type": "ipv4",
                    **place,
                    "ip_address": "192.0.2.5",
                    "netmask": "255.255.255.0",
                    "routes": [
                        {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"}
                    ],
                },
                {
                    "id": "network3",
                    "type": "ipv6",
                    **place,
                    "ip_address": "2001:db8::5",
                    "netmask": "ffff:ffff:ffff:ffff::",
                    "routes": [{"network": "::", "netmask": "::", "gateway": "fe80::1"}],
                },
                {
                    "id": "network4",
                    "type": "ipv4",
                    **place,
                    "ip_address": "192.0.2.6",
                    "netmask": "255.255.255.128",
                    "routes": [],
                },
            ],
            found["networks"][2:],
        )
        self.assertEqual([{"type": "dns", "address": "192.0.2.53"}], found["services"])

    def test_vendor_data_is_empty(self) -> None:
        self.assertEqual(document("vendor_data.json"), {})
        self.assertEqual(document("vendor_data2.json"), {})

    def test_user_data_is_carried_byte_for_byte(self) -> None:
        for data in (b"", b"#!/bin/sh\r\n", bytes(range(256)) * 255 + bytes(255)):
            config = ConfigDrive(hostname="a", user_data=data)
            self.assertEqual(config_drive.contents(config, GUEST)["user_data"], data)

    def test_without_user_data_there_is_no_file(self) -> None:
        self.assertNotIn("user_data", config_drive.contents(ConfigDrive(hostname="a"), GUEST))


class RefusalTest(unittest.TestCase):
    def test_the_error_names_the_field_and_shows_no_secret(self) -> None:
        cases: tuple[tuple[str, object], ...] = (
            ("hostname", ""),
            ("hostname", "a b"),
            ("hostname", "a/b"),
            ("hostname", "a\nb"),
            ("hostname", "a" * 256),
            ("hostname", None),
            ("public_keys", {"me": f"ssh-rsa {SECRET}\n"}),
            ("public_keys", {"me": SECRET * 10000}),
            ("public_keys", {"me": ""}),
            ("public_keys", {"me": SECRET.encode()}),
            ("public_keys", {"m\ne": SECRET}),
            ("meta", {"number": 1}),
            ("meta", {1: SECRET}),
            ("meta", {"": SECRET}),
            ("meta", {"a\nb": SECRET}),
            ("meta", {"long": SECRET * 100}),
            ("meta", {"half": SECRET + "\udc80"}),
            ("admin_password", ""),
            ("admin_password", SECRET + "\n"),
            ("admin_password", SECRET * 100),
            ("admin_password", 1),
            ("user_data", SECRET),
        )
        for field, value in cases:
            config = ConfigDrive(**{"hostname": "a", field: value})  # type: ignore[arg-type]
            with self.subTest(field=field, value=value):
                with self.assertRaises(exceptions.InvalidParameter) as caught:
                    config_drive.contents(config, GUEST)
                self.assertEqual(caught.exception.field, field)
                self.assertNotIn(SECRET, str(caught.exception))
                self.assertNotIn("\n", str(caught.exception))
