# SPDX-License-Identifier: Apache-2.0
"""What OpenStack's properties and extra specs ask for."""

from __future__ import annotations

import unittest

from compute_driver import exceptions
from compute_driver.choices import (
    DiskBus,
    Firmware,
    InputModel,
    NicModel,
    OsType,
    ScsiModel,
    SoundModel,
    UsbModel,
    VideoModel,
    WatchdogAction,
)
from compute_driver.guest import Cpu, RngRate, Topology
from compute_driver.hardware.properties import PROPERTIES, Wishes, read_wishes
from compute_driver.limits import Bandwidth, CpuLimits, DiskLimits


class ReadTest(unittest.TestCase):
    def test_every_property_sets_what_it_names(self) -> None:
        said = {
            "hw_machine_type": "pc",
            "hw_firmware_type": "uefi",
            "os_secure_boot": "required",
            "hw_cpu_model": "Nehalem",
            "hw_cpu_features": "+avx2, pcid,-svm",
            "hw_disk_bus": "scsi",
            "hw_vif_model": "e1000",
            "hw_video_model": "vga",
            "hw_input_bus": "usb",
            "hw_rng_model": "virtio",
            "hw_qemu_guest_agent": "no",
            "os_command_line": "console=ttyS0 quiet",
        }
        self.assertEqual(
            Wishes(
                machine="pc",
                firmware=Firmware.UEFI,
                secure_boot=True,
                cpu_model="Nehalem",
                cpu_enable=("avx2", "pcid"),
                cpu_disable=("svm",),
                disk_bus=DiskBus.SCSI,
                nic_model=NicModel.E1000,
                video=VideoModel.VGA,
                input=InputModel.USB,
                rng=True,
                guest_agent=False,
                cmdline="console=ttyS0 quiet",
            ),
            read_wishes(said.items()),
        )

    def test_flavors_say_the_same_in_their_own_words(self) -> None:
        flavor = {
            "driver:cpu_model": "Nehalem",
            "driver:cpu_features": "-svm",
            "hw:cpu_cores": "2",
            "hw:cpu_max_sockets": "1",
            "hw_rng:allowed": "false",
            "os:secure_boot": "disabled",
        }
        hardware = read_wishes(flavor.items())
        self.assertIs(False, hardware.rng)
        self.assertIs(False, hardware.secure_boot)
        self.assertEqual(
            Cpu(model="Nehalem", disable=("svm",), topology=Topology(cores=2, threads=2)),
            hardware.cpu(4),
        )

    def test_numbers_of_the_topology_come_together(self) -> None:
        said = [("hw_cpu_sockets", "2"), ("hw_cpu_cores", "3"), ("hw_cpu_threads", "1")]
        self.assertEqual(Topology(sockets=2, cores=3), read_wishes(said).cpu(6).topology)

    def test_more_telling_architecture_wins_in_any_order(self) -> None:
        said = [
            ("hw_emulation_architecture", "arm64"),
            ("hw_architecture", "x86_64"),
            ("architecture", "i386"),
        ]
        for pairs in (said, said[::-1]):
            self.assertEqual("aarch64", read_wishes(pairs).architecture)
        self.assertEqual("x86_64", read_wishes(said[1:]).architecture)
        self.assertEqual("i686", read_wishes(said[2:]).architecture)

    def test_contradictions_are_refused_in_any_order(self) -> None:
        for pairs in (
            (("hw_disk_bus", "scsi"), ("hw_disk_bus", "sata")),
            (("hw_rng:allowed", "false"), ("hw_rng_model", "virtio")),
            (("os:secure_boot", "required"), ("os_secure_boot", "disabled")),
            (("hw:cpu_cores", "2"), ("hw_cpu_cores", "4")),
            (("hw_architecture", "arm64"), ("hw_architecture", "x86_64")),
        ):
            for ordered in (pairs, pairs[::-1]):
                with self.subTest(ordered), self.assertRaises(exceptions.InvalidParameter):
                    read_wishes(ordered)

    def test_limits_and_features_come_together_in_any_order(self) -> None:
        pairs = [
            ("hw:cpu_max_sockets", "2"),
            ("hw_cpu_max_sockets", "64"),
            ("hw_cpu_features", "+aes"),
            ("driver:cpu_features", "-svm"),
            ("os:secure_boot", "required"),
            ("os_secure_boot", "optional"),
        ]
        for ordered in (pairs, pairs[::-1]):
            hardware = read_wishes(ordered)
            self.assertEqual({"sockets": 2}, hardware.topology_limits)
            self.assertEqual((("aes",), ("svm",)), (hardware.cpu_enable, hardware.cpu_disable))
            self.assertIs(True, hardware.secure_boot)

    def test_unknown_names_and_values_are_refused(self) -> None:
        for name, value, accepted in (
            ("hw_magic", "1", "hw_pmu"),
            ("hw_disk_bus", "fdc", "virtio"),
            ("hw_architecture", "vax", "x86_64"),
            ("hw_cpu_cores", "0", "a whole number"),
            ("hw_cpu_cores", "²", "a whole number"),
            ("hw_cpu_cores", "-1", "a whole number"),
            ("hw_cpu_cores", "9" * 5000, "a whole number"),
            ("hw_scsi_model", "buslogic", "lsilogic, lsisas1068, lsisas1078, virtio-scsi"),
            ("hw_cdrom_bus", "fdc", "sata"),
            ("hw_sound_model", "gus", "ich9"),
            ("hw_vif_model", "lan9118", "virtio"),
            ("hw_video_model", "gop", "vmvga"),
            ("hw_usb_model", "piix3-uhci", "nec-xhci, none, qemu-xhci"),
            ("hw:watchdog_action", "dump", "disabled, none, pause, poweroff, reset"),
            ("hw:serial_port_count", "5", "0 to 4"),
            ("hw_vm_mode", "xen", "hvm"),
            ("os_type", "solaris", "linux, windows"),
            ("os_secure_boot", "yes", "required"),
            ("hw_rng_model", "none", "virtio"),
            ("hw_qemu_guest_agent", "perhaps", "no"),
        ):
            with (
                self.subTest(name=name, value=value),
                self.assertRaises(exceptions.InvalidParameter) as caught,
            ):
                read_wishes([(name, value)])
            self.assertIn(accepted, caught.exception.accepted)

    def test_devices_and_what_the_system_is_told(self) -> None:
        said = {
            "hw_cdrom_bus": "sata",
            "hw_scsi_model": "lsilogic",
            "hw:sound_model": "ich6",
            "hw_usb_model": "nec-xhci",
            "hw:watchdog_action": "reset",
            "hw_boot_menu": "yes",
            "hw:pmu": "false",
            "img_hide_hypervisor_id": "true",
            "os_type": "Windows",
            "hw_time_hpet": "on",
            "hw:serial_port_count": "3",
            "hw_video_ram": "64",
            "hw_rng:rate_bytes": "100",
            "hw_rng:rate_period": "50",
            "hw:virtio_packed_ring": "1",
            "hw_vm_mode": "hvm",
        }
        self.assertEqual(
            {
                "cdrom_bus": DiskBus.SATA,
                "scsi_model": ScsiModel.LSILOGIC,
                "sound": SoundModel.ICH6,
                "usb_model": UsbModel.NEC_XHCI,
                "watchdog": WatchdogAction.RESET,
                "boot_menu": True,
                "pmu": False,
                "hide_hypervisor": True,
                "os_type": OsType.WINDOWS,
                "hpet": True,
                "serial_ports": 3,
                "video_ram_mib": 64,
                "rng_rate": RngRate(size_bytes=100, period_ms=50),
                "packed_ring": True,
            },
            read_wishes(said.items()).devices(),
        )

    def test_quotas(self) -> None:
        said = {
            "quota:disk_read_bytes_sec": "1000",
            "quota:disk_total_iops_sec": "0",
            "quota:cpu_shares": "10",
            "quota:cpu_period": "2000",
            "quota:cpu_quota": "-1",
            "quota:vif_inbound_average": "100",
            "quota:vif_inbound_burst": "200",
            "quota:vif_outbound_average": "0",
        }
        hardware = read_wishes(said.items())
        self.assertEqual(DiskLimits(read_bytes_sec=1000), hardware.devices()["disk_limits"])
        self.assertEqual(CpuLimits(shares=10, period_us=2000), hardware.devices()["cpu_limits"])
        self.assertEqual({"inbound": Bandwidth(average=100, burst=200)}, hardware.bandwidth())

    def test_quotas_that_cannot_be_are_refused_by_their_names(self) -> None:
        for name, said in {
            "quota:disk_total_iops_sec": "quota:disk_read_iops_sec=1 quota:disk_total_iops_sec=2",
            "quota:vif_inbound_average": "quota:vif_inbound_peak=1",
            "quota:cpu_period": "quota:cpu_period=1",
            "quota:cpu_quota": "quota:cpu_quota=-2",
            "quota:cpu_shares": "quota:cpu_shares=262145",
            "hw_cpu_features": "hw_cpu_features=+a/b",
            "driver:cpu_model": "driver:cpu_model=a<b",
        }.items():
            with self.subTest(name), self.assertRaises(exceptions.InvalidParameter) as caught:
                hardware = read_wishes([tuple(pair.split("=")) for pair in said.split()])
                hardware.devices()
                hardware.bandwidth()
            self.assertEqual(name, caught.exception.field)

    def test_no_rate_no_limit(self) -> None:
        for said in (
            {"hw_rng:rate_bytes": "0", "hw_rng:rate_period": "50"},
            {"hw_rng:rate_period": "50"},
            {"hw_rng:rate_bytes": "1", "hw_rng:allowed": "no"},
        ):
            self.assertNotIn("rng_rate", read_wishes(said.items()).devices())
        rate = read_wishes([("hw_rng:rate_bytes", "9"), ("hw_rng:rate_period", "0")]).devices()
        self.assertEqual(RngRate(size_bytes=9, period_ms=1000), rate["rng_rate"])

    def test_image_has_its_way_where_nova_lets_it(self) -> None:
        for pairs, field, value in (
            (("hw_watchdog_action=disabled", "hw:watchdog_action=reset"), "watchdog", None),
            (("hw_boot_menu=no", "hw:boot_menu=yes"), "boot_menu", False),
            (("hw_serial_port_count=2", "hw:serial_port_count=4"), "serial_ports", 2),
            (
                ("img_hide_hypervisor_id=no", "hw:hide_hypervisor_id=yes"),
                "hide_hypervisor",
                True,
            ),
        ):
            said = [(name, text) for name, _, text in (pair.partition("=") for pair in pairs)]
            for ordered in (said, said[::-1]):
                self.assertEqual(value, getattr(read_wishes(ordered), field))

    def test_image_gets_no_more_than_its_flavor_allows(self) -> None:
        for image, flavor in (
            (("hw_serial_port_count", "3"), ("hw:serial_port_count", "2")),
            (("hw_video_ram", "16"), ("hw_video:ram_max_mb", "8")),
        ):
            for pairs in ((image, flavor), (flavor, image)):
                with self.assertRaises(exceptions.InvalidParameter) as caught:
                    read_wishes(pairs)
                self.assertEqual(image[0], caught.exception.field)

    def test_a_value_is_refused_by_the_name_that_its_user_wrote(self) -> None:
        for name in PROPERTIES.keys() - {"hw_machine_type", "os_command_line"}:
            if "cpu_model" in name or "cpu_features" in name:
                continue
            with self.subTest(name), self.assertRaises(exceptions.InvalidParameter) as caught:
                read_wishes([(name, "no such value")])
            self.assertEqual(name, caught.exception.field)
