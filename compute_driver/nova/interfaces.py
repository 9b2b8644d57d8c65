# SPDX-License-Identifier: Apache-2.0
"""Section of nova's driver: interfaces are attached to, detached from and replaced in guests."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from nova import exception

from compute_driver import exceptions
from compute_driver.driver import ComputeDriver
from compute_driver.nova import convert, device_metadata
from compute_driver.nova.errors import replaced
from compute_driver.nova.section import Section

LOG = logging.getLogger(__name__)


class InterfaceMethods(Section):
    """Attaches and detaches interfaces; *vif* is one of nova's VIFs."""

    def attach_interface(self, context: Any, instance: Any, image_meta: Any, vif: Any) -> None:
        """Attach an interface, and store its address in the metadata if it has a tag.

        :raises InterfaceAttachFailed: nova's; the interface is detached again.  A guest that does
            not release the interface keeps it, and the log has a warning.
        """
        with _failing(exception.InterfaceAttachFailed):
            (interface,) = convert.interfaces(instance, image_meta, [vif])
            self._driver.attach_interface(instance.uuid, interface)
        try:
            self._update_metadata(context, instance)
        except Exception as error:
            self._withdraw(instance, interface.mac)
            raise exception.InterfaceAttachFailed(instance_uuid=instance.uuid) from error

    def detach_interface(self, context: Any, instance: Any, vif: Any) -> None:
        """Detach an interface; do nothing if the guest does not have the interface.

        :raises InterfaceDetachFailed: nova's, if the guest keeps the interface.
        """
        with _failing(exception.InterfaceDetachFailed):
            try:
                self._driver.detach_interface(instance.uuid, vif["address"])
            except exceptions.InterfaceNotFound as error:
                LOG.warning("Instance %s: %s", instance.uuid, error)
        self._update_metadata(context, instance)

    def plug_vifs(self, instance: Any, network_info: Any) -> None:
        """Plug in ports that Open vSwitch has lost; nova calls this method when it starts.

        A guest that is off, or that this host does not have, has nothing to plug in.

        :raises VirtualInterfacePlugException: nova's; nova then sets this instance to ERROR.
        """
        with (
            contextlib.suppress(exceptions.GuestNotFound),
            _failing(exception.VirtualInterfacePlugException),
        ):
            self._driver.plug_interfaces(instance.uuid)

    def _update_metadata(self, context: Any, instance: Any) -> None:
        vifs = instance.get_network_info()
        device_metadata.update(context, instance, vifs, self._driver.show(instance.uuid).devices)
        self._identify(instance, vifs)

    def _withdraw(self, instance: Any, mac: str) -> None:
        """Detach an interface whose attachment has failed."""
        try:
            self._driver.detach_interface(instance.uuid, mac)
        except exceptions.ComputeDriverError as error:
            LOG.warning(
                "Instance %s keeps interface %s although its attachment failed: %s",
                instance.uuid,
                mac,
                error,
            )


def _failing(kind: type[exception.NovaException]) -> contextlib.AbstractContextManager[None]:
    """Replace all errors except GuestNotFound by an error of nova's."""
    gone = (exceptions.GuestNotFound,)
    return replaced(exceptions.ComputeDriverError, kind, unchanged=gone)


def replace(
    driver: ComputeDriver, instance: Any, network_info: Sequence[Mapping[str, Any]] | None
) -> None:
    """Give an instance the interfaces that nova has for the instance, and no others.

    The guest is off afterwards if its interfaces change.

    :param network_info: nova's VIFs; None if nova does not send its VIFs.
    """
    if network_info is None:
        return
    wanted = convert.interfaces(instance, instance.image_meta, network_info)
    if driver.show(instance.uuid).guest.interfaces == wanted:
        return
    driver.stop(instance.uuid, timeout=0)
    driver.replace_interfaces(instance.uuid, wanted)
