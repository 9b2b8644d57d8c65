# SPDX-License-Identifier: Apache-2.0
"""What an instance is told about itself: nova's own metadata, on the config drive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nova.api.metadata import base
from nova.virt import configdrive

from compute_driver import exceptions
from compute_driver.guest import ConfigDrive


def placeholder(instance: Any, injected_files: Sequence[object] = ()) -> ConfigDrive | None:
    """Return what stands for the config drive of an instance until its contents are known.

    :param injected_files: files that the user wants in the guest.
    :return: None if it is to have none.
    :raises InvalidParameter: if there are files but nothing to carry them.
    """
    if configdrive.required_by(instance):
        return ConfigDrive(hostname=instance.hostname)
    if injected_files:
        raise exceptions.InvalidParameter("personality", "files", "only with a config drive")
    return None


def config_drive(
    instance: Any,
    network_info: Any,
    injected_files: Sequence[tuple[str, bytes]] = (),
    admin_password: str | None = None,
) -> ConfigDrive | None:
    """Return the config drive of an instance, or None if it is to have none.

    :param injected_files: paths and contents of files that the user wants in the guest.
    :raises InvalidParameter: if there are files but nothing to carry them.
    """
    if placeholder(instance, injected_files) is None:
        return None
    told = base.InstanceMetadata(
        instance,
        content=list(injected_files),
        extra_md={"admin_pass": admin_password} if admin_password else {},
        network_info=network_info,
    )
    return ConfigDrive(
        hostname=instance.hostname,
        files={
            path: data.encode() if isinstance(data, str) else bytes(data)
            for path, data in told.metadata_for_config_drive()
        },
    )
