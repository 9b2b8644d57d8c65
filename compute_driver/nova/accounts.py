# SPDX-License-Identifier: Apache-2.0
"""Whose password nova sets in an instance, and how its owner can read it again."""

from __future__ import annotations

from typing import Any

from nova import crypto
from nova.api.metadata import password
from oslo_serialization import base64


def administrator(instance: Any) -> str:
    """Return the account: the one that the image names, or the system's usual one."""
    usual = "Administrator" if instance.os_type == "windows" else "root"
    return str(instance.image_meta.properties.get("os_admin_user") or usual)


def publish(instance: Any, new_password: str) -> None:
    """Have the metadata service tell the password to whoever has the instance's SSH key.

    Nova can encrypt for RSA keys only.
    """
    key = instance.key_data if "key_data" in instance else None
    if key and key.startswith("ssh-rsa"):
        secret = base64.encode_as_text(crypto.ssh_encrypt_text(key, new_password))
        instance.system_metadata.update(password.convert_password(None, secret))
        instance.save()
