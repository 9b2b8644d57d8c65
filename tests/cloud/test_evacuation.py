# SPDX-License-Identifier: Apache-2.0
"""Servers that were evacuated to another host while this one was down."""

from __future__ import annotations

import platform

from tests.cloud import databases, lifecycle
from tests.cloud.case import CLOUD, CloudCase
from tests.cloud.processes import eventually
from tests.cloud.results import recorded
from tests.cloud.servers import DEADLINE, Server

_HERE = platform.node()
_ELSEWHERE = "elsewhere"


class TestEvacuation(CloudCase):
    #: The other host, which there is not, is asked something.
    extra = "[DEFAULT]\nrpc_response_timeout = 5\n"

    def test_evacuated_server_is_removed_and_others_stay(self) -> None:
        other, boot = self.booted()
        server = self.make()
        server.wait("ACTIVE")
        lifecycle.end_compute(CLOUD)
        # What nova notes at an evacuation, for which it takes a second host.
        columns = ("source_compute", "source_node", "dest_compute", "dest_node")
        values = (_HERE, _HERE, _ELSEWHERE, _ELSEWHERE)
        names, words = ", ".join(columns), ", ".join(f"'{value}'" for value in values)
        self.execute(
            "INSERT INTO migrations "
            f"(created_at, deleted, status, migration_type, instance_uuid, uuid, {names}) "
            f"VALUES (NOW(), 0, 'done', 'evacuation', '{server.id}', UUID(), {words})"
        )
        self.move(server.id, _ELSEWHERE)
        self.addCleanup(self.move, server.id, _HERE)
        with recorded("evacuated server removed at start"):
            lifecycle.start_compute(CLOUD)
            eventually("nothing of it here", DEADLINE, lambda: not self.traces(server))
        self.assertEqual(boot, other.boot_id())
        self.keep(other)

    def traces(self, server: Server) -> list[str]:
        """Returns what runs of it: its disks stay, as the other host does not say it has them."""
        found = server.traces()
        return [each for each in found if not each.startswith("file ") and "neutron" not in each]

    def move(self, server: str, host: str) -> None:
        """Has nova know a server on a host."""
        self.execute(f"UPDATE instances SET host='{host}', node='{host}' WHERE uuid='{server}'")

    def execute(self, statement: str) -> None:
        databases.execute(CLOUD, f"USE nova_cell1; {statement}", CLOUD.log / "evacuation.log")
