# SPDX-License-Identifier: Apache-2.0
"""Static addresses that no host can have, and gateways that no host can reach, are refused."""

from __future__ import annotations

import unittest

from compute_driver import exceptions
from compute_driver.guest import ConfigDrive, StaticAddress

# Of one host only in the guest itself, of several hosts, or of no host.
NO_HOST = (
    *("192.0.2.0/24", "192.0.2.255/24", "224.0.0.1/4", "255.255.255.255/32", "0.0.0.0/0"),
    *("127.0.0.1/8", "::1/128", "::/64", "ff02::1/64", "fe80::1%eth0/64", "2001:db8::/64"),
    *("192.0.2.5", "web/24", "192.0.2.5/33", ""),
)
HOSTS = (
    *("192.0.2.1/24", "192.0.2.254/24", "192.0.2.0/31", "192.0.2.1/31", "192.0.2.0/32"),
    *("2001:db8::1/64", "2001:db8::/127", "2001:db8::1/127", "2001:db8::/128", "fe80::5/64"),
    "2001:db8::ffff:ffff:ffff:ffff/64",
)

# Of the host 192.0.2.5/24 or 2001:db8::5/64.
BAD_GATEWAYS = (
    *("192.0.2.5", "192.0.2.0", "192.0.2.255", "198.51.100.1", "0.0.0.0", "2001:db8::1", "fe80::1"),
    *("web", ""),
)
BAD_GATEWAYS_6 = ("2001:db8::5", "2001:db8:1::1", "ff02::2", "::1", "fe80::1%eth0", "192.0.2.1")


class StaticAddressTest(unittest.TestCase):
    def test_address_that_no_host_can_have_is_refused(self) -> None:
        for text in NO_HOST:
            with (
                self.subTest(text),
                self.assertRaisesRegex(exceptions.InvalidParameter, "nic address: .*; accepted"),
            ):
                StaticAddress(address=text)

    def test_every_host_has_its_address(self) -> None:
        for text in HOSTS:
            with self.subTest(text):
                self.assertEqual(text.partition("/")[0], str(StaticAddress(address=text).ip))

    def test_gateway_is_another_host_in_the_network(self) -> None:
        for address, gateways in (
            ("192.0.2.5/24", BAD_GATEWAYS),
            ("2001:db8::5/64", BAD_GATEWAYS_6),
        ):
            for gateway in gateways:
                with (
                    self.subTest(gateway),
                    self.assertRaisesRegex(exceptions.InvalidParameter, "nic gateway: .*accepted"),
                ):
                    StaticAddress(address=address, gateway=gateway)

    def test_gateway_of_a_small_network_and_link_local_one(self) -> None:
        for address, gateway in (
            ("192.0.2.0/31", "192.0.2.1"),
            ("2001:db8::1/127", "2001:db8::"),
            ("2001:db8::5/128", "fe80::1"),
            ("2001:db8::5/64", "2001:db8::"),
        ):
            with self.subTest(address):
                StaticAddress(address=address, gateway=gateway)


class ConfigDriveTest(unittest.TestCase):
    def test_two_interfaces_have_two_addresses(self) -> None:
        ours = (StaticAddress(address="192.0.2.5/24"),)
        same = (StaticAddress(address="192.0.2.5/25"),)
        with self.assertRaisesRegex(exceptions.InvalidParameter, "another address"):
            ConfigDrive(hostname="web", addresses={"52:54:00:0:0:1": ours, "52:54:00:0:0:2": same})

    def test_name_server_is_one_host(self) -> None:
        for text in ("0.0.0.0", "::", "224.0.0.251", "255.255.255.255", "ff02::1", "web", ""):
            with (
                self.subTest(text),
                self.assertRaisesRegex(exceptions.InvalidParameter, "name server"),
            ):
                ConfigDrive(hostname="web", name_servers=(text,))
        self.assertTrue(ConfigDrive(hostname="web", name_servers=("127.0.0.1", "fe80::1%eth0")))
