# SPDX-License-Identifier: Apache-2.0
"""The agent inside a simulated guest."""

from __future__ import annotations

from compute_driver.contract.agent import check_account
from compute_driver.contract.states import Request
from compute_driver.drivers.fake.machine import Machines


class Agent(Machines):
    """Answers for the agent of each guest that has a channel for an agent."""

    def quiesce(self, uuid: str) -> None:
        with self._machine(uuid) as machine:
            machine.require_agent(Request.QUIESCE)

    def unquiesce(self, uuid: str) -> None:
        with self._machine(uuid) as machine:
            machine.require_agent(Request.UNQUIESCE)

    def ssh_host_keys(self, uuid: str) -> tuple[str, ...]:
        with self._machine(uuid) as machine:
            machine.require(Request.READ_SSH_KEYS)
            return ()

    def set_password(self, uuid: str, password: str, *, user: str = "root") -> None:
        check_account(user, password)
        with self._machine(uuid) as machine:
            machine.require_agent(Request.SET_PASSWORD)
            machine.write(f"password of {user} set\r\n".encode())
