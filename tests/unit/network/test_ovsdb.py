# SPDX-License-Identifier: Apache-2.0
"""What is made of the answers of Open vSwitch's database."""

from __future__ import annotations

import unittest
from unittest import mock

from compute_driver import exceptions
from compute_driver.network import ovsdb

ADDRESS = "unix:/run/db.sock"


def answer(*results: object) -> mock._patch[mock.MagicMock]:
    return mock.patch.object(ovsdb, "call", autospec=True, return_value=list(results))


class ReadTest(unittest.TestCase):
    def test_ports_are_found_in_their_bridges(self) -> None:
        bridges = [
            {"name": "br0", "datapath_type": "", "ports": ["uuid", "a"]},
            {"name": "br1", "datapath_type": "netdev", "ports": ["set", [["uuid", "b"]]]},
            {"name": "br2", "datapath_type": "", "ports": ["set", []]},
        ]
        ports = [{"_uuid": ["uuid", name], "name": f"port-{name}"} for name in ("a", "b")]
        interfaces = [
            {"name": "port-a", "external_ids": ["map", [["vm-uuid", "1"]]]},
            {"name": "port-b", "external_ids": ["map", []]},
        ]
        with answer({"rows": bridges}, {"rows": ports}, {"rows": interfaces}):
            switch = ovsdb.read_switch(ADDRESS)
        self.assertEqual({"br0": "system", "br1": "netdev", "br2": "system"}, switch.datapaths)
        self.assertEqual(
            {
                "port-a": ovsdb.Port("br0", {"vm-uuid": "1"}),
                "port-b": ovsdb.Port("br1", {}),
            },
            switch.ports,
        )

    def test_refusal_of_the_database_is_told(self) -> None:
        refused = answer({"error": "not allowed", "details": "read only"})
        with refused, self.assertRaisesRegex(exceptions.OpenVSwitchUnavailable, "read only"):
            ovsdb.note(ADDRESS, "tap1", "key", "value")
