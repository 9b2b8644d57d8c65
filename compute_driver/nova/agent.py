# SPDX-License-Identifier: Apache-2.0
"""Section of nova's driver: the agent in an instance freezes file systems and sets passwords."""

from __future__ import annotations

from typing import Any

from nova import crypto
from nova.api.metadata import password
from oslo_serialization import base64

from compute_driver.nova.section import Section


class AgentMethods(Section):
    """Gives work to the guest's agent."""

    def quiesce(self, context: Any, instance: Any, image_meta: Any) -> None:
        self._driver.quiesce(instance.uuid)

    def unquiesce(self, context: Any, instance: Any, image_meta: Any) -> None:
        self._driver.unquiesce(instance.uuid)

    def set_admin_password(self, instance: Any, new_pass: str) -> None:
        self._driver.set_password(instance.uuid, new_pass, user=administrator(instance))
        publish_password(instance, new_pass)


def administrator(instance: Any) -> str:
    """Return the administrator's account: the image names it, or the operating system."""
    default = "Administrator" if instance.os_type == "windows" else "root"
    return str(instance.image_meta.properties.get("os_admin_user") or default)


def publish_password(instance: Any, new_password: str) -> None:
    """Store a password, encrypted for the instance's SSH key, where the metadata service reads it.

    Nova encrypts for RSA keys only; with another key, or without a key, nothing is stored.
    """
    key = instance.key_data if "key_data" in instance else None
    if key and key.startswith("ssh-rsa"):
        encrypted = base64.encode_as_text(crypto.ssh_encrypt_text(key, new_password))
        instance.system_metadata.update(password.convert_password(None, encrypted))
        instance.save()
