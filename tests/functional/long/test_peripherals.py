# SPDX-License-Identifier: Apache-2.0
"""Devices of images and flavors beyond disks and network cards, as guests see them."""

from __future__ import annotations

import os
import queue
import time
from typing import Any

from compute_driver.choices import (
    Accelerator,
    DiskBus,
    OsType,
    PowerState,
    ScsiModel,
    SoundModel,
    UsbModel,
    VideoModel,
    WatchdogAction,
)
from compute_driver.guest import GIB, ConfigDrive, Disk, Guest, RngRate
from tests.functional import base, inside

#: The bit of packed queues among a virtio device's features (virtio 1.2, section 6).
_PACKED = 34

#: Starts a watchdog with a timeout of five seconds, and does not reset its timer in time.
_STARVE = "watchdog -T 5 -t 600 /dev/watchdog"


class TestPeripherals(inside.SharedGuestTestCase):
    @classmethod
    def changes(cls) -> dict[str, Any]:
        return {
            "image": base.disk_image("legacy"),
            "interfaces": (),
            "config_drive": ConfigDrive(hostname="equipped"),
            "cdrom_bus": DiskBus.SATA,
            "sound": SoundModel.ICH9,
            "watchdog": WatchdogAction.NONE,
            "usb_model": UsbModel.NEC_XHCI,
            "serial_ports": 2,
            "video": VideoModel.VGA,
            "video_ram_mib": 32,
            "rng_rate": RngRate(size_bytes=1024),
            "boot_menu": True,
            "hpet": False,
        }

    def test_config_drive_is_a_cd_rom_on_the_bus_for_cd_roms(self) -> None:
        drives = [line for line in self.fact(self.made, "DISK") if "label=config-2" in line]
        self.assertEqual(["sr0"], [line.split()[0] for line in drives])
        self.assertIn(" bus=sata ", drives[0])

    def test_cards_are_there(self) -> None:
        numbers = self.run_inside("cat /sys/bus/pci/devices/*/vendor /sys/bus/pci/devices/*/device")
        for number in ("0x25ab", "0x293e", "0x1033"):  # the watchdog, ICH9's sound, NEC's USB
            self.assertIn(number, numbers)

    def test_watchdog_has_a_driver(self) -> None:
        self.assertEqual(["i6300ESB timer"], self.fact(self.made, "WATCHDOG"))

    def test_display_adapter_has_its_memory(self) -> None:
        display = "grep -l 0x1111 /sys/bus/pci/devices/*/device"
        lines = self.run_inside(f"head -n 1 $(dirname $({display}))/resource").split()
        self.assertEqual(32 * 1024**2, int(lines[1], 16) - int(lines[0], 16) + 1)

    def test_second_serial_port_has_a_terminal(self) -> None:
        ports = inside.domain_xml(self.driver, self.made).findall("devices/serial/source")
        descriptor = os.open(ports[1].get("path", ""), os.O_RDWR | os.O_NOCTTY)
        try:
            self.run_inside("echo from-the-second >/dev/ttyS1")
            deadline = time.monotonic() + 30
            heard = b""
            while b"from-the-second" not in heard and time.monotonic() < deadline:
                heard += os.read(descriptor, 100)
        finally:
            os.close(descriptor)
        self.assertIn(b"from-the-second", heard)

    def test_random_numbers_are_rationed(self) -> None:
        clock = "cut -d' ' -f1 /proc/uptime"
        read = "dd if=/dev/hwrng of=/dev/null bs=64 count=80 2>/dev/null"
        before, after = self.run_inside(f"{clock}; {read}; {clock}").split()
        # Five periods' amount, of which the guest may get two without a wait.
        self.assertGreater(float(after) - float(before), 2.5)

    def test_no_hpet(self) -> None:
        self.assertEqual("", self.run_inside("ls /sys/firmware/acpi/tables | grep HPET"))


class TestWatchdog(base.HostTestCase):
    def watched(self, action: WatchdogAction) -> Guest:
        return self.spawn(image=base.disk_image("legacy"), interfaces=(), watchdog=action)

    def test_guest_whose_timer_expires_is_reset(self) -> None:
        made = self.watched(WatchdogAction.RESET)
        with inside.boots(self.driver, made):
            inside.run(self.driver, made, _STARVE)

    def test_guest_whose_timer_expires_is_paused(self) -> None:
        made = self.watched(WatchdogAction.PAUSE)
        states: queue.SimpleQueue[PowerState] = queue.SimpleQueue()
        self.driver.subscribe(lambda uuid, state: states.put(state))
        inside.run(self.driver, made, _STARVE)
        while states.get(timeout=60) is not PowerState.PAUSED:
            pass
        self.driver.resume(made.uuid)
        self.assertIs(PowerState.RUNNING, self.driver.show(made.uuid).state)


class TestScsiModels(base.HostTestCase):
    def assert_disks(self, model: ScsiModel, driver: str) -> None:
        disk = Disk(size_bytes=GIB, bus=DiskBus.SCSI)
        made = self.spawn(
            image=base.disk_image("legacy"),
            root=disk,
            ephemerals=(disk,),
            scsi_model=model,
            interfaces=(),
        )
        lines = [line for line in self.fact(made, "DISK") if line.startswith("sd")]
        self.assertEqual(2, sum(f" driver={driver} " in line for line in lines), lines)

    def test_lsilogic(self) -> None:
        self.assert_disks(ScsiModel.LSILOGIC, "sym53c8xx")

    def test_lsisas1068(self) -> None:
        self.assert_disks(ScsiModel.LSISAS1068, "mptsas")

    def test_lsisas1078(self) -> None:
        self.assert_disks(ScsiModel.LSISAS1078, "megaraid_sas")

    def test_vmpvscsi(self) -> None:
        self.assert_disks(ScsiModel.PVSCSI, "vmw_pvscsi")


class TestProcessorAndQueues(base.HostTestCase):
    def test_hypervisor_does_not_show(self) -> None:
        made = self.spawn(hide_hypervisor=True, interfaces=())
        # KVM keeps the hypervisor flag, which does not name the hypervisor.
        wanted = {Accelerator.TCG: "none", Accelerator.KVM: "tcg"}[base.ACCELERATOR]
        self.assertEqual([wanted], self.fact(made, "VIRT"))

    def test_windows_has_hyper_v_features_on_kvm(self) -> None:
        made = self.spawn(os_type=OsType.WINDOWS, interfaces=())
        # Linux prefers KVM's own interface, so the guest does not show Hyper-V's.
        domain = inside.domain_xml(self.driver, made)
        kvm = base.ACCELERATOR is Accelerator.KVM
        self.assertEqual(kvm, domain.find("features/hyperv/synic[@state='on']") is not None)
        self.assertEqual("localtime", domain.find("clock").get("offset"))

    def test_queues_are_packed(self) -> None:
        drive = ConfigDrive(hostname="packed")
        made = self.spawn(packed_ring=True, config_drive=drive)
        self.assertEqual(["packed"], self.fact(made, "HOSTNAME"))
        # Only a device with a driver negotiates features.
        features = inside.run(self.driver, made, "cat /sys/bus/virtio/drivers/*/virtio*/features")
        for device in features.split():
            self.assertEqual("1", device[_PACKED], device)
        self.assertGreaterEqual(len(features.split()), 7)
