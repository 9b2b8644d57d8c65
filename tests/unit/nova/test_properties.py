# SPDX-License-Identifier: Apache-2.0
"""Properties of images and flavors of OpenStack are read, ignored or refused."""

from __future__ import annotations

import unittest

from compute_driver import exceptions
from compute_driver.choices import DiskBus, Firmware
from compute_driver.hardware.properties import Wishes
from compute_driver.nova import properties


class ReadTest(unittest.TestCase):
    def test_image_and_flavor_together(self) -> None:
        image = {"hw_disk_bus": "scsi", "img_signature": "abc", "os_distro": "debian"}
        flavor = {"os:secure_boot": "required", "resources:VGPU": "1", "trait:HW_CPU_X86_AVX": "x"}
        wanted = Wishes(disk_bus=DiskBus.SCSI, secure_boot=True)
        self.assertEqual(wanted, properties.read_wishes(image, flavor))

    def test_what_the_operator_s_schedulers_read_is_left_alone(self) -> None:
        for name in (
            "ssd",
            "os_type",
            "architecture",
            "hw_disk_bus",
            "aggregate_instance_extra_specs:ssd",
            "mycloud:tier",
            "trait3:CUSTOM_X",
        ):
            self.assertEqual(Wishes(), properties.read_wishes({}, {name: "true"}))

    def test_the_image_s_word_stands_against_the_scheduler_s(self) -> None:
        read = properties.read_wishes({"hw_disk_bus": "scsi"}, {"hw_disk_bus": "ide"})
        self.assertEqual(DiskBus.SCSI, read.disk_bus)

    def test_what_guests_cannot_have_is_refused_by_name(self) -> None:
        for image, flavor in (
            ({"hw_tpm_model": "tpm-tis"}, {}),
            ({"hw_numa_nodes": "2"}, {}),
            ({}, {"hw:numa_cpus.1": "1,2"}),
            ({}, {"hw:cpu_policy": "dedicated"}),
            ({}, {"hw:what_nova_learns_next": "1"}),
            ({}, {"quota:memory_limit": "1000"}),
            ({}, {"pci_passthrough:alias": "gpu:1"}),
            ({"hw_video_ram": "16"}, {}),
            ({"hw_floppy_bus": "ide"}, {}),
            ({"hw_disk_bus": "fdc"}, {}),
            ({"hw_cdrom_bus": "fdc"}, {}),
            ({"hw_vif_model": "lan9118"}, {}),
            ({"hw_video_model": "gop"}, {}),
        ):
            with (
                self.subTest(image or flavor),
                self.assertRaises(exceptions.InvalidParameter) as caught,
            ):
                properties.read_wishes(image, flavor)
            self.assertIn(caught.exception.field, {**image, **flavor})

    def test_asking_for_nothing_is_not_refused(self) -> None:
        image = {"hw_locked_memory": "False", "hw_ipxe_boot": "no", "hw_floppy_bus": "fdc"}
        self.assertEqual(Wishes(), properties.read_wishes(image, {"hw:cpu_policy": "shared"}))

    def test_memory_of_the_display_adapter_is_the_flavor_s_to_give(self) -> None:
        read = properties.read_wishes({"hw_video_ram": "16"}, {"hw_video:ram_max_mb": "32"})
        self.assertEqual(16, read.video_ram_mib)

    def test_flavor_and_image_must_not_contradict(self) -> None:
        image = {"hw_firmware_type": "uefi", "os_secure_boot": "disabled"}
        with self.assertRaises(exceptions.InvalidParameter):
            properties.read_wishes(image, {"os:secure_boot": "required"})
        self.assertEqual(Firmware.UEFI, properties.read_wishes(image, {}).firmware)

    def test_each_name_has_one_meaning(self) -> None:
        tables = (properties.CONVERTED, properties.UNCONCERNED, properties.REFUSED)
        names = [name for table in tables for name in table] + list(
            properties.properties.PROPERTIES
        )
        self.assertEqual(len(set(names)), len(names))
