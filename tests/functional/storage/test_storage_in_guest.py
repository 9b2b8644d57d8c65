# SPDX-License-Identifier: Apache-2.0
"""A guest's disks, as the guest sees and uses them."""

from __future__ import annotations

import json
from typing import Any

from compute_driver.guest import GIB, MIB, ConfigDrive, Disk
from tests.functional import base, inside

KEYS = {"one": "ssh-ed25519 AAAA1 one@host", "zwei": "ssh-ed25519 AAAA2 zwölf@häst"}
META = {"rôle": "dâtabase", "quote": '"\\'}
USER_DATA = """#!/bin/sh
echo user data of $(hostname) ran: grüße, 你好
exit 7
"""


class TestDisks(inside.SharedGuestTestCase):
    @classmethod
    def changes(cls) -> dict[str, Any]:
        return {
            "root": Disk(size_bytes=2 * GIB),
            "ephemerals": (Disk(size_bytes=GIB), Disk(size_bytes=64 * MIB)),
            "swap": Disk(size_bytes=32 * MIB),
            "config_drive": ConfigDrive(
                hostname="told-so",
                public_keys=KEYS,
                user_data=USER_DATA.encode(),
                meta=META,
            ),
        }

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        # The output of the user data must not mix with the commands of tests.
        cls.driver.console_wait(cls.made.uuid, "GUEST-USERDATA-RC", timeout=base.BOOT_TIMEOUT)

    def disk(self, role: str) -> dict[str, str]:
        """Return the guest's facts about one of its disks."""
        (line,) = (line for line in self.fact(self.made, "DISK") if f"serial={role} " in line)
        name, *facts = line.split()
        return {"name": name, **dict(fact.split("=", 1) for fact in facts)}

    def test_root_disk_is_of_the_size_asked_for(self) -> None:
        self.assertEqual(str(2 * GIB), self.disk("root")["size"])

    def test_ephemeral_disks_can_be_used_as_they_are(self) -> None:
        for index, size in enumerate((GIB, 64 * MIB)):
            disk = self.disk(f"ephemeral{index}")
            self.assertEqual((str(size), "ext"), (disk["size"], disk["fs"]))
            self.assertEqual(f"ephemeral{index}", disk["label"])
            commands = (
                "mkdir -p /mnt",
                f"mount -t ext4 /dev/{disk['name']} /mnt",
                "echo kept >/mnt/file",
                "cat /mnt/file",
                "umount /mnt",
            )
            self.assertEqual("kept\n", self.run_inside(" && ".join(commands)))

    def test_swap_disk_can_be_used_as_it_is(self) -> None:
        swap = self.disk("swap")
        self.assertEqual((str(32 * MIB), "swap"), (swap["size"], swap["fs"]))
        answer = self.run_inside(f"swapon /dev/{swap['name']} && cat /proc/swaps")
        self.assertRegex(answer, f"/dev/{swap['name']} +partition")

    def test_config_drive_cannot_be_written(self) -> None:
        drive = self.disk("config-drive")
        self.assertEqual(("1", "iso9660"), (drive["ro"], drive["fs"]))
        self.assertEqual("config-2", drive["label"])

    def test_config_drive_has_the_guest_s_identity(self) -> None:
        self.assertEqual(["told-so"], self.fact(self.made, "HOSTNAME"))
        self.assertEqual([self.made.uuid], self.fact(self.made, "UUID"))
        self.assertEqual(["yes"], self.fact(self.made, "NETWORKDATA"))
        described = json.loads(self.run_inside("cat /config/openstack/latest/meta_data.json"))
        self.assertEqual(META, described["meta"])
        self.assertEqual(KEYS, described["public_keys"])

    def test_guest_takes_every_key(self) -> None:
        self.assertEqual([str(len(KEYS))], self.fact(self.made, "KEYS"))

    def test_user_data_runs_as_it_was_written(self) -> None:
        self.driver.console_wait(self.made.uuid, "GUEST-USERDATA-RC: 7", timeout=30)
        self.assertIn("user data of told-so ran: grüße, 你好", self.console(self.made))
