# SPDX-License-Identifier: Apache-2.0
"""Guests run on the accelerator that the host really has: the same guests with and without KVM."""

from __future__ import annotations

import io
import shutil
import unittest
from pathlib import Path
from typing import Any, ClassVar

import PIL.Image

from compute_driver import exceptions
from compute_driver.choices import Accelerator, PowerState, RebootKind
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import GIB, ConfigDrive, Disk, Guest
from compute_driver.info import GuestInfo
from tests.functional import base, inside

#: Linux's line about its hypervisor; under emulation Linux has none.
KVM_LINE = "Hypervisor detected: KVM"

#: Mounts a partition of the root disk.
MOUNT = "mkdir -p /disk && mount -t vfat /dev/vda1 /disk"

#: Flags of x86 processors that can run guests.
FLAGS = {"vmx", "svm"}


def without_kvm() -> None:
    """Skip a test where KVM may work."""
    if FLAGS & set(Path("/proc/cpuinfo").read_text().split()):
        raise unittest.SkipTest("the processor can run guests")


class TestGuest(inside.SharedGuestTestCase):
    """The life of one guest."""

    @classmethod
    def changes(cls) -> dict[str, Any]:
        return {
            "ephemerals": (Disk(size_bytes=GIB),),
            "config_drive": ConfigDrive(hostname="accelerated"),
        }

    def assert_kept(self, boot: str) -> None:
        """Check that the guest has not booted since, and has kept its memory."""
        self.assertEqual(boot, inside.boot_id(self.driver, self.made))
        self.assertEqual("kept\n", self.run_inside("cat /tmp/kept"))

    def remember(self) -> str:
        self.run_inside("echo kept >/tmp/kept")
        return inside.boot_id(self.driver, self.made)

    def test_domain_is_of_the_accelerators_type(self) -> None:
        domain = inside.domain_xml(self.driver, self.made)
        self.assertEqual(base.ACCELERATOR.domain_type, domain.get("type"))

    def test_guest_names_its_accelerator(self) -> None:
        self.assertEqual([str(base.ACCELERATOR)], self.fact(self.made, "VIRT"))
        lines = self.run_inside("dmesg | grep -i hypervisor")
        self.assertEqual(base.ACCELERATOR is Accelerator.KVM, KVM_LINE in lines, lines)

    def test_show_and_list_tell_accelerator_and_reason(self) -> None:
        shown = self.driver.show(self.made.uuid)
        self.assertEqual(str(base.ACCELERATOR), shown.accelerator)
        self.assertIn(f"virt_type is {base.VIRT_TYPE}", shown.reason)
        (listed,) = self.driver.list()
        self.assertEqual((shown.accelerator, shown.reason), (listed.accelerator, listed.reason))

    def test_disks_config_drive_and_network_are_there(self) -> None:
        (disk,) = (d for d in self.fact(self.made, "DISK") if "serial=ephemeral0" in d)
        self.assertRegex(disk, f"size={GIB} bus=virtio .* fs=ext label=ephemeral0")
        self.assertEqual(["accelerated"], self.fact(self.made, "HOSTNAME"))
        self.assertEqual([self.made.uuid], self.fact(self.made, "UUID"))
        self.driver.console_wait(self.made.uuid, "GUEST-LEASE: eth0 10.0.2.15/", timeout=30)

    def test_screenshot(self) -> None:
        picture = PIL.Image.open(io.BytesIO(self.driver.screenshot(self.made.uuid)))
        self.assertEqual("PNG", picture.format)
        self.assertGreaterEqual(picture.size, (640, 400))

    def test_pause_and_resume(self) -> None:
        boot = self.remember()
        self.driver.pause(self.made.uuid)
        self.assertIs(PowerState.PAUSED, self.driver.show(self.made.uuid).state)
        self.driver.resume(self.made.uuid)
        self.assert_kept(boot)

    def test_suspend_to_disk_and_back(self) -> None:
        boot = self.remember()
        self.driver.suspend(self.made.uuid)
        self.assertIs(PowerState.SUSPENDED, self.driver.show(self.made.uuid).state)
        self.driver.resume(self.made.uuid)
        self.assert_kept(boot)
        self.assertEqual(str(base.ACCELERATOR), self.driver.show(self.made.uuid).accelerator)

    def test_soft_reboot(self) -> None:
        boot = inside.boot_id(self.driver, self.made)
        with inside.boots(self.driver, self.made):
            self.assertIs(RebootKind.SOFT, self.driver.reboot(self.made.uuid))
        self.assertNotEqual(boot, inside.boot_id(self.driver, self.made))
        self.assertEqual(str(base.ACCELERATOR), self.fact(self.made, "VIRT")[-1])

    def test_stop_by_the_power_button_and_start(self) -> None:
        before = len(self.driver.console_log(self.made.uuid))
        self.driver.stop(self.made.uuid)
        self.assertIs(PowerState.STOPPED, self.driver.show(self.made.uuid).state)
        said = self.driver.console_log(self.made.uuid)[before:].decode()
        self.assertRegex(said, r"(?s)GUEST-POWERBUTTON.*GUEST-DOWN")
        with inside.boots(self.driver, self.made):
            self.driver.start(self.made.uuid)
        self.assertEqual(str(base.ACCELERATOR), self.fact(self.made, "VIRT")[-1])


class TestSwitch(base.HostTestCase):
    """The operator changes ``virt_type`` while guests exist."""

    options: ClassVar = {"virt_type": "kvm", "emulation_fallback": True}

    def switch(self, virt_type: str) -> None:
        """Use a driver with another configuration from now on."""
        self.driver.close()
        self.driver = LibvirtDriver(base.configuration(**self.options | {"virt_type": virt_type}))
        self.addCleanup(self.driver.close)

    def assert_accelerated(self, made: Guest, accelerator: Accelerator, virt_type: str) -> None:
        """Check that driver, guest and domain name the same accelerator."""
        shown = self.driver.show(made.uuid)
        self.assertEqual(str(accelerator), shown.accelerator)
        self.assertEqual(str(accelerator), self.fact(made, "VIRT")[-1])
        domain = inside.domain_xml(self.driver, made)
        self.assertEqual(accelerator.domain_type, domain.get("type"))
        fell_back = virt_type == "kvm" and accelerator is Accelerator.TCG
        expected = "no usable KVM" if fell_back else f"virt_type is {virt_type}"
        self.assertIn(expected, shown.reason)

    def test_disk_is_kept_under_either_accelerator(self) -> None:
        # One boot without KVM, and no firmware: both are slow where the emulator is emulated.
        disk = {"image": base.disk_image(), "root": Disk(size_bytes=GIB)}
        made = self.spawn(boot=base.kernel(), interfaces=(), **disk)
        self.assert_accelerated(made, base.ACCELERATOR, "kvm")
        inside.run(self.driver, made, f"{MOUNT} && echo kept >/disk/kept; umount /disk")

        self.switch("qemu")
        self.assert_accelerated(made, base.ACCELERATOR, "kvm")
        with inside.boots(self.driver, made):
            self.driver.reboot(made.uuid, kind=RebootKind.HARD)
        self.assert_accelerated(made, Accelerator.TCG, "qemu")
        self.assertEqual("kept\n", inside.run(self.driver, made, f"{MOUNT} && cat /disk/kept"))

        self.driver.stop(made.uuid)
        self.switch("kvm")
        with inside.boots(self.driver, made):
            self.driver.start(made.uuid)
        self.assert_accelerated(made, base.ACCELERATOR, "kvm")
        self.assertEqual("kept\n", inside.run(self.driver, made, f"{MOUNT} && cat /disk/kept"))
        self.assertEqual(["3"], self.fact(made, "BOOTS"))


class TestDecision(base.HostTestCase):
    """The outcome of ``virt_type = kvm``, with guests that need not boot."""

    options: ClassVar = {"virt_type": "kvm", "emulation_fallback": True}

    def start(self, **changes: Any) -> GuestInfo:
        """Spawn a guest without a disk for the time of the test."""
        made = base.guest(boot=base.kernel(), interfaces=(), **changes)
        self.addCleanup(self.driver.destroy, made.uuid)
        return self.driver.spawn(made)

    def test_host_check_tells_of_kvm(self) -> None:
        (check,) = (check for check in self.driver.host_check() if check.subject == "KVM")
        if base.ACCELERATOR is Accelerator.KVM:
            self.assertEqual(("ok", ""), (check.verdict, check.remedy))
            self.assertRegex(check.detail, "^usable.*flag svm.*kvm_amd.*loop ran")
        else:
            without_kvm()
            self.assertEqual("warning", check.verdict)
            self.assertRegex(check.detail, "no usable KVM: .*no vmx or svm flag")
            self.assertTrue(check.remedy)

    def test_host_without_kvm_emulates_with_a_warning(self) -> None:
        if base.ACCELERATOR is Accelerator.KVM:
            with self.assertNoLogs("compute_driver", level="WARNING"):
                info = self.start()
            self.assertEqual("kvm", info.accelerator)
        else:
            without_kvm()
            with self.assertLogs("compute_driver", level="WARNING") as logs:
                info = self.start()
            self.assertEqual("tcg", info.accelerator)
            self.assertIn("no usable KVM", info.reason)
            self.assertIn(info.reason, logs.output[0])

    def test_host_without_kvm_refuses_without_fallback(self) -> None:
        self.driver.close()
        options = self.options | {"emulation_fallback": False}
        self.driver = LibvirtDriver(base.configuration(**options))
        self.addCleanup(self.driver.close)
        if base.ACCELERATOR is Accelerator.KVM:
            self.assertEqual("kvm", self.start().accelerator)
        else:
            without_kvm()
            cached = base.state_path() / "images"
            before = list(cached.glob("*"))
            with self.assertRaisesRegex(exceptions.AccelerationUnavailable, "no vmx or svm flag"):
                self.start()
            # The end of every test checks the other directories.
            self.assertEqual(before, list(cached.glob("*")))

    def test_guest_of_32_bit_is_accelerated_like_the_hosts_own(self) -> None:
        if base.ACCELERATOR is not Accelerator.KVM:
            without_kvm()
        self.assertEqual(str(base.ACCELERATOR), self.start(architecture="i686").accelerator)

    @unittest.skipUnless(shutil.which("qemu-system-aarch64"), "qemu-system-arm is not installed")
    def test_guest_of_a_foreign_architecture_is_emulated(self) -> None:
        info = self.start(architecture="aarch64")
        self.assertEqual("tcg", info.accelerator)
        self.assertIn("cannot run aarch64 guests", info.reason)
        self.assertEqual("qemu", inside.domain_xml(self.driver, info.guest).get("type"))
