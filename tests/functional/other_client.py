# SPDX-License-Identifier: Apache-2.0
"""A tiny guest that runs, and another client of its libvirt, which changes the guest."""

from __future__ import annotations

import functools
import json
import subprocess
import tempfile
from pathlib import Path

import libvirt
import libvirt_qemu
from lxml import etree

from compute_driver.choices import RebootKind
from compute_driver.guest import MIB, Guest
from tests.functional import base, command, tiny

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

    def attach_file(self, made: Guest, added: Path, flags: int = LATER, serial: str = "") -> str:
        """Add a disk with a new file, and return the disk's XML."""
        added.write_bytes(bytes(MIB))
        name = f"<serial>{serial}</serial>" if serial else ""
        xml = (
            f"<disk type='file'><driver name='qemu' type='raw'/><source file='{added}'/>"
            f"<target dev='vdb' bus='virtio'/>{name}</disk>"
        )
        self.domain(made).attachDeviceFlags(xml, flags)
        return xml
