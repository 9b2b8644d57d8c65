# SPDX-License-Identifier: Apache-2.0
"""Another client of the same libvirt changes a guest, and no operation of the driver loses data.

Each change is followed by each operation, with a guest of its own.  The guest writes through its
emulator before and after the change, and after the operation it reads all that it has written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import libvirt
import libvirt_qemu
from lxml import etree

from compute_driver import exceptions
from compute_driver.choices import PowerState, RebootKind
from compute_driver.guest import MIB, Disk, Guest, Image, Interface, Rescue
from compute_driver.libvirt import domain as domains
from compute_driver.operations.base import interfaces
from tests.functional import base, command, tables, tiny

#: What the guest writes to its root disk: a pattern at an offset in KiB.
BEFORE = ("0x11", 64)
AFTER = ("0x55", 512)

COPY = libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB | libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT
LATER = libvirt.VIR_DOMAIN_AFFECT_CONFIG


def assert_content(path: Path, written: str, *patterns: tuple[str, int]) -> None:
    """Check what a disk has, which an emulator may have open."""
    for pattern, kib in patterns:
        read = ["-c", f"read -P {pattern} {kib}k 64k"]
        argv = ["qemu-io", "-U", "-r", "-f", written, *read, str(path)]
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        if done.returncode or "failed" in done.stdout:
            raise AssertionError(f"{path} lacks {pattern} at {kib} KiB: {done}")


class OtherClientTestCase(tiny.TinyTestCase):
    """A tiny guest that runs, and another client of its libvirt."""

    def setUp(self) -> None:
        super().setUp()
        self.driver.list()  # starts libvirt
        self.client = tiny.libvirt_connection(self)
        home = tempfile.TemporaryDirectory(dir="/var/tmp")
        self.addCleanup(home.cleanup)
        self.home = Path(home.name)

    def domain(self, made: Guest) -> libvirt.virDomain:
        return self.client.lookupByUUIDString(made.uuid)

    def directory(self, made: Guest) -> Path:
        return base.state_path() / "instances" / made.uuid

    def disk(self, made: Guest, name: str = "root") -> Path:
        """Return the file that libvirt has for a disk of a guest."""
        domain = etree.fromstring(self.domain(made).XMLDesc())
        (source,) = domain.xpath(f"devices/disk[serial='{name}']/source/@file")
        return Path(source)

    def device(self, made: Guest) -> str:
        domain = etree.fromstring(self.domain(made).XMLDesc())
        (name,) = domain.xpath("devices/disk[serial='root']/target/@dev")
        return str(name)

    def ask(self, made: Guest, command: str) -> str:
        """Have the emulator read or write the root disk, as the guest would."""
        asked = functools.partial(libvirt_qemu.qemuMonitorCommand, self.domain(made))
        blocks = json.loads(asked('{"execute":"query-block"}', 0))["return"]
        root = self.disk(made)
        (device,) = (
            block["qdev"] for block in blocks if block.get("inserted", {}).get("file") == str(root)
        )
        hmp = libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP
        return str(asked(f'qemu-io -d {device} "{command}"', hmp))

    def write(self, made: Guest, pattern: str, kib: int) -> None:
        self.ask(made, f"write -P {pattern} {kib}k 64k")
        self.ask(made, "flush")

    def assert_written(self, made: Guest, *patterns: tuple[str, int]) -> None:
        """Check what the root disk has that libvirt has given to the guest's emulator."""
        domain = etree.fromstring(self.domain(made).XMLDesc())
        (written,) = domain.xpath("devices/disk[serial='root']/driver/@type")
        assert_content(self.disk(made), str(written), *patterns)

    def wait_for_job(self, made: Guest, *, ready: bool = False) -> None:
        """Wait until a job of the root disk has ended, or can be pivoted."""
        domain, device = self.domain(made), self.device(made)

        def over() -> bool:
            job = domain.blockJobInfo(device)
            mirror = etree.fromstring(domain.XMLDesc()).find("devices/disk/mirror")
            return mirror is not None and mirror.get("ready") == "yes" if ready else not job

        command.eventually(over)

    # The changes of another client; each returns with the guest running.

    def snapshot(self, made: Guest, name: str = "backup") -> None:
        self.domain(made).snapshotCreateXML(
            f"<domainsnapshot><name>{name}</name></domainsnapshot>",
            libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY,
        )

    def two_snapshots(self, made: Guest) -> None:
        self.snapshot(made, "monday")
        self.snapshot(made, "tuesday")

    def forgotten_snapshot(self, made: Guest) -> None:
        self.domain(made).snapshotCreateXML(
            "<domainsnapshot/>",
            libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
            | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA,
        )

    def snapshot_elsewhere(self, made: Guest) -> None:
        overlay = self.home / f"{made.uuid}.overlay"
        self.domain(made).snapshotCreateXML(
            f"<domainsnapshot><disks><disk name='{self.device(made)}' snapshot='external'>"
            f"<source file='{overlay}'/></disk></disks></domainsnapshot>",
            libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY,
        )

    def internal_snapshot(self, made: Guest) -> None:
        self.domain(made).snapshotCreateXML("<domainsnapshot><name>s</name></domainsnapshot>")

    def commit(self, made: Guest) -> None:
        """Make a snapshot, and write its content back into the planned file."""
        self.snapshot(made)
        flags = libvirt.VIR_DOMAIN_BLOCK_COMMIT_ACTIVE
        self.domain(made).blockCommit(self.device(made), None, None, 0, flags)
        self.pivot(made)

    def inner_commit(self, made: Guest) -> None:
        """Merge the older of two overlays into the planned file."""
        planned = self.disk(made)
        self.two_snapshots(made)
        monday = planned.with_suffix(".monday")
        self.domain(made).blockCommit(self.device(made), str(planned), str(monday), 0, 0)
        self.wait_for_job(made)

    def pull(self, made: Guest) -> None:
        self.snapshot(made)
        self.domain(made).blockPull(self.device(made), 0, 0)
        self.wait_for_job(made)

    def copy(self, made: Guest) -> None:
        self.copied_to(made, self.home / f"{made.uuid}.copy", "qcow2")

    def raw_copy(self, made: Guest) -> None:
        self.copied_to(made, self.directory(made) / "root.copy", "raw")

    def copied_to(self, made: Guest, target: Path, written: str) -> None:
        size = self.domain(made).blockInfo(self.device(made))[0]
        subprocess.run(["qemu-img", "create", "-q", "-f", written, target, str(size)], check=True)
        xml = f"<disk type='file'><source file='{target}'/><driver type='{written}'/></disk>"
        self.domain(made).blockCopy(self.device(made), xml, flags=COPY)
        self.pivot(made)

    def pivot(self, made: Guest) -> None:
        self.wait_for_job(made, ready=True)
        self.domain(made).blockJobAbort(self.device(made), libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)

    def moved_back(self, made: Guest) -> None:
        """Move the disk away and back into the planned file."""
        planned = self.disk(made)
        self.copy(made)
        planned.unlink()
        self.driver.reboot(made.uuid, kind=RebootKind.HARD)
        self.copied_to(made, planned, "qcow2")

    def attach_disk(self, made: Guest) -> None:
        self.attach_file(made, self.home / f"{made.uuid}.data")

    def attach_file(self, made: Guest, added: Path, flags: int = LATER) -> str:
        """Add a disk with a new file, and return the disk's XML."""
        added.write_bytes(bytes(MIB))
        xml = (
            f"<disk type='file'><driver name='qemu' type='raw'/><source file='{added}'/>"
            "<target dev='vdb' bus='virtio'/></disk>"
        )
        self.domain(made).attachDeviceFlags(xml, flags)
        return xml


Change = Callable[[OtherClientTestCase, Guest], None]


class TestDisks(OtherClientTestCase):
    """The table: operations, changes, and what the guest has written."""

    CHANGES = tables.rows(
        whole=(
            OtherClientTestCase.snapshot,
            OtherClientTestCase.two_snapshots,
            OtherClientTestCase.forgotten_snapshot,
            OtherClientTestCase.snapshot_elsewhere,
            OtherClientTestCase.internal_snapshot,
            OtherClientTestCase.commit,
            OtherClientTestCase.inner_commit,
            OtherClientTestCase.pull,
            OtherClientTestCase.copy,
            OtherClientTestCase.raw_copy,
            OtherClientTestCase.moved_back,
            OtherClientTestCase.attach_disk,
        ),
        part=(
            OtherClientTestCase.two_snapshots,
            OtherClientTestCase.inner_commit,
            OtherClientTestCase.copy,
            OtherClientTestCase.attach_disk,
        ),
    )

    @contextlib.contextmanager
    def changed(self, change: Change) -> Iterator[Guest]:
        """Yield a guest after a change, as a test of its own."""
        with self.subTest(change.__name__):
            made = self.spawn_tiny()
            self.write(made, *BEFORE)
            change(self, made)
            self.write(made, *AFTER)
            yield made
            self.driver.destroy(made.uuid)

    def after_each(self, operation: Callable[[Guest], object]) -> None:
        lines = []
        for change in self.CHANGES:
            with self.changed(change) as made:
                operation(made)
                self.assert_written(made, BEFORE, AFTER)
                name = self.id().rpartition(".")[2].removeprefix("test_")
                lines.append((name, change.__name__, "all data kept"))
        tables.show("other-clients", lines)

    def test_hard_reboot(self) -> None:
        self.after_each(lambda made: self.driver.reboot(made.uuid, kind=RebootKind.HARD))

    def test_stop_and_start(self) -> None:
        def restart(made: Guest) -> None:
            self.driver.stop(made.uuid, timeout=0)
            self.driver.start(made.uuid)

        self.after_each(restart)

    def test_suspend_and_resume(self) -> None:
        def resume(made: Guest) -> None:
            self.driver.suspend(made.uuid)
            self.driver.resume(made.uuid)

        self.after_each(resume)

    def test_rescue_and_unrescue(self) -> None:
        image = self.home / "rescue"
        image.write_bytes(bytes(MIB))

        def rescue(made: Guest) -> None:
            self.driver.rescue(made.uuid, Rescue(image=Image(location=str(image))), timeout=0)
            self.assert_written(made, BEFORE, AFTER)
            self.driver.reboot(made.uuid, kind=RebootKind.HARD)
            self.assert_written(made, BEFORE, AFTER)
            self.driver.unrescue(made.uuid)

        self.after_each(rescue)

    def resize(self, made: Guest) -> None:
        larger = dataclasses.replace(made, root=Disk(size_bytes=2 * MIB))
        self.driver.resize(made.uuid, larger, timeout=0)
        self.assert_written(made, BEFORE, AFTER)

    def test_resize_and_confirmation(self) -> None:
        def confirm(made: Guest) -> None:
            self.resize(made)
            self.driver.confirm_resize(made.uuid)
            self.driver.reboot(made.uuid, kind=RebootKind.HARD)

        self.after_each(confirm)

    def test_resize_and_revert(self) -> None:
        def revert(made: Guest) -> None:
            self.resize(made)
            self.driver.revert_resize(made.uuid, timeout=0)

        self.after_each(revert)

    def test_snapshot(self) -> None:
        def copy(made: Guest) -> None:
            target = self.home / f"{made.uuid}.image"
            for _ in ("running", "stopped"):
                self.driver.snapshot(made.uuid, target)
                assert_content(target, "qcow2", BEFORE, AFTER)
                self.driver.stop(made.uuid, timeout=0)
                target.unlink()
            self.driver.start(made.uuid)

        self.after_each(copy)


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
        self.redefine(lambda disk: disk.remove(disk.find("serial")))
        self.refused("<serial>root</serial>", state=PowerState.STOPPED)

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

    def test_a_rebuild_reads_the_domain_once_and_checks_it_once(self) -> None:
        with mock.patch.object(domains, "descriptions", wraps=domains.descriptions) as read:
            self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
            self.assertEqual(2, read.call_count)
            self.driver.audit()
            self.assertEqual(4, read.call_count)

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


class TestDescription(OtherClientTestCase):
    """Other devices, sizes and words, which the guest keeps."""

    def setUp(self) -> None:
        super().setUp()
        self.made = self.spawn_tiny(interfaces=(Interface(),))

    def kinds(self) -> list[str]:
        return [finding.kind for finding in self.driver.audit()]

    def rebuild(self) -> etree._Element:
        """Build the domain anew in every way, and return it."""
        image = self.home / "rescue"
        image.write_bytes(bytes(MIB))
        self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        self.driver.rescue(self.made.uuid, Rescue(image=Image(location=str(image))), timeout=0)
        self.driver.unrescue(self.made.uuid)
        self.driver.attach_interface(self.made.uuid, Interface())
        self.driver.stop(self.made.uuid, timeout=0)
        self.driver.start(self.made.uuid)
        inactive = libvirt.VIR_DOMAIN_XML_INACTIVE
        return etree.fromstring(self.domain(self.made).XMLDesc(inactive))

    def test_added_devices_stay(self) -> None:
        mac = "52:54:00:00:00:99"
        self.attach_disk(self.made)
        source, target = f"<source dir='{self.home}'/>", "<target dir='share'/>"
        for xml in (
            f"<interface type='user'><mac address='{mac}'/><model type='e1000e'/></interface>",
            f"<filesystem type='mount'>{source}{target}</filesystem>",
        ):
            self.domain(self.made).attachDeviceFlags(xml, LATER)
        self.assertEqual(["added device"] * 3, self.kinds())
        domain = self.rebuild()
        self.assertEqual(1, len(domain.xpath(f"devices/interface[mac/@address='{mac}']")))
        (added,) = domain.xpath("devices/disk[not(serial)]/source/@file")
        self.assertEqual(str(self.home / f"{self.made.uuid}.data"), added)
        self.assertEqual(["added device"] * 3, self.kinds())
        self.driver.resize(self.made.uuid, self.made, timeout=0)
        self.driver.confirm_resize(self.made.uuid)
        self.assertEqual(["added device"] * 3, self.kinds())
        (interface,) = etree.fromstring(self.domain(self.made).XMLDesc()).xpath(
            f"devices/interface[mac/@address='{mac}']"
        )
        self.domain(self.made).detachDeviceFlags(
            etree.tostring(interface, encoding="unicode"), LATER
        )
        self.assertEqual(["added device"] * 2, self.kinds())

    def test_added_disk_in_the_directory_stops_a_resize(self) -> None:
        added = self.directory(self.made) / "data"
        self.attach_file(self.made, added)
        with self.assertRaisesRegex(exceptions.DiskUnusable, str(added)):
            self.driver.resize(self.made.uuid, self.made, timeout=0)
        self.assertIs(PowerState.RUNNING, self.driver.state(self.made.uuid))

    def test_added_disk_in_the_directory_stops_a_revert(self) -> None:
        added = self.directory(self.made) / "data.raw"
        for flags in (LATER, libvirt.VIR_DOMAIN_AFFECT_LIVE):
            self.driver.resize(self.made.uuid, self.made, timeout=0)
            xml = self.attach_file(self.made, added, flags)
            with self.assertRaisesRegex(exceptions.DiskUnusable, str(added)):
                self.driver.revert_resize(self.made.uuid, timeout=0)
            self.assertIs(PowerState.RUNNING, self.driver.state(self.made.uuid))
            self.assertEqual(MIB, added.stat().st_size)
            if flags == LATER:
                self.domain(self.made).detachDeviceFlags(xml, LATER)
                self.driver.revert_resize(self.made.uuid, timeout=0)

    def test_scsi_controller_of_an_added_disk_stays(self) -> None:
        added = self.home / "data"
        added.write_bytes(bytes(MIB))
        controller = "<controller type='scsi' index='1' model='virtio-scsi'/>"
        disk = (
            f"<disk type='file'><driver name='qemu' type='raw'/><source file='{added}'/><target"
            " dev='sdb' bus='scsi'/><address type='drive' controller='1' bus='0' unit='3'/></disk>"
        )
        for xml in (controller, disk):
            self.domain(self.made).attachDeviceFlags(xml, LATER)
        domain = self.rebuild()
        (place,) = domain.xpath("devices/disk[target/@bus='scsi']/address")
        self.assertEqual(("1", "3"), (place.get("controller"), place.get("unit")))
        (model,) = domain.xpath("devices/controller[@type='scsi'][@index='1']/@model")
        self.assertEqual("virtio-scsi", model)

    def test_interface_of_the_run_only_stays(self) -> None:
        self.domain(self.made).attachDeviceFlags(
            "<interface type='user'><model type='virtio'/></interface>",
            libvirt.VIR_DOMAIN_AFFECT_LIVE,
        )
        with mock.patch.object(interfaces, "let_go") as let_go:
            interfaces.mend(self.driver._parts, self.made.uuid)
        let_go.assert_not_called()

    def test_removed_interface_comes_back(self) -> None:
        domain = etree.fromstring(self.domain(self.made).XMLDesc())
        (interface,) = domain.xpath("devices/interface")
        self.domain(self.made).detachDeviceFlags(
            etree.tostring(interface, encoding="unicode"), LATER
        )
        self.assertEqual(["removed device"], self.kinds())
        self.driver.stop(self.made.uuid, timeout=0)
        self.driver.start(self.made.uuid)
        self.assertEqual([], self.kinds())

    def test_memory_and_processors_stay(self) -> None:
        domain = self.domain(self.made)
        maximum = libvirt.VIR_DOMAIN_MEM_MAXIMUM
        domain.setMemoryFlags(32 * 1024, LATER | maximum)
        domain.setMemoryFlags(24 * 1024, LATER)
        domain.setVcpusFlags(3, LATER | libvirt.VIR_DOMAIN_VCPU_MAXIMUM)
        domain.setVcpusFlags(2, LATER)
        self.assertEqual(["changed size"] * 2, self.kinds())
        xml = self.rebuild()
        self.assertEqual(("32768", "24576"), tuple(map(xml.findtext, ("memory", "currentMemory"))))
        self.assertEqual(("3", "2"), (xml.findtext("vcpu"), xml.find("vcpu").get("current")))
        stored = self.driver.show(self.made.uuid).guest
        self.assertEqual((32, 3), (stored.memory_mib, stored.vcpus))
        self.assertEqual([], self.kinds())
        self.driver.resize(self.made.uuid, self.made, timeout=0)
        xml = etree.fromstring(self.domain(self.made).XMLDesc())
        self.assertEqual(("16384", "1"), (xml.findtext("memory"), xml.findtext("vcpu")))

    def test_words_and_autostart_stay(self) -> None:
        domain = self.domain(self.made)
        title, description = (
            getattr(libvirt, f"VIR_DOMAIN_METADATA_{kind}") for kind in ("TITLE", "DESCRIPTION")
        )
        domain.setMetadata(title, "title", None, None, LATER)
        domain.setMetadata(description, "words", None, None, LATER)
        element = libvirt.VIR_DOMAIN_METADATA_ELEMENT
        domain.setMetadata(element, "<note>n</note>", "other", "urn:other", LATER)
        domain.setAutostart(1)
        xml = self.rebuild()
        self.assertEqual(("title", "words"), tuple(map(xml.findtext, ("title", "description"))))
        self.assertEqual("n", xml.findtext("metadata/{urn:other}note"))
        self.assertEqual(1, self.domain(self.made).autostart())
        self.assertEqual([], self.kinds())

    def test_memory_that_another_client_saved(self) -> None:
        emulator = tiny.emulators()
        for verb in (self.driver.start, self.driver.resume):
            self.domain(self.made).managedSave()
            self.assertIs(PowerState.SUSPENDED, self.driver.state(self.made.uuid))
            verb(self.made.uuid)
            self.assertIs(PowerState.RUNNING, self.driver.state(self.made.uuid))
        self.assertNotEqual(emulator, tiny.emulators())
        self.domain(self.made).managedSave()
        self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        self.assertFalse(self.domain(self.made).hasManagedSaveImage())

    def test_checkpoint_stays(self) -> None:
        made = self.spawn_tiny()
        self.domain(made).checkpointCreateXML("<domaincheckpoint/>")
        self.driver.reboot(made.uuid, kind=RebootKind.HARD)
        self.assertEqual(1, len(self.domain(made).listAllCheckpoints()))
        self.driver.snapshot(made.uuid, self.home / "image.qcow2")
        self.driver.resize(made.uuid, made, timeout=0)
        self.driver.confirm_resize(made.uuid)
