# SPDX-License-Identifier: Apache-2.0
"""Servers that move to another host by evacuation while this host is down."""

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
    #: Nova asks the other host, which does not exist, and gets no answer.
    extra = "[DEFAULT]\nrpc_response_timeout = 5\n"

    def test_evacuated_server_is_removed_and_others_stay(self) -> None:
        other, boot = self.booted()
        server = self.make()
        server.wait("ACTIVE")
        lifecycle.end_compute(CLOUD)
        # The row that nova writes at an evacuation, which would need a second host.
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
            eventually("no trace of the server", DEADLINE, lambda: not self.traces(server))
        self.assertEqual(boot, other.boot_id())
        self.keep(other)

    def traces(self, server: Server) -> list[str]:
        """Return a server's traces but its disks, which the other host does not claim."""
        traces = server.traces()
        return [name for name in traces if not (name.startswith("file ") or "neutron" in name)]

    def move(self, server: str, host: str) -> None:
        """Write another host into nova's row of a server."""
        self.execute(f"UPDATE instances SET host='{host}', node='{host}' WHERE uuid='{server}'")

    def execute(self, statement: str) -> None:
        databases.execute(CLOUD, f"USE nova_cell1; {statement}", CLOUD.log / "evacuation.log")
