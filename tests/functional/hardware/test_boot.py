# SPDX-License-Identifier: Apache-2.0
"""Every way to boot a guest, and to boot it again from its stored description."""

from __future__ import annotations

from compute_driver.choices import DiskFormat, Firmware
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.guest import GIB, Disk, Guest, Image
from compute_driver.hardware import tuning
from compute_driver.system import memory
from tests import guests
from tests.functional import base, inside

#: A UEFI variable of the guest, and the command that writes it (Linux's efivarfs).
VARIABLE = "/sys/firmware/efi/efivars/Mark-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"
WRITE_VARIABLE = rf"printf '\007\000\000\000kept' >{VARIABLE}"


class TestDiskImage(inside.BootTestCase):
    def test_bios_guest_keeps_its_disk_and_takes_new_configuration_at_hard_reboot(self) -> None:
        made = self.spawn()
        self.assertEqual(["bios"], self.fact(made, "FIRMWARE"))
        self.assertEqual({"root.qcow2", "console.log"}, self.files(made))
        expected = tuning.translation_buffer_mib(made.memory_mib, memory.total_mib())
        self.assertEqual(expected, self.translation_buffer_mib(made))

        self.driver.close()
        options = {"virt_type": "qemu", "disk_format": "raw", "tcg_translation_buffer_mib": 48}
        self.driver = LibvirtDriver(base.configuration(**options))
        self.addCleanup(self.driver.close)
        self.hard_reboot(made)
        self.assertEqual(["1", "2"], self.fact(made, "BOOTS"))
        self.assertEqual(48, self.translation_buffer_mib(made))
        self.assertIn("virt_type", self.driver.show(made.uuid).reason)
        # An existing disk keeps its format, whatever the configuration says.
        self.assertEqual({"root.qcow2", "console.log"}, self.files(made))

    def translation_buffer_mib(self, made: Guest) -> int:
        size = inside.domain_xml(self.driver, made).find("features/tcg/tb-cache[@unit='KiB']")
        assert size is not None
        return int(size.text or 0) // 1024

    def test_uefi_guest_keeps_its_variables_until_it_is_destroyed(self) -> None:
        made = self.spawn(firmware=Firmware.UEFI)
        self.assertEqual(["uefi"], self.fact(made, "FIRMWARE"))
        self.assertEqual(["no"], self.fact(made, "SECUREBOOT"))
        self.assertIn("nvram.fd", self.files(made))
        inside.run(self.driver, made, WRITE_VARIABLE)
        self.hard_reboot(made)
        self.assertIn("kept", inside.run(self.driver, made, f"cat {VARIABLE}"))
        self.assertEqual(["1", "2"], self.fact(made, "BOOTS"))
        self.driver.destroy(made.uuid)
        self.assertFalse((base.state_path() / "instances" / made.uuid).exists())


class TestWithoutDiskImage(inside.BootTestCase):
    def test_kernel_with_ramdisk_and_command_line(self) -> None:
        made = self.spawn(boot=base.kernel("mark=<a&b>"), interfaces=())
        for _twice in range(2):
            self.assertIn("mark=<a&b>", inside.run(self.driver, made, "cat /proc/cmdline"))
            self.assertEqual([], self.fact(made, "DISK"))
            self.assertEqual([], self.fact(made, "NIC"))
            self.assertEqual({"kernel", "ramdisk", "console.log"}, self.files(made))
            self.hard_reboot(made)

    def test_installer_has_an_empty_disk_and_stays_after_a_reboot(self) -> None:
        # The test guest's kernel has a driver for this machine's CD-ROM drive.
        made = self.spawn(
            image=Image(location=str(guests.build().iso)), root=Disk(size_bytes=GIB), machine="pc"
        )
        self.assertEqual({"installer.iso", "root.qcow2", "console.log"}, self.files(made))
        self.assertIs(DiskFormat.ISO, self.stored_format(made))
        installer, root = sorted(self.fact(made, "DISK"), key=lambda line: "serial=root" in line)
        self.assertRegex(installer, "fs=iso9660 label=CDGUEST-ISO$")
        self.assertRegex(root, f"size={GIB} bus=virtio .* ro=0 serial=root fs=none")
        inside.run(self.driver, made, "echo installed >/dev/vda; sync")
        self.hard_reboot(made)
        self.assertEqual("installed\n", inside.run(self.driver, made, "head -n 1 /dev/vda"))

    def stored_format(self, made: Guest) -> DiskFormat | None:
        image = self.driver.show(made.uuid).guest.image
        return image.format if image else None

    def test_live_system_needs_no_disk(self) -> None:
        made = self.spawn(
            image=Image(location=str(guests.build().iso)),
            firmware=Firmware.UEFI,
        )
        self.assertEqual(["uefi"], self.fact(made, "FIRMWARE"))
        self.assertEqual({"installer.iso", "nvram.fd", "console.log"}, self.files(made))
