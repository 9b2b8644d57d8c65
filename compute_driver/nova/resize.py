# SPDX-License-Identifier: Apache-2.0
"""Section of nova's driver: instances get another size, on the host where they are.

Sources: nova's ``compute/manager.py``, the callers of ``migrate_disk_and_power_off`` and
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
from compute_driver.nova import config_drive, convert
from compute_driver.nova.errors import replaced
from compute_driver.nova.section import Section


class ResizeMethods(Section):
    """Resizes instances, and confirms and reverts resizes."""

    def migrate_disk_and_power_off(
        self,
        context: Any,
        instance: Any,
        dest: str,
        flavor: Any,
        network_info: Any,
        block_device_info: Mapping[str, Any] | None = None,
        timeout: float = 0,
        retry_interval: float = 0,
    ) -> str:
        """Refuse an impossible resize, or shut the instance down; no file moves.

        :raises InstanceFaultRollback: nova's, if the resize is refused; nova sets the instance back
            to its state before.
        """
        refuse_another_host(dest, self.get_host_ip_addr())
        before = self._driver.show(instance.uuid).guest
        with replaced(exceptions.ComputeDriverError, _rollback):
            refuse_smaller_disks(instance.flavor, flavor)
            resized = resized_guest(
                instance,
                flavor,
                instance.image_meta,
                network_info or (),
                block_device_info,
                None,
                before,
                ephemeral_format=self._conf.default_ephemeral_format,
            )
            self._driver.check_resize(instance.uuid, resized)
        self._driver.stop(instance.uuid, timeout=timeout)
        return ""

    def finish_migration(
        self,
        context: Any,
        migration: Any,
        instance: Any,
        disk_info: str,
        network_info: Any,
        image_meta: Any,
        resize_instance: bool,
        allocations: Any,
        block_device_info: Mapping[str, Any] | None = None,
        power_on: bool = True,
        share_info: Any = None,
    ) -> None:
        """Give an instance the size of its present flavor."""
        before = self._driver.show(instance.uuid).guest
        drive = config_drive.build(instance, network_info)
        resized = resized_guest(
            instance,
            instance.flavor,
            image_meta,
            network_info or (),
            block_device_info,
            drive,
            before,
            ephemeral_format=self._conf.default_ephemeral_format,
        )
        resized = self._identified(resized, instance, image_meta, network_info or ())
        self._driver.resize(instance.uuid, resized, timeout=0, power_on=power_on)

    def confirm_migration(
        self, context: Any, migration: Any, instance: Any, network_info: Any
    ) -> None:
        self._driver.confirm_resize(instance.uuid)

    def finish_revert_migration(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        migration: Any,
        block_device_info: Mapping[str, Any] | None = None,
        power_on: bool = True,
        share_info: Any = None,
    ) -> None:
        """Give an instance its size from before; nova has removed the guest but not its files."""
        self._driver.revert_resize(instance.uuid, timeout=0, power_on=False)
        if power_on:
            self.power_on(context, instance, network_info)


def _rollback(reason: str) -> exception.InstanceFaultRollback:
    return exception.InstanceFaultRollback(exception.ResizeError(reason=reason))


def refuse_another_host(dest: str, own: str) -> None:
    """Refuse to move an instance.

    :param dest: the address of the host that nova has chosen.
    :param own: the address of this host.
    :raises InstanceFaultRollback: nova's, if the addresses differ.
    """
    if dest != own:
        reason = f"host {dest} is another host; accepted: this host, {own}"
        raise exception.InstanceFaultRollback(exception.MigrationPreCheckError(reason=reason))


def refuse_smaller_disks(flavor: Any, new_flavor: Any) -> None:
    """Refuse a flavor with a smaller disk.

    :raises InvalidParameter: if a disk would shrink.
    """
    for field in ("root_gb", "ephemeral_gb"):
        size, new_size = getattr(flavor, field), getattr(new_flavor, field)
        if new_size < size:
            accepted = f"{size} or more: disks do not shrink"
            raise exceptions.InvalidParameter(field, new_size, accepted)


def resized_guest(
    instance: Any,
    flavor: Any,
    image: Any,
    network_info: Sequence[Mapping[str, Any]],
    block_device_info: Mapping[str, Any] | None,
    drive: ConfigDrive | None,
    before: Guest,
    ephemeral_format: str | None = None,
) -> Guest:
    """Return an instance's guest with another flavor.

    Nova's list of ephemeral disks does not change in a resize.  A single ephemeral disk gets all
    ephemeral storage of the flavor.  Several ephemeral disks keep their sizes.

    :param image: nova's ImageMeta.
    :param network_info: nova's VIFs.
    :param drive: the new config drive; None keeps the present one.
    :param before: the guest before the resize.
    :param ephemeral_format: see :func:`compute_driver.nova.convert.guest`.
    :raises InvalidParameter: if guests of this driver cannot have a part of the request.
    """
    with _flavor(instance, flavor):
        guest = convert.guest(
            instance,
            image,
            network_info,
            block_device_info,
            ephemeral_format=ephemeral_format,
        )
    ephemerals = _ephemerals(flavor.ephemeral_gb * GIB, before.ephemerals, guest.ephemerals)
    return dataclasses.replace(
        guest,
        name=before.name,  # another client of libvirt may have renamed the guest
        # A changed option of nova is for new instances only.
        machine=guest.machine or before.machine,
        ephemerals=ephemerals,
        config_drive=drive or before.config_drive,
    )


@contextlib.contextmanager
def _flavor(instance: Any, flavor: Any) -> Iterator[None]:
    old, instance.flavor = instance.flavor, flavor
    try:
        yield
    finally:
        instance.flavor = old


def _ephemerals(
    total_bytes: int, before: tuple[Disk, ...], wanted: tuple[Disk, ...]
) -> tuple[Disk, ...]:
    if len(before) == 1:
        size = max(total_bytes, before[0].size_bytes)
        return (dataclasses.replace(before[0], size_bytes=size),)
    return tuple(disk or new for disk, new in itertools.zip_longest(before, wanted) if disk or new)
