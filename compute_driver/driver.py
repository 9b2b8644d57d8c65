# SPDX-License-Identifier: Apache-2.0
"""The contract that every driver keeps.

A guest is named by its UUID.  Every method may be called from any thread; two operations on
one guest run one after the other, operations on different guests never wait for each other.
A method raises the classes of :mod:`compute_driver.exceptions` for every expected failure, and
leaves nothing half-made when it raises one.
"""

from __future__ import annotations

from oslo_config import cfg

from compute_driver.contract.agent import Agent
from compute_driver.contract.consoles import Consoles, ConsoleSession
from compute_driver.contract.host import Host, Listener
from compute_driver.contract.images import Images
from compute_driver.contract.interfaces import Interfaces
from compute_driver.contract.lifecycle import Lifecycle
from compute_driver.contract.power import Power
from compute_driver.contract.progress import Progress, no_progress

__all__ = ["ComputeDriver", "ConsoleSession", "Listener", "Progress", "no_progress"]


class ComputeDriver(Lifecycle, Power, Agent, Interfaces, Consoles, Images, Host):
    """Runs guests on one host.

    :param conf: configuration with group ``[hypervisor]`` registered.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self.conf = conf
