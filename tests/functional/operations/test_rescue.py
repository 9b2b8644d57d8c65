# SPDX-License-Identifier: Apache-2.0
"""A rescue that fails or is interrupted leaves the guest as it was."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import libvirt

from compute_driver import exceptions
from compute_driver.choices import PowerState
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import MIB, ConfigDrive, Image, Rescue
from tests import guests
from tests.functional import base, inside, tiny, worker

TOLD = ConfigDrive(hostname="rescuer", admin_password="secret")


class TestInterrupted(tiny.TinyTestCase):
    def setUp(self) -> None:
        super().setUp()
        home = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(home.cleanup)
        self.image = Path(home.name, "image")
        self.image.write_bytes(bytes(MIB))
        self.made = self.spawn_tiny()

    @property
    def wanted(self) -> Rescue:
        return Rescue(image=Image(location=str(self.image)), config_drive=TOLD)

    def rescue_files(self) -> list[Path]:
        return list((base.state_path() / "instances" / self.made.uuid).glob("*rescue*"))

    def kill_at(self, action: str, point: str) -> None:
        arguments = (action, self.made.uuid)
        with worker.running(*arguments, pause=point, image=str(self.image)) as other:
            self.assertEqual(worker.PAUSED, other.says())

    def test_a_failed_boot_of_the_rescue_system_undoes_the_rescue(self) -> None:
        create = libvirt.virDomain.create

        def only_own(domain: libvirt.virDomain) -> Any:
            if "rescue-" in domain.XMLDesc():
                raise tiny.libvirt_error()
            return create(domain)

        with (
            mock.patch.object(libvirt.virDomain, "create", only_own),
            self.assertRaises(exceptions.LibvirtError),
        ):
            self.driver.rescue(self.made.uuid, self.wanted, timeout=0)
        shown = self.driver.show(self.made.uuid)
        self.assertIs(PowerState.RUNNING, shown.state)
        self.assertIsNone(shown.guest.rescue)
        self.assertEqual([], self.rescue_files())

    def test_image_is_not_needed_after_the_rescue(self) -> None:
        disk = self.image.with_name("disk")
        disk.write_bytes(bytes(MIB))
        made = self.spawn_tiny(image=Image(location=str(disk)))
        iso, removed = guests.build().iso, set()
        for image in (self.image, iso, disk):
            with self.subTest(image):
                rescue = Rescue(image=Image(location=str(image)))
                self.driver.rescue(made.uuid, rescue, timeout=0)
                self.assertIn(made.uuid, self.users(image))
                # Notes who needs the images, too.
                removed |= {entry.source for entry in self.driver.image_prune(unused=0)}
                self.driver.unrescue(made.uuid)
                self.assertEqual([made.uuid] if image == disk else [], self.users(image))
        self.assertLessEqual({str(self.image), str(iso)}, removed)
        with self.subTest("guest of an ISO image"):
            installer = self.spawn_tiny(image=Image(location=str(iso)))
            self.driver.rescue(installer.uuid, self.wanted, timeout=0)
            self.driver.unrescue(installer.uuid)
            self.assertEqual([installer.uuid], self.users(iso))
            self.assertEqual([], self.users(self.image))
        self.assertEqual([made.uuid], self.users(disk))

    def test_need_of_an_image_stays_if_another_client_has_added_a_disk(self) -> None:
        self.driver.rescue(self.made.uuid, self.wanted, timeout=0)
        added = self.image.with_name("added")
        added.write_bytes(bytes(MIB))
        xml = (
            f"<disk type='file'><driver name='qemu' type='raw'/><source file='{added}'/>"
            "<target dev='vdq' bus='virtio'/></disk>"
        )
        domain = tiny.libvirt_connection(self).lookupByUUIDString(self.made.uuid)
        domain.attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        self.driver.unrescue(self.made.uuid)
        self.assertEqual([self.made.uuid], self.users(self.image))
        self.driver.destroy(self.made.uuid)
        self.assertEqual([], self.users(self.image))

    def users(self, image: Path) -> list[str]:
        """Return the guests that need an image."""
        entries = self.driver.image_list()
        return [uuid for entry in entries if entry.source == str(image) for uuid in entry.guests]

    def test_killed_before_the_guest_is_redefined(self) -> None:
        for point in ("rescue files made", "guest powered off"):
            with self.subTest(point):
                self.kill_at("rescue", point)
                self.assertTrue(self.rescue_files())
                driver = self.other_driver()
                self.assertEqual([], self.rescue_files())
                shown = driver.show(self.made.uuid)
                self.assertIs(PowerState.RUNNING, shown.state)
                self.assertIsNone(shown.guest.rescue)
                self.assertEqual((), driver.audit())

    def test_killed_after_the_guest_is_redefined(self) -> None:
        self.kill_at("rescue", "domain redefined")
        driver = self.other_driver()
        self.assertEqual((), driver.audit())
        self.assertIsNotNone(driver.show(self.made.uuid).guest.rescue)
        self.assertIs(PowerState.RUNNING, driver.show(self.made.uuid).state)
        driver.unrescue(self.made.uuid)
        self.assertEqual([], self.rescue_files())
        self.assertIs(PowerState.RUNNING, driver.show(self.made.uuid).state)

    def test_killed_unrescue(self) -> None:
        for point, over in (("guest powered off", False), ("domain redefined", True)):
            with self.subTest(point):
                self.driver.rescue(self.made.uuid, self.wanted, timeout=0)
                self.kill_at("unrescue", point)
                driver = self.other_driver()
                self.assertEqual((), driver.audit())
                self.assertIs(over, driver.show(self.made.uuid).guest.rescue is None)
                self.assertIs(over, not self.rescue_files())
                self.assertIs(PowerState.RUNNING, driver.show(self.made.uuid).state)
                if not over:
                    driver.unrescue(self.made.uuid)

    def test_the_audit_removes_rescue_files_of_no_guest(self) -> None:
        left = base.state_path() / "instances" / self.made.uuid / "rescue-system.qcow2"
        left.touch()
        for repair in (False, True):
            (finding,) = self.driver.audit(repair=repair)
            self.assertEqual(("orphan file", str(left)), (finding.kind, finding.subject))
        self.assertFalse(left.exists())

    def test_secrets_are_not_stored(self) -> None:
        self.driver.rescue(self.made.uuid, self.wanted, timeout=0)
        with inside.connection(self.driver) as opened:
            self.assertNotIn("secret", opened.lookupByUUIDString(self.made.uuid).XMLDesc())
        again = LibvirtDriver(base.configuration())
        self.addCleanup(again.close)
        rescue = again.show(self.made.uuid).guest.rescue
        assert rescue is not None
        assert rescue.config_drive is not None
        self.assertEqual("rescuer", rescue.config_drive.hostname)
