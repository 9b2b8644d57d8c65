# SPDX-License-Identifier: Apache-2.0
"""nova-compute ends by SIGTERM or SIGKILL, and starts again."""

from __future__ import annotations

import signal
import time

from tests.cloud import lifecycle, servers
from tests.cloud.case import CLOUD, CloudCase
from tests.cloud.processes import Process, eventually
from tests.cloud.results import note, recorded
from tests.cloud.servers import DEADLINE, Server

#: Actions with a server before nova-compute ends and after it runs again, by status.
_STATES = {
    "ACTIVE": ((), ()),
    "PAUSED": (("pause", "PAUSED"), ("unpause", "ACTIVE")),
    "SUSPENDED": (("suspend", "SUSPENDED"), ("resume", "ACTIVE")),
    "SHUTOFF": (("stop", "SHUTOFF"), ("start", "ACTIVE")),
}


class TestRestart(CloudCase):
    def test_nova_compute_is_told_to_end(self) -> None:
        self.survives(signal.SIGTERM)

    def test_nova_compute_is_killed(self) -> None:
        self.survives(signal.SIGKILL)

    def survives(self, number: signal.Signals) -> None:
        """Restart nova-compute with a server in each status."""
        begun = dict(zip(_STATES, servers.create(CLOUD, count=len(_STATES)), strict=True))
        boots = {}
        for status, server in begun.items():
            self.addCleanup(server.close)
            server.wait("ACTIVE")
            boots[status] = server.boot_id()
            if before := _STATES[status][0]:
                server.act(*before)
        emulators = servers.emulators(CLOUD)
        with recorded(f"restart of nova-compute after {number.name}"):
            lifecycle.end_compute(CLOUD, number)
            lifecycle.start_compute(CLOUD)
        self.assertEqual(emulators, servers.emulators(CLOUD))
        # A starting nova-compute may correct statuses in its first seconds.
        time.sleep(5)
        self.assertEqual({status: status for status in begun}, _statuses(begun))
        for status, server in begun.items():
            if after := _STATES[status][1]:
                server.act(*after)
            same = status != "SHUTOFF"
            self.assertIs(same, boots[status] == server.boot_id(), status)

    def test_nova_compute_is_killed_as_a_server_is_made(self) -> None:
        half_made = 0
        for wait in (0.0, 0.2, 0.6):
            with self.subTest(wait=wait), recorded("nova-compute killed in the middle of a boot"):
                half_made += self.is_half_made(self.make(), wait)
        self.assertGreater(half_made, 0, "each boot was over before nova-compute was killed")

    def is_half_made(self, server: Server, wait: float) -> bool:
        """Kill nova-compute while it makes a server, and tell whether the server was unfinished."""
        server.begin("spawning")
        time.sleep(wait)
        lifecycle.end_compute(CLOUD, signal.SIGKILL)
        lifecycle.start_compute(CLOUD)
        eventually("no task", DEADLINE, lambda: server.task_state is None)
        half_made = server.status == "ERROR"
        if half_made:
            self.assertFalse([name for name in servers.domains(CLOUD) if server.id in name])
        else:
            self.assertEqual("ACTIVE", server.status)
        traces = server.traces()
        server.delete()
        eventually(f"none of {traces}", DEADLINE, lambda: not server.traces())
        return half_made

    def test_start_and_memory(self) -> None:
        lifecycle.end_compute(CLOUD)
        with recorded("start of nova-compute"):
            lifecycle.start_compute(CLOUD)
        pid = Process(CLOUD, "nova-compute").pid
        note("memory of nova-compute", f"{servers.resident_mib(pid)} MiB")


class TestHostBoot(CloudCase):
    """The host goes down and boots again."""

    extra = "[DEFAULT]\nresume_guests_state_on_host_boot = true\n"

    def test_servers_that_ran_run_again(self) -> None:
        server, before = self.booted()
        with recorded("server runs again after the host's boot"):
            lifecycle.end_compute(CLOUD, signal.SIGKILL)
            servers.cut_power(CLOUD)
            lifecycle.start_compute(CLOUD)
            self.assertNotEqual(before, server.boot_id())
        server.wait("ACTIVE")


def _statuses(begun: dict[str, Server]) -> dict[str, str]:
    return {status: server.status for status, server in begun.items()}
