# SPDX-License-Identifier: Apache-2.0
"""The promises of every driver, tested through the contract alone, in the contract's sections."""

from __future__ import annotations

from tests.contract.agent import Agent
from tests.contract.consoles import Consoles
from tests.contract.host import Host
from tests.contract.images import Images
from tests.contract.interfaces import Interfaces
from tests.contract.lifecycle import Lifecycle
from tests.contract.power import Power
from tests.contract.promises import VERBS, Promises

__all__ = ["VERBS", "DriverContract"]


class DriverContract(Lifecycle, Power, Agent, Interfaces, Consoles, Images, Host, Promises):
    """All tests of a driver; a subclass supplies what :class:`tests.contract.base.Case` names."""
