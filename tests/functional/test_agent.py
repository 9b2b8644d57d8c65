# SPDX-License-Identifier: Apache-2.0
"""A guest with the QEMU guest agent and an SSH server, on a bridge of the host."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import libvirt

from compute_driver.guest import ConfigDrive, RebootKind
from tests.functional import base, bridges, inside

#: Seconds until the guest's server answers: link-local addresses are tried out first.
SSH_ATTEMPTS = 30

#: Seconds until the agent is connected, after the guest is up.
AGENT_TIMEOUT = 30.0


class TestAgent(inside.SharedGuestTestCase):
    bridge: str
    key: Path

    @classmethod
    def setUpClass(cls) -> None:
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        cls.bridge = stack.enter_context(bridges.bridge())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        cls.key = Path(folder, "key")
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(cls.key)]
        subprocess.run(command, check=True)
        super().setUpClass()

    @classmethod
    def changes(cls) -> dict[str, Any]:
        public = cls.key.with_suffix(".pub").read_text().strip()
        return {
            "image": base.disk_image("agent"),
            "interfaces": (bridges.plugged(cls.bridge),),
            "config_drive": ConfigDrive(hostname="reachable", public_keys={"test": public}),
        }

    def name_by_agent(self) -> str:
        """Return the guest's name as its agent tells it, once libvirt has met the agent."""
        deadline = time.monotonic() + AGENT_TIMEOUT
        with inside.connection(self.driver) as opened:
            domain = opened.lookupByUUIDString(self.made.uuid)
            while True:
                try:
                    return str(domain.hostname(libvirt.VIR_DOMAIN_GET_HOSTNAME_AGENT))
                except libvirt.libvirtError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.2)

    def said_since(self, size: int) -> str:
        return self.driver.console_log(self.made.uuid)[size:].decode()

    def log_size(self) -> int:
        return len(self.driver.console_log(self.made.uuid))

    def test_guest_is_reached_over_the_bridge_with_the_key_it_was_given(self) -> None:
        (interface,) = self.made.interfaces
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "ConnectTimeout": "5",
            "ConnectionAttempts": str(SSH_ATTEMPTS),
        }
        command = ["ssh", "-q", "-i", str(self.key)]
        command += [f"-o{name}={value}" for name, value in options.items()]
        command += [f"root@{bridges.link_local(interface)}%{self.bridge}", "hostname"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual((0, "reachable\n"), (done.returncode, done.stdout), done.stderr)

    def test_agent_answers(self) -> None:
        self.assertEqual("reachable", self.name_by_agent())

    def test_soft_reboot_goes_by_the_agent(self) -> None:
        self.name_by_agent()
        before = self.log_size()
        with inside.boots(self.driver, self.made):
            self.assertIs(RebootKind.SOFT, self.driver.reboot(self.made.uuid))
        said = self.said_since(before)
        self.assertIn("GUEST-DOWN", said)
        self.assertNotIn("GUEST-POWERBUTTON", said)

    def test_stop_goes_by_the_agent(self) -> None:
        self.name_by_agent()
        before = self.log_size()
        self.driver.stop(self.made.uuid)
        said = self.said_since(before)
        self.assertIn("GUEST-DOWN", said)
        self.assertNotIn("GUEST-POWERBUTTON", said)
        with inside.boots(self.driver, self.made):
            self.driver.start(self.made.uuid)

    def test_soft_reboot_goes_by_the_power_button_where_the_agent_hangs(self) -> None:
        # An agent that has answered before is the one that libvirt waits for longest.
        self.name_by_agent()
        self.run_inside("killall -STOP qemu-ga")
        before = self.log_size()
        with inside.boots(self.driver, self.made):
            self.assertIs(RebootKind.SOFT, self.driver.reboot(self.made.uuid, timeout=40))
        self.assertRegex(self.said_since(before), "(?s)GUEST-POWERBUTTON.*GUEST-DOWN")
