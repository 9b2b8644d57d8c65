# SPDX-License-Identifier: Apache-2.0
"""Instances in another size: what they are to be, and what nova is told if they cannot.

Sources: nova's ``compute/manager.py``, what it does around ``migrate_disk_and_power_off`` and
``finish_migration``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nova import exception

from compute_driver import exceptions
from compute_driver.guest import GIB, ConfigDrive, Disk, Guest
from compute_driver.nova import convert


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """Have nova put the instance back to where it was if what is done meanwhile is refused.

    :raises InstanceFaultRollback: in place of this package's errors.
    """
    try:
        yield
    except exceptions.ComputeDriverError as error:
        raise exception.InstanceFaultRollback(exception.ResizeError(reason=str(error))) from error


def check(instance: Any, flavor: Any, dest: str, here: str) -> None:
    """Refuse other hosts, and flavors with smaller disks.

    :param dest: the address of the host where the instance is to go.
    :param here: the address of this one.
    :raises InstanceFaultRollback: which puts the instance back to where it was.
    """
    if dest != here:
        raise exception.InstanceFaultRollback(
            exception.MigrationPreCheckError(
                reason=f"host {dest} is another one; accepted: this host, {here}"
            )
        )
    for field in ("root_gb", "ephemeral_gb"):
        now, wanted = getattr(instance.flavor, field), getattr(flavor, field)
        if wanted < now:
            accepted = f"{now} or more: disks do not shrink"
            with refused():
                raise exceptions.InvalidParameter(field, wanted, accepted)


def guest(
    instance: Any,
    flavor: Any,
    image: Any,
    network_info: Sequence[Mapping[str, Any]],
    block_device_info: Mapping[str, Any] | None,
    config_drive: ConfigDrive | None,
    now: Guest,
) -> Guest:
    """Return what an instance is to be with another flavor.

    Nova's records of its ephemeral disks stay as they were at its boot.  A single one takes all
    that the flavor has of them; of several, each stays.

    :param config_drive: None for the drive that it has.
    :param now: as it is.
    :raises InvalidParameter: if it asks for something that guests cannot have here.
    """
    with _flavor(instance, flavor):
        wanted = convert.guest(instance, image, network_info, block_device_info)
    return dataclasses.replace(
        wanted,
        ephemerals=_ephemerals(flavor.ephemeral_gb * GIB, now.ephemerals, wanted.ephemerals),
        config_drive=config_drive or now.config_drive,
    )


@contextlib.contextmanager
def _flavor(instance: Any, flavor: Any) -> Iterator[None]:
    old, instance.flavor = instance.flavor, flavor
    try:
        yield
    finally:
        instance.flavor = old


def _ephemerals(total: int, now: tuple[Disk, ...], wanted: tuple[Disk, ...]) -> tuple[Disk, ...]:
    if len(now) == 1:
        return (dataclasses.replace(now[0], size_bytes=max(total, now[0].size_bytes)),)
    return tuple(
        disk or asked for disk, asked in itertools.zip_longest(now, wanted) if disk or asked
    )
