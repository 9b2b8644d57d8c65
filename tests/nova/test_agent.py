# SPDX-License-Identifier: Apache-2.0
"""The agent in a guest freezes file systems and sets passwords."""

from __future__ import annotations

import base64
from unittest import mock

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from nova import exception
from nova.api.metadata import password

from compute_driver.nova import agent
from tests.nova.base import NovaCase


class AgentTest(NovaCase):
    def test_guest_agent(self) -> None:
        instance = self.instance()
        instance.system_metadata = {"image_os_admin_user": "admin"}
        self.spawn(instance)
        self.driver.quiesce(self.context, instance, self.image())
        self.driver.unquiesce(self.context, instance, self.image())
        self.driver.set_admin_password(instance, "secret")
        said = self.driver.get_console_output(self.context, instance)
        self.assertIn(b"password of admin set", said)
        instance.os_type, instance.system_metadata = "windows", {}
        self.assertEqual("Administrator", agent.administrator(instance))

    def test_guest_without_an_agent(self) -> None:
        instance = self.instance()
        self.spawn(instance, self.image(hw_qemu_guest_agent="no"))
        for call in (
            lambda: self.driver.quiesce(self.context, instance, self.image()),
            lambda: self.driver.unquiesce(self.context, instance, self.image()),
            lambda: self.driver.set_admin_password(instance, "secret"),
        ):
            with self.assertRaises(exception.QemuGuestAgentNotEnabled):
                call()

    def test_password_is_kept_for_the_owner_of_the_key(self) -> None:
        instance = self.instance()
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        instance.key_data = (
            private.public_key()
            .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
            .decode()
        )
        with mock.patch.object(type(instance), "save") as save:
            agent.publish_password(instance, "secret")
        save.assert_called_once_with()
        kept = base64.b64decode(password.extract_password(instance))
        self.assertEqual(b"secret", private.decrypt(kept, padding.PKCS1v15()))
