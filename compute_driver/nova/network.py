# SPDX-License-Identifier: Apache-2.0
"""Waits until neutron has connected an instance's ports to their networks."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import nova.conf
from nova import exception

LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def plugged(
    virtapi: Any,
    instance: Any,
    network_info: Sequence[Mapping[str, Any]],
    *,
    again: Collection[str] | None = None,
) -> Iterator[None]:
    """Wait, at the end of the ``with`` block, for neutron's event of every port.

    Nova's option ``vif_plugging_timeout`` limits the time.  If the time is over, the instance
    starts without the event, or the build fails: option ``vif_plugging_is_fatal`` decides.

    :param virtapi: nova's VirtAPI, which receives neutron's events.
    :param network_info: nova's VIFs; an active VIF has no event to wait for.
    :param again: the kinds (vNIC types) of the VIFs that neutron connects again, although they are
        active, because they are plugged in again; the other VIFs have no event then.  None for the
        first plugging.
    :raises VirtualInterfaceCreateException: nova's, if an event reports a failure or does not come,
        and ``vif_plugging_is_fatal`` is true.
    """
    options = nova.conf.CONF
    timeout = options.vif_plugging_timeout
    waiting = [vif for vif in network_info if vif.get("active") is False]
    if again is not None:
        waiting = [vif for vif in network_info if vif.get("vnic_type", "normal") in again]
    ports = [vif["id"] for vif in waiting] if timeout else []
    try:
        with virtapi.wait_for_instance_event(
            instance,
            [("network-vif-plugged", port) for port in ports],
            timeout,  # by position: nova's releases differ in the name
            error_callback=_failed,
        ):
            yield
    except exception.InstanceEventTimeout as error:
        if options.vif_plugging_is_fatal:
            raise exception.VirtualInterfaceCreateException from error
        LOG.warning(
            "Instance %s starts although neutron's event did not come in %s seconds",
            instance.uuid,
            timeout,
        )


def _failed(event: str, instance: Any) -> None:
    LOG.error("Neutron reports that event %s of instance %s has failed", event, instance.uuid)
    if nova.conf.CONF.vif_plugging_is_fatal:
        raise exception.VirtualInterfaceCreateException
