# SPDX-License-Identifier: Apache-2.0
"""What OpenStack's properties and extra specs ask for."""

from __future__ import annotations

import unittest

from compute_driver import exceptions
from compute_driver.guest import (
    Cpu,
    DiskBus,
    Firmware,
    InputModel,
    NicModel,
    Topology,
    VideoModel,
)
from compute_driver.properties import PROPERTIES, Hardware, read


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
            Hardware(
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
            read(said.items()),
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
        hardware = read(flavor.items())
        self.assertIs(False, hardware.rng)
        self.assertIs(False, hardware.secure_boot)
        self.assertEqual(
            Cpu(model="Nehalem", disable=("svm",), topology=Topology(cores=2, threads=2)),
            hardware.cpu(4),
        )

    def test_numbers_of_the_topology_come_together(self) -> None:
        said = [("hw_cpu_sockets", "2"), ("hw_cpu_cores", "3"), ("hw_cpu_threads", "1")]
        self.assertEqual(Topology(sockets=2, cores=3), read(said).cpu(6).topology)

    def test_more_telling_architecture_wins_in_any_order(self) -> None:
        said = [
            ("hw_emulation_architecture", "arm64"),
            ("hw_architecture", "x86_64"),
            ("architecture", "i386"),
        ]
        for pairs in (said, said[::-1]):
            self.assertEqual("aarch64", read(pairs).architecture)
        self.assertEqual("x86_64", read(said[1:]).architecture)
        self.assertEqual("i686", read(said[2:]).architecture)

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
                    read(ordered)

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
            hardware = read(ordered)
            self.assertEqual({"sockets": 2}, hardware.topology_limits)
            self.assertEqual((("aes",), ("svm",)), (hardware.cpu_enable, hardware.cpu_disable))
            self.assertIs(True, hardware.secure_boot)

    def test_unknown_names_and_values_are_refused(self) -> None:
        for name, value, accepted in (
            ("hw_magic", "1", "hw_disk_bus"),
            ("hw_disk_bus", "fdc", "virtio"),
            ("hw_architecture", "vax", "x86_64"),
            ("hw_cpu_cores", "0", "a whole number"),
            ("hw_cpu_cores", "²", "a whole number"),
            ("hw_cpu_cores", "-1", "a whole number"),
            ("hw_cpu_cores", "9" * 5000, "a whole number"),
            ("hw_scsi_model", "lsilogic", "virtio-scsi"),
            ("os_secure_boot", "yes", "required"),
            ("hw_rng_model", "none", "virtio"),
            ("hw_qemu_guest_agent", "perhaps", "no"),
        ):
            with (
                self.subTest(name=name, value=value),
                self.assertRaises(exceptions.InvalidParameter) as caught,
            ):
                read([(name, value)])
            self.assertIn(accepted, caught.exception.accepted)

    def test_a_value_is_refused_by_the_name_that_its_user_wrote(self) -> None:
        for name in PROPERTIES.keys() - {"hw_machine_type", "os_command_line"}:
            if "cpu_model" in name or "cpu_features" in name:
                continue
            with self.subTest(name), self.assertRaises(exceptions.InvalidParameter) as caught:
                read([(name, "no such value")])
            self.assertEqual(name, caught.exception.field)
