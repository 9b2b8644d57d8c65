# SPDX-License-Identifier: Apache-2.0
"""An instance's config drive has the metadata that nova's metadata service has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nova.api.metadata import base
from nova.virt import configdrive

from compute_driver import exceptions
from compute_driver.guest import ConfigDrive


def placeholder(instance: Any, injected_files: Sequence[object] = ()) -> ConfigDrive | None:
    """Return a config drive without files, for a guest whose devices have no addresses yet.

    :param injected_files: the user's files for the guest.
    :return: None if the instance needs no config drive.
    :raises InvalidParameter: if there are files but no config drive.
    """
    if configdrive.required_by(instance):
        return ConfigDrive(hostname=instance.hostname)
    if injected_files:
        raise exceptions.InvalidParameter("personality", "files", "only with a config drive")
    return None


def build(
    instance: Any,
    network_info: Any,
    injected_files: Sequence[tuple[str, bytes]] = (),
    admin_password: str | None = None,
) -> ConfigDrive | None:
    """Return the config drive of an instance, or None if the instance needs no config drive.

    :param injected_files: paths and contents of the user's files for the guest.
    :raises InvalidParameter: if there are files but no config drive.
    """
    if placeholder(instance, injected_files) is None:
        return None
    metadata = base.InstanceMetadata(
        instance,
        content=list(injected_files),
        extra_md={"admin_pass": admin_password} if admin_password else {},
        network_info=network_info,
    )
    return ConfigDrive(
        hostname=instance.hostname,
        files={
            path: data.encode() if isinstance(data, str) else bytes(data)
            for path, data in metadata.metadata_for_config_drive()
        },
    )
