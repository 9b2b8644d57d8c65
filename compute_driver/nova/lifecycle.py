# SPDX-License-Identifier: Apache-2.0
"""Section of nova's driver: instances are listed, made and removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from compute_driver.guest import ConfigDrive
from compute_driver.info import GuestInfo
from compute_driver.nova import config_drive, convert, device_metadata, images, network, properties
from compute_driver.nova.section import Section


class LifecycleMethods(Section):
    """Lists, makes and removes instances."""

    def list_instances(self) -> list[str]:
        return [info.guest.name for info in self._driver.list()]

    def list_instance_uuids(self) -> list[str]:
        return [info.guest.uuid for info in self._driver.list()]

    def spawn(
        self,
        context: Any,
        instance: Any,
        image_meta: Any,
        injected_files: Any,
        admin_password: str | None,
        allocations: Any,
        network_info: Any = None,
        block_device_info: Mapping[str, Any] | None = None,
        power_on: bool = True,
        accel_info: Any = None,
    ) -> None:
        vifs = network_info or ()
        placeholder = config_drive.placeholder(instance, injected_files)
        guest = convert.guest(
            instance,
            image_meta,
            vifs,
            block_device_info,
            placeholder,
            ephemeral_format=self._conf.default_ephemeral_format,
        )
        guest = self._identified(self._with_machine(guest), instance, image_meta, vifs)
        properties.explain_defaults(convert.image_properties(instance, image_meta), instance.name)

        def finished_drive(info: GuestInfo) -> ConfigDrive | None:
            device_metadata.update(context, instance, vifs, info.devices)
            return config_drive.build(instance, network_info, injected_files, admin_password)

        with images.requested_by(context, instance.trusted_certs):
            self._driver.spawn(
                guest,
                network=network.plugged(self.virtapi, instance, vifs),
                power_on=power_on,
                make_config_drive=finished_drive,
            )

    def destroy(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Mapping[str, Any] | None = None,
        destroy_disks: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        self._driver.destroy(instance.uuid, keep_files=not destroy_disks)

    def cleanup(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Mapping[str, Any] | None = None,
        destroy_disks: bool = True,
        migrate_data: Any = None,
        destroy_vifs: bool = True,
        destroy_secrets: bool = True,
    ) -> None:
        self._driver.destroy(instance.uuid, keep_files=not destroy_disks)

    def delete_instance_files(self, instance: Any) -> bool:
        self._driver.destroy(instance.uuid)
        return not self._directory(instance).exists()

    def default_root_device_name(self, instance: Any, image_meta: Any, root_bdm: Any) -> str:
        return convert.root_device_name(image_meta, root_bdm.disk_bus)
