# SPDX-License-Identifier: Apache-2.0
"""Every emulator accepts all devices that the table of architectures has for its machines."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from compute_driver import exceptions
from compute_driver.choices import DiskBus, NicModel, WatchdogAction
from compute_driver.guest import GIB, DirectBoot, Disk, Image, Interface
from compute_driver.hardware import architecture
from compute_driver.hardware.machines import Machine
from tests import guests
from tests.functional import inside, tiny


class TestDevices(tiny.TinyTestCase):
    """Guests of one architecture, one after the other, without a boot."""

    options: ClassVar = {"virt_type": "kvm", "emulation_fallback": True}

    def test_network_card_of_power(self) -> None:
        card = Interface(model=NicModel.SPAPR_VLAN)
        made = self.spawn_tiny(architecture="ppc64le", memory_mib=256, interfaces=(card,))
        model = inside.domain_xml(self.driver, made).find("devices/interface/model")
        self.assertEqual({"type": "spapr-vlan"}, dict(model.attrib))

    def try_devices(self, name: str) -> None:
        (info,) = (i for i in self.driver.host_show([name]).architectures if i.architecture == name)
        for machine in architecture.get(name).machines:
            if not machine.firmwares:  # microvm has virtio devices only
                continue
            # The host may lack firmware for riscv64.
            kernel = Image(location=str(guests.build("basic", name).kernel))
            boot = DirectBoot(kernel=kernel) if name == "riscv64" else None
            for devices in _devices(machine):
                with self.subTest(**{name: machine.name}, **devices):
                    disk = Disk(size_bytes=GIB, bus=DiskBus.SCSI)
                    shape = {"root": disk, "ephemerals": (disk,), "memory_mib": 256, "boot": boot}
                    made = tiny.guest(architecture=name, machine=machine.name, **shape, **devices)
                    if f"sound {made.sound}" in info.absent_devices:
                        with self.assertRaises(exceptions.NotOnThisHost):
                            self.driver.spawn(made)
                        continue
                    self.driver.spawn(made)
                    self.driver.destroy(made.uuid)


def _devices(machine: Machine) -> Iterator[dict[str, Any]]:
    """Yield fields of guests, until some guest has each of the machine's devices."""
    actions = tuple(WatchdogAction) if machine.watchdogs else ()
    columns: dict[str, tuple[Any, ...]] = {
        "scsi_model": machine.scsis,
        "sound": machine.sounds,
        "usb_model": tuple(model for model in machine.usbs if model != "none"),
        "watchdog": actions,
        "serial_ports": (machine.serial_ports,),
        "packed_ring": (True, False),
        "boot_menu": (True, False),
        "pmu": (False, None),
    }
    for row in itertools.zip_longest(*columns.values()):
        chosen = zip(columns, row, strict=True)
        yield {name: value for name, value in chosen if value is not None}


def _test(name: str) -> Callable[[TestDevices], None]:
    return lambda self: self.try_devices(name)


for _name in architecture.TABLE:
    setattr(TestDevices, f"test_{_name}", _test(_name))
