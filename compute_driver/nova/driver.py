# SPDX-License-Identifier: Apache-2.0
"""The class that nova-compute loads.

Nova's base class has the methods that no section has.  Most of these methods raise
NotImplementedError: nova expects this error for an operation that a driver does not have.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from nova.virt import driver, event

from compute_driver.choices import PowerState
from compute_driver.nova import configuration, snapshot
from compute_driver.nova.agent import AgentMethods
from compute_driver.nova.consoles import ConsoleMethods
from compute_driver.nova.diagnostics import DiagnosticsMethods
from compute_driver.nova.host import HostMethods
from compute_driver.nova.image_cache import ImageCacheMethods
from compute_driver.nova.interfaces import InterfaceMethods
from compute_driver.nova.lifecycle import LifecycleMethods
from compute_driver.nova.options import report
from compute_driver.nova.power import PowerMethods
from compute_driver.nova.rescue import RescueMethods
from compute_driver.nova.resize import ResizeMethods
from compute_driver.nova.shared_storage import SharedStorageMethods
from compute_driver.nova.snapshot import SnapshotMethods

LOG = logging.getLogger(__name__)

_IMAGE_FORMATS = ("aki", "ami", "ari", "iso", "qcow2", "raw", "vdi", "vhd", "vhdx", "vmdk")

_EVENTS = {
    PowerState.RUNNING: event.EVENT_LIFECYCLE_STARTED,
    PowerState.PAUSED: event.EVENT_LIFECYCLE_PAUSED,
    PowerState.SUSPENDED: event.EVENT_LIFECYCLE_SUSPENDED,
    PowerState.STOPPED: event.EVENT_LIFECYCLE_STOPPED,
    PowerState.CRASHED: event.EVENT_LIFECYCLE_STOPPED,
}


class NovaDriver(
    LifecycleMethods,
    SharedStorageMethods,
    PowerMethods,
    AgentMethods,
    SnapshotMethods,
    RescueMethods,
    ResizeMethods,
    InterfaceMethods,
    ConsoleMethods,
    DiagnosticsMethods,
    ImageCacheMethods,
    HostMethods,
):
    """Runs nova's instances as guests of this package.

    :param virtapi: nova's VirtAPI.
    """

    capabilities: Mapping[str, bool] = {
        # Every capability has a value: nova leaves the trait of a missing capability as another
        # driver has set it.  Module placement sets the trait of secure boot, by the host.
        name: value
        for name, value in {
            **dict.fromkeys(driver.CAPABILITY_TRAITS_MAP, False),
            **driver.ComputeDriver.capabilities,
            "has_imagecache": True,
            "supports_attach_interface": True,
            "supports_device_tagging": True,
            "supports_evacuate": True,
            "supports_migrate_to_same_host": True,
            "supports_tagged_attach_interface": True,
            "supports_trusted_certs": True,
            **{f"supports_image_type_{name}": True for name in _IMAGE_FORMATS},
        }.items()
        if name != "supports_secure_boot"
    }

    def init_host(self, host: str) -> None:
        """Prepare the host, and report changes of guests' power states to nova from now on.

        The log has a line for each of nova's options that has no effect with this driver.

        :raises InvalidConfiguration: nova's, if guests would not be what nova's options promise.
        """
        for line in report.complain(configuration.values(self._conf)):
            LOG.warning("%s", line)
        snapshot.clear(self._conf)
        self._driver.subscribe(self._emit)

    def cleanup_host(self, host: str) -> None:
        self._driver.close()

    def _emit(self, uuid: str, state: PowerState) -> None:
        self.emit_event(event.LifecycleEvent(uuid, _EVENTS[state]))
