# SPDX-License-Identifier: Apache-2.0
"""Another client of the same libvirt moves, changes or removes disks of a guest."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import libvirt
from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import PowerState, RebootKind
from compute_driver.guest import MIB, Disk, Image, Rescue
from compute_driver.libvirt import domain as domains
from compute_driver.xml import metadata
from tests.functional.other_client import AFTER, BEFORE, COPY, OtherClientTestCase, assert_content


class TestJob(OtherClientTestCase):
    """Another client copies the disk, and the copy goes on."""

    def setUp(self) -> None:
        super().setUp()
        self.made = self.spawn_tiny()
        target = self.home / "job"
        xml = f"<disk type='file'><source file='{target}'/><driver type='qcow2'/></disk>"
        flags = libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
        self.domain(self.made).blockCopy(self.device(self.made), xml, flags=flags)
        self.wait_for_job(self.made, ready=True)
        self.write(self.made, *AFTER)

    def test_snapshot_and_suspend_name_it(self) -> None:
        for refused in (
            lambda: self.driver.snapshot(self.made.uuid, self.home / "image"),
            lambda: self.driver.suspend(self.made.uuid),
        ):
            with self.assertRaisesRegex(exceptions.GuestBusy, "another client"):
                refused()
        self.pivot(self.made)
        self.driver.suspend(self.made.uuid)
        self.driver.resume(self.made.uuid)
        self.assertEqual(self.home / "job", self.disk(self.made))
        self.assert_written(self.made, AFTER)

    def test_power_off_ends_it(self) -> None:
        disk = self.disk(self.made)
        self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        self.assertEqual(disk, self.disk(self.made))
        self.assert_written(self.made, AFTER)

    def test_destroy_ends_it(self) -> None:
        self.driver.destroy(self.made.uuid)


class TestPlaces(OtherClientTestCase):
    """Disks that are elsewhere, gone, or cannot be known."""

    def setUp(self) -> None:
        super().setUp()
        self.made = self.spawn_tiny()
        self.write(self.made, *BEFORE)
        self.planned = self.disk(self.made)

    def redefine(self, change: Callable[[etree._Element], object]) -> None:
        """Change the guest's domain from its next power-on."""
        domain = etree.fromstring(self.domain(self.made).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))
        (root,) = domain.xpath("devices/disk[serial='root']")
        change(root)
        self.client.defineXML(etree.tostring(domain, encoding="unicode"))

    def findings(self) -> list[tuple[str, str]]:
        return [(finding.kind, finding.subject) for finding in self.driver.audit()]

    def refused(self, *words: str, state: PowerState) -> None:
        """Check that no verb builds the domain anew, and that the guest stays as it is."""
        larger = dataclasses.replace(self.made, root=Disk(size_bytes=2 * MIB))
        rescue = Rescue(image=Image(location=str(self.image())))
        verbs: dict[str, Callable[[], object]] = {
            "reboot": lambda: self.driver.reboot(self.made.uuid, kind=RebootKind.HARD),
            "rescue": lambda: self.driver.rescue(self.made.uuid, rescue, timeout=0),
            "resize": lambda: self.driver.resize(self.made.uuid, larger, timeout=0),
        }
        for name, verb in verbs.items():
            with self.subTest(name):
                with self.assertRaises(exceptions.DiskUnusable) as caught:
                    verb()
                for word in words:
                    self.assertIn(word, str(caught.exception))
                self.assertIs(state, self.driver.state(self.made.uuid))

    def image(self) -> Path:
        path = self.home / "image"
        path.write_bytes(bytes(MIB))
        return path

    def test_audit_names_the_place_of_a_moved_disk(self) -> None:
        self.snapshot(self.made)
        wanted = [("moved disk", str(self.planned.with_suffix(".backup")))]
        self.assertEqual(wanted, self.findings())
        self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        self.assertEqual(wanted, self.findings())

    def test_all_disks_of_a_guest_are_followed(self) -> None:
        made = self.spawn_tiny(ephemerals=(Disk(size_bytes=8 * MIB),), swap=Disk(size_bytes=MIB))
        self.snapshot(made)
        self.driver.reboot(made.uuid, kind=RebootKind.HARD)
        for name in ("root", "ephemeral0", "swap"):
            self.assertEqual(".backup", self.disk(made, name).suffix)
        self.driver.resize(made.uuid, made, timeout=0)
        self.driver.confirm_resize(made.uuid)
        self.assertEqual(self.directory(made) / "ephemeral0.raw", self.disk(made, "ephemeral0"))
        self.driver.reboot(made.uuid, kind=RebootKind.HARD)

    def test_network_disk_is_refused(self) -> None:
        def move(disk: etree._Element) -> None:
            disk.set("type", "network")
            disk.replace(
                disk.find("source"),
                etree.fromstring(
                    "<source protocol='nbd' name='x'><host name='localhost' port='1'/></source>"
                ),
            )

        self.driver.stop(self.made.uuid, timeout=0)
        self.redefine(move)
        with self.assertRaisesRegex(exceptions.DiskUnusable, "network nbd x .*root.qcow2"):
            self.driver.start(self.made.uuid)
        self.refused("network nbd x", str(self.planned), "blockcopy", state=PowerState.STOPPED)
        self.assertEqual([("damaged guest", self.made.uuid)], self.findings())

    def test_disk_that_is_gone_is_refused_while_the_guest_runs_on(self) -> None:
        self.snapshot(self.made)
        overlay = self.disk(self.made)
        overlay.unlink()
        self.refused(str(overlay), "is gone", state=PowerState.RUNNING)

    def test_added_disk_that_is_gone_is_refused_while_the_guest_runs_on(self) -> None:
        self.attach_disk(self.made)
        added = self.home / f"{self.made.uuid}.data"
        self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        hidden = added.rename(self.home / "hidden")
        self.refused(f"{added} is gone", "detach-disk", state=PowerState.RUNNING)
        self.assertIn(("missing file", str(added)), self.findings())
        self.driver.stop(self.made.uuid, timeout=0)
        with self.assertRaisesRegex(exceptions.DiskUnusable, str(added)):
            self.driver.start(self.made.uuid)
        hidden.rename(added)
        self.driver.start(self.made.uuid)
        self.assertNotIn("missing file", dict(self.findings()))

    def test_backing_file_that_is_gone_is_refused_while_the_guest_runs_on(self) -> None:
        self.two_snapshots(self.made)
        monday = self.planned.with_suffix(".monday")
        for gone in (monday, self.planned):
            hidden = gone.rename(self.home / "hidden")
            self.refused(str(self.disk(self.made)), f"{gone} is gone", state=PowerState.RUNNING)
            hidden.rename(gone)
        self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        self.assert_written(self.made, BEFORE)

    def test_disk_that_is_changed_from_the_next_power_on_only(self) -> None:
        other = self.home / "other"
        other.write_bytes(bytes(MIB))
        self.redefine(lambda disk: disk.find("source").set("file", str(other)))
        self.redefine(lambda disk: disk.find("driver").set("type", "raw"))
        self.assertEqual([("changed disk", self.made.uuid)], self.findings())
        with self.assertLogs("compute_driver", "WARNING") as logs:
            self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        self.assertIn(str(other), logs.output[0])
        self.assert_written(self.made, BEFORE)
        self.assertEqual([], self.findings())

    def test_disk_that_is_removed_comes_back(self) -> None:
        self.redefine(lambda disk: disk.getparent().remove(disk))
        self.assertEqual([("removed device", self.made.uuid)], self.findings())
        self.driver.stop(self.made.uuid, timeout=0)
        self.driver.start(self.made.uuid)
        self.assert_written(self.made, BEFORE)

    def test_disk_that_lost_its_name_is_refused(self) -> None:
        self.snapshot(self.made)
        self.driver.stop(self.made.uuid, timeout=0)
        self.redefine(lambda disk: [disk.remove(disk.find(tag)) for tag in ("alias", "serial")])
        self.refused("<serial>root</serial>", state=PowerState.STOPPED)

    def test_disk_of_another_client_with_the_serial_number_of_the_root_disk(self) -> None:
        added = self.home / "copy"
        now = libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG
        self.attach_file(self.made, added, now, "root")
        target = self.home / "snapshot.qcow2"
        self.driver.snapshot(self.made.uuid, target)
        assert_content(target, "qcow2", BEFORE)
        self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        domain = etree.fromstring(self.domain(self.made).XMLDesc())
        places = {
            disk.find("target").get("dev"): disk.find("source").get("file")
            for disk in domain.iterfind("devices/disk")
        }
        self.assertEqual({"vda": str(self.planned), "vdb": str(added)}, places)
        self.assertEqual([("added device", self.made.uuid)], self.findings())

    def test_snapshot_of_a_guest_in_rescue(self) -> None:
        rescue = Rescue(image=Image(location=str(self.image())))
        self.driver.rescue(self.made.uuid, rescue, timeout=0)
        self.snapshot(self.made)
        self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        self.assertEqual("rescue-system.backup", self.disk(self.made, "rescue").name)
        self.driver.unrescue(self.made.uuid)
        self.assertEqual("root.backup", self.disk(self.made).name)
        self.assert_written(self.made, BEFORE)
        self.assertEqual(1, len(self.findings()))

    def test_snapshot_of_a_guest_that_is_off(self) -> None:
        self.driver.stop(self.made.uuid, timeout=0)
        self.snapshot(self.made)
        self.driver.start(self.made.uuid)
        self.assertEqual("root.backup", self.disk(self.made).name)

    def test_saved_memory_of_another_disk_is_refused(self) -> None:
        self.driver.suspend(self.made.uuid)
        self.snapshot(self.made)
        for verb in (self.driver.resume, self.driver.start):
            with self.assertRaisesRegex(exceptions.DiskUnusable, "root.qcow2.*root.backup"):
                verb(self.made.uuid)
        self.assertIs(PowerState.SUSPENDED, self.driver.state(self.made.uuid))
        self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        self.assert_written(self.made, BEFORE)

    def test_kept_files_of_a_moved_disk(self) -> None:
        self.snapshot(self.made)
        self.write(self.made, *AFTER)
        self.driver.destroy(self.made.uuid, keep_files=True)
        self.driver.spawn(self.made)
        self.assert_written(self.made, BEFORE, AFTER)

    def test_files_outside_the_guests_directory_are_named_and_stay(self) -> None:
        self.copy(self.made)
        outside = self.disk(self.made)
        with self.assertLogs("compute_driver", "WARNING") as logs:
            self.driver.resize(self.made.uuid, self.made, timeout=0)
            self.driver.confirm_resize(self.made.uuid)
        self.assertIn(str(outside), logs.output[-1])
        assert_content(outside, "qcow2", BEFORE)
        self.copy(self.made)
        with self.assertLogs("compute_driver", "WARNING") as logs:
            self.driver.destroy(self.made.uuid)
        self.assertIn(str(outside), logs.output[-1])
        assert_content(outside, "qcow2", BEFORE)

    def test_destroy_of_a_resized_guest_names_the_files_outside(self) -> None:
        self.copy(self.made)
        outside = self.disk(self.made)
        self.driver.resize(self.made.uuid, self.made, timeout=0)
        with self.assertLogs("compute_driver", "WARNING") as logs:
            self.driver.destroy(self.made.uuid)
        self.assertIn(str(outside), "".join(logs.output))
        assert_content(outside, "qcow2", BEFORE)

    def test_destroy_of_a_guest_with_damaged_metadata_names_the_files_outside(self) -> None:
        self.copy(self.made)
        outside, domain = self.disk(self.made), self.domain(self.made)
        kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
        text = domain.metadata(kind, metadata.NAMESPACE).replace("{", "", 1)
        domain.setMetadata(kind, text, metadata.PREFIX, metadata.NAMESPACE)
        with self.assertLogs("compute_driver", "WARNING") as logs:
            self.driver.destroy(self.made.uuid)
        self.assertIn(str(outside), "".join(logs.output))
        assert_content(outside, "qcow2", BEFORE)

    def test_a_rebuild_reads_the_domain_once_and_checks_it_once(self) -> None:
        with mock.patch.object(domains, "descriptions", wraps=domains.descriptions) as read:
            self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
            self.assertEqual(2, read.call_count)
            self.driver.audit()
            self.assertEqual(3, read.call_count)

    def test_image_of_a_disk_elsewhere_is_needed(self) -> None:
        image = Image(location=str(self.image()))
        made = self.spawn_tiny(image=image)
        overlay = self.home / "shallow"
        (base_file,) = (e.path for e in self.driver.image_list() if made.uuid in e.guests)
        subprocess.run(
            *(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base_file, overlay],),
            check=True,
        )
        xml = f"<disk type='file'><source file='{overlay}'/><driver type='qcow2'/></disk>"
        flags = COPY | libvirt.VIR_DOMAIN_BLOCK_COPY_SHALLOW
        planned = self.disk(made)
        self.domain(made).blockCopy(self.device(made), xml, flags=flags)
        self.pivot(made)
        planned.unlink()
        for _ in ("running", "stopped"):
            self.driver.image_prune(unused=0)
            (entry,) = self.driver.image_list()
            self.assertEqual((base_file, (made.uuid,)), (entry.path, entry.guests))
            self.driver.stop(made.uuid, timeout=0)
        self.driver.start(made.uuid)
