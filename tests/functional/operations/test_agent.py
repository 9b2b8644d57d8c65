# SPDX-License-Identifier: Apache-2.0
"""A guest with the QEMU guest agent and an SSH server, on a bridge of the host."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import libvirt
import libvirt_qemu

from compute_driver import exceptions
from compute_driver.choices import Quiesce, RebootKind
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import MIB, ConfigDrive, Disk
from compute_driver.libvirt.domain import AGENT_SECONDS
from tests.functional import base, bridges, inside, tiny, worker

#: Seconds until the guest's server answers; the guest tests its link-local address first.
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
            "ephemerals": (Disk(size_bytes=64 * MIB),),
            "config_drive": ConfigDrive(hostname="reachable", public_keys={"test": public}),
        }

    def name_by_agent(self) -> str:
        """Return the guest's name by its agent, when libvirt knows the agent."""
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

    def test_the_key_of_the_config_drive_opens_the_guest_over_the_bridge(self) -> None:
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

    def test_the_agent_answers(self) -> None:
        self.assertEqual("reachable", self.name_by_agent())

    def test_a_password_is_set(self) -> None:
        self.name_by_agent()
        before = self.log_size()
        self.driver.set_password(self.made.uuid, "geheim: 1", user="root")
        self.assertIn("GUEST-PASSWORD: set for root", self.said_since(before))

    def frozen(self) -> bool:
        """Tell whether the guest cannot write, by the mark and by its agent."""
        root = base.state_path() / "instances" / self.made.uuid
        marked = (root / "frozen").exists()
        with inside.connection(self.driver) as opened:
            domain = opened.lookupByUUIDString(self.made.uuid)
            answer = json.loads(
                libvirt_qemu.qemuAgentCommand(
                    domain, '{"execute": "guest-fsfreeze-status"}', AGENT_SECONDS, 0
                )
            )
        self.assertEqual("frozen" if marked else "thawed", answer["return"])
        return marked

    def mount(self) -> None:
        """Have a file system in the guest that can be frozen."""
        self.name_by_agent()
        self.run_inside("mkdir -p /mnt; mountpoint -q /mnt || mount -t ext4 /dev/vdb /mnt")

    def test_file_systems_freeze_and_thaw(self) -> None:
        self.mount()
        for _twice in range(2):
            self.driver.quiesce(self.made.uuid)
            self.assertTrue(self.frozen())
            self.driver.unquiesce(self.made.uuid)
            self.assertFalse(self.frozen())
        self.driver.unquiesce(self.made.uuid)

    def test_the_next_operation_thaws_the_file_systems(self) -> None:
        self.mount()
        self.driver.quiesce(self.made.uuid)
        self.driver.start(self.made.uuid)
        self.assertFalse(self.frozen())

    def test_the_next_driver_thaws_after_the_end_of_the_process(self) -> None:
        self.mount()
        self.driver.quiesce(self.made.uuid)
        LibvirtDriver(base.configuration()).close()
        self.driver.audit(repair=True)
        self.assertTrue(self.frozen())
        self.driver.unquiesce(self.made.uuid)
        with worker.running("quiesce", self.made.uuid) as other:
            self.assertEqual(worker.DONE, other.says())
        self.assertTrue(self.frozen())
        LibvirtDriver(base.configuration()).close()
        self.assertFalse(self.frozen())

    def test_the_next_driver_thaws_after_a_killed_quiesce_or_snapshot(self) -> None:
        self.mount()
        with tempfile.TemporaryDirectory(dir="/var/tmp") as home:
            for action, point in (("quiesce", "file systems frozen"), ("snapshot", "copy begun")):
                with worker.running(
                    action, self.made.uuid, pause=point, image=f"{home}/image"
                ) as other:
                    self.assertEqual(worker.PAUSED, other.says())
                    self.assertTrue(self.frozen())
                LibvirtDriver(base.configuration()).close()
                self.assertFalse(self.frozen())
                self.assertEqual((), self.driver.audit())

    def test_a_snapshot_freezes_only_at_its_beginning(self) -> None:
        self.mount()
        self.run_inside("echo kept >/mnt/file")
        seen = []
        begin = libvirt.virDomain.backupBegin

        def watched(*arguments: Any) -> Any:
            seen.append(self.frozen())
            return begin(*arguments)

        with tempfile.TemporaryDirectory(dir="/var/tmp") as home:
            for number, wish in enumerate(Quiesce):
                with mock.patch.object(libvirt.virDomain, "backupBegin", watched):
                    self.driver.snapshot(self.made.uuid, Path(home, f"{number}"), quiesce=wish)
                self.assertFalse(self.frozen())
        self.assertEqual([False, True, True], seen)

    def test_a_failed_snapshot_leaves_nothing_frozen(self) -> None:
        self.mount()
        refusal = mock.patch.object(
            libvirt.virDomain, "backupBegin", side_effect=tiny.libvirt_error()
        )
        with (
            tempfile.TemporaryDirectory(dir="/var/tmp") as home,
            refusal,
            self.assertRaises(exceptions.LibvirtError),
        ):
            self.driver.snapshot(self.made.uuid, Path(home, "image"), quiesce=Quiesce.REQUIRE)
        self.assertFalse(self.frozen())

    def test_an_agent_that_refuses_commands(self) -> None:
        self.mount()
        self.run_inside(
            "killall qemu-ga; sleep 1; qemu-ga -d -m virtio-serial"
            " -b guest-fsfreeze-freeze,guest-set-user-password"
            " -p /dev/virtio-ports/org.qemu.guest_agent.0 -f /run/qemu-ga.pid -t /run"
        )
        self.name_by_agent()
        with self.assertRaises(exceptions.QuiesceUnsupported):
            self.driver.quiesce(self.made.uuid)
        with self.assertRaises(exceptions.PasswordUnsupported):
            self.driver.set_password(self.made.uuid, "secret")
        with tempfile.TemporaryDirectory(dir="/var/tmp") as home:
            self.driver.snapshot(self.made.uuid, Path(home, "image"))
            with self.assertRaises(exceptions.QuiesceUnsupported):
                self.driver.snapshot(self.made.uuid, Path(home, "no"), quiesce=Quiesce.REQUIRE)
        self.run_inside("killall qemu-ga; sleep 1; /etc/guest/services")
        self.name_by_agent()

    def test_a_soft_reboot_asks_the_agent(self) -> None:
        self.name_by_agent()
        before = self.log_size()
        with inside.boots(self.driver, self.made):
            self.assertIs(RebootKind.SOFT, self.driver.reboot(self.made.uuid))
        said = self.said_since(before)
        self.assertIn("GUEST-DOWN", said)
        self.assertNotIn("GUEST-POWERBUTTON", said)

    def test_a_stop_asks_the_agent(self) -> None:
        self.name_by_agent()
        before = self.log_size()
        self.driver.stop(self.made.uuid)
        said = self.said_since(before)
        self.assertIn("GUEST-DOWN", said)
        self.assertNotIn("GUEST-POWERBUTTON", said)
        with inside.boots(self.driver, self.made):
            self.driver.start(self.made.uuid)

    def test_a_soft_reboot_uses_the_power_button_if_the_agent_hangs(self) -> None:
        # libvirt waits longest for an agent that has answered before.
        self.name_by_agent()
        self.run_inside("killall -STOP qemu-ga")
        before = self.log_size()
        with inside.boots(self.driver, self.made):
            self.assertIs(RebootKind.SOFT, self.driver.reboot(self.made.uuid, timeout=40))
        self.assertRegex(self.said_since(before), "(?s)GUEST-POWERBUTTON.*GUEST-DOWN")
