# SPDX-License-Identifier: Apache-2.0
"""Many servers at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cloud import network, servers
from tests.cloud.case import CLOUD, CloudCase
from tests.cloud.processes import eventually
from tests.cloud.results import recorded

_COUNT = 20

#: Seconds for all servers, emulated on a busy machine.
_SECONDS = 900


class TestMany(CloudCase):
    def test_many_servers_come_at_once_and_leave_nothing(self) -> None:
        before = _traces()
        begun = servers.create(CLOUD, count=_COUNT)
        for server in begun:
            self.addCleanup(server.close)
        self.assertEqual(_COUNT, len(begun))
        with recorded(f"boot of {_COUNT}"):
            eventually(
                f"{_COUNT} servers",
                _SECONDS,
                lambda: all(server.status != "BUILD" for server in begun),
            )
        self.assertEqual({"ACTIVE"}, {server.status for server in begun})
        with recorded(f"SSH to {_COUNT}"), ThreadPoolExecutor(_COUNT) as pool:
            self.assertEqual(
                _COUNT, len(set(pool.map(lambda server: server.boot_id(_SECONDS), begun)))
            )
        self.assertEqual([1] * _COUNT, [len(server.allocations()) for server in begun])
        with recorded(f"delete of {_COUNT}"):
            for server in begun:
                server.request_deletion()
            for server in begun:
                server.wait_gone()
        eventually("nothing left", _SECONDS, lambda: _traces() == before)
        self.assertEqual([{}] * _COUNT, [server.allocations() for server in begun])


def _traces() -> set[str]:
    """Return all traces of guests on this machine."""
    return {
        *servers.domains(CLOUD),
        *(path.name for path in (CLOUD.state / "nova/instances").iterdir() if "-" in path.name),
        *(path.name for path in Path("/sys/class/net").glob("tap*")),
        *(name for name in network.vsctl(CLOUD, "list-ports", "br-int").split() if "tap" in name),
    }
