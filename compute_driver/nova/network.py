# SPDX-License-Identifier: Apache-2.0
"""Waits until neutron has wired an instance's ports."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import nova.conf
from nova import exception

LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def plugged(
    virtapi: Any, instance: Any, network_info: Sequence[Mapping[str, Any]]
) -> Iterator[None]:
    """Be told by neutron, at the end, that all ports work that are plugged in meanwhile.

    As long as ``vif_plugging_timeout`` is; what then follows is ``vif_plugging_is_fatal``'s to say.

    :param virtapi: nova's VirtAPI, which hears neutron's events.
    :param network_info: nova's VIFs; those that work already are not waited for.
    :raises VirtualInterfaceCreateException: if one does not, and that is fatal.
    """
    options = nova.conf.CONF
    timeout = options.vif_plugging_timeout
    waiting = [vif["id"] for vif in network_info if vif.get("active") is False] if timeout else []
    try:
        with virtapi.wait_for_instance_event(
            instance,
            [("network-vif-plugged", port) for port in waiting],
            timeout,  # whose name changes between releases
            error_callback=_failed,
        ):
            yield
    except exception.InstanceEventTimeout as error:
        if options.vif_plugging_is_fatal:
            raise exception.VirtualInterfaceCreateException from error
        LOG.warning("Instance %s goes on although neutron was not heard", instance.uuid)


def _failed(event: str, instance: Any) -> None:
    LOG.error("Neutron tells of a failure of %s, instance %s", event, instance.uuid)
    if nova.conf.CONF.vif_plugging_is_fatal:
        raise exception.VirtualInterfaceCreateException
