# SPDX-License-Identifier: Apache-2.0
"""Gives instances neutron's ports, and takes them away, while their guests are there."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from nova import exception

from compute_driver import exceptions
from compute_driver.choices import OFF
from compute_driver.driver import ComputeDriver
from compute_driver.nova import convert, devices
from compute_driver.nova.errors import failing_as

LOG = logging.getLogger(__name__)


def attach(
    driver: ComputeDriver, context: Any, instance: Any, image: Any, vif: Mapping[str, Any]
) -> None:
    """Give an instance a further port, and say in its metadata where it is if it has a tag.

    :param image: nova's ImageMeta.
    :param vif: one of nova's VIFs.
    :raises InterfaceAttachFailed: if that cannot be; it is not there then, unless the guest does
        not let go of it, which is logged.
    """
    with failing_as(exception.InterfaceAttachFailed):
        (interface,) = convert.ports(instance, image, [vif])
        driver.attach_interface(instance.uuid, interface)
    try:
        describe(driver, context, instance)
    except Exception as error:
        try:
            driver.detach_interface(instance.uuid, interface.mac)
        except exceptions.ComputeDriverError as kept:
            LOG.warning(
                "Instance %s keeps interface %s, whose attachment failed: %s",
                *(instance.uuid, interface.mac, kept),
            )
        raise exception.InterfaceAttachFailed(instance_uuid=instance.uuid) from error


def detach(driver: ComputeDriver, context: Any, instance: Any, vif: Mapping[str, Any]) -> None:
    """Take a port from an instance; nothing if it has not got it.

    :param vif: one of nova's VIFs.
    :raises InterfaceDetachFailed: if the guest keeps it.
    """
    with failing_as(exception.InterfaceDetachFailed):
        try:
            driver.detach_interface(instance.uuid, vif["address"])
        except exceptions.InterfaceNotFound as error:
            LOG.warning("Instance %s: %s", instance.uuid, error)
    describe(driver, context, instance)


def describe(driver: ComputeDriver, context: Any, instance: Any) -> None:
    """Say in an instance's metadata where its tagged devices are."""
    found = driver.show(instance.uuid).devices
    devices.update(context, instance, instance.get_network_info(), found)


def follow(
    driver: ComputeDriver, instance: Any, network_info: Sequence[Mapping[str, Any]] | None
) -> bool:
    """Give an instance the ports that nova knows of, and no others, at a change of its power.

    :param network_info: nova's VIFs; None if nova does not say.
    :return: whether it had others; it is powered off then.
    """
    if network_info is None:
        return False
    wanted = convert.ports(instance, instance.image_meta, network_info)
    now = driver.show(instance.uuid).guest.interfaces
    if now == wanted:
        return False
    driver.stop(instance.uuid, timeout=0)
    driver.replace_interfaces(instance.uuid, wanted)
    return True


def power_on(
    driver: ComputeDriver, instance: Any, network_info: Sequence[Mapping[str, Any]] | None
) -> None:
    """Power an instance on with the ports that nova knows of, or let it go on as it is."""
    if driver.state(instance.uuid) in OFF:
        follow(driver, instance, network_info)
    driver.start(instance.uuid)
