# SPDX-License-Identifier: Apache-2.0
"""Each value that nova knows of an image property works, or is refused by the property's name."""

from __future__ import annotations

from nova.objects import fields

from compute_driver import exceptions
from compute_driver.guest import Guest
from compute_driver.hardware import architecture
from compute_driver.nova import convert, properties
from tests.nova.base import NovaCase

#: The values that no guest of this driver has, by property.
REFUSED = {
    "hw_disk_bus": {"fdc", "xen", "lxc", "uml"},
    "hw_cdrom_bus": {"fdc", "xen", "lxc", "uml"},
    "hw_floppy_bus": {*fields.DiskBus.ALL} - {"fdc"},
    "hw_vif_model": {"netfront", "lan9118", "sriov", "vmxnet"},
    "hw_video_model": {"gop", "xen"},
    "hw_sound_model": set(),
    "hw_scsi_model": {"buslogic"},
    "hw_usb_model": set(),
    "hw_input_bus": set(),
    "hw_pointer_model": set(),
    "hw_watchdog_action": set(),
    "hw_rng_model": set(),
    "hw_firmware_type": set(),
}
VALUES = {
    "hw_disk_bus": fields.DiskBus,
    "hw_cdrom_bus": fields.DiskBus,
    "hw_floppy_bus": fields.DiskBus,
    "hw_vif_model": fields.VIFModel,
    "hw_video_model": fields.VideoModel,
    "hw_sound_model": fields.SoundModelType,
    "hw_scsi_model": fields.SCSIModel,
    "hw_usb_model": fields.USBControllerModelType,
    "hw_input_bus": fields.InputBus,
    "hw_pointer_model": fields.PointerModelType,
    "hw_watchdog_action": fields.WatchdogAction,
    "hw_rng_model": fields.RNGModel,
    "hw_firmware_type": fields.FirmwareType,
}


class PropertiesTest(NovaCase):
    def converted(self, **said: str) -> Guest:
        return convert.guest(self.instance(), self.image(**said), (), {})

    def test_each_value_works_or_is_refused_by_name(self) -> None:
        for name, kind in VALUES.items():
            refused = set()
            for value in kind.ALL:
                with self.subTest(f"{name}={value}"):
                    try:
                        self.converted(**{name: value})
                    except exceptions.InvalidParameter as error:
                        self.assertEqual((name, value), (error.field, error.value))
                        refused.add(value)
            self.assertEqual(REFUSED[name], refused & set(kind.ALL), name)

    def test_ide_chooses_the_machine(self) -> None:
        for said, machine in (
            ({}, "q35"),
            ({"hw_disk_bus": "ide"}, "pc"),
            ({"hw_cdrom_bus": "ide"}, "pc"),
            ({"hw_rescue_bus": "ide"}, "q35"),
            ({"hw_disk_bus": "ide", "hw_machine_type": "pc-q35-7.2"}, "pc-q35-7.2"),
        ):
            with self.subTest(said):
                made = self.converted(hw_architecture="x86_64", **said)
                self.assertEqual(machine, architecture.machine_type(made))

    def test_system_of_the_image_is_no_default(self) -> None:
        logger = "compute_driver.nova.properties"
        said = {"os_distro": "winxp", "hw_disk_bus": "ide"}
        with self.assertLogs(logger, "INFO") as logged:
            self.spawn(self.instance(), self.image(**said))
        self.assertIn("os_distro=winxp", logged.output[0])
        self.assertIn("set hw_vif_model of the image", logged.output[0])
        with self.assertNoLogs(logger, "INFO"):
            properties.explain_defaults({**said, "hw_vif_model": "rtl8139"}, "web")
