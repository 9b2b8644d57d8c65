# SPDX-License-Identifier: Apache-2.0
"""The in-memory driver and the libvirt driver refuse the same guests, in the same words."""

from __future__ import annotations

import dataclasses
import unittest
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.choices import Accelerator, DiskBus, UsbModel, VirtType
from compute_driver.drivers.fake import FakeDriver
from compute_driver.guest import Image, Rescue
from compute_driver.hardware import architecture, resolve
from compute_driver.hardware.acceleration import Decision
from compute_driver.hardware.architecture import Architecture
from compute_driver.hardware.machines import Machine
from compute_driver.host.facts import Host
from compute_driver.libvirt.inventory import Inventory
from compute_driver.libvirt.known import Known
from compute_driver.libvirt.ownership import Ownership
from compute_driver.operations.base import admission
from compute_driver.operations.base.context import Parts
from tests import devices
from tests.unit import base

KERNEL = Image(location="/images/vmlinuz")

#: An architecture whose KVM runs no guest of the table.
FOREIGN = "loongarch64"


class SameRefusalsTest(unittest.TestCase):
    """Every device family on every machine, emulated and, where some host can, with KVM."""

    maxDiff = None

    def cases(self) -> Iterator[tuple[Architecture, Machine, Accelerator]]:
        for facts, machine in devices.machines():
            yield facts, machine, Accelerator.TCG
            if facts.kvm_hosts:
                yield facts, machine, Accelerator.KVM

    def fake(self, facts: Architecture, accelerator: Accelerator) -> FakeDriver:
        """Return an in-memory driver whose host gives guests that accelerator."""
        kvm = accelerator is Accelerator.KVM
        host = min(facts.kvm_hosts) if kvm else FOREIGN
        patch = mock.patch.object(architecture, "of_host", return_value=host)
        patch.start()
        self.addCleanup(patch.stop)
        return FakeDriver(base.configuration(virt_type=VirtType.KVM if kvm else VirtType.QEMU))

    def parts(self, accelerator: Accelerator) -> Parts:
        """Return a libvirt driver's parts, on a host that has every emulator and firmware."""
        host = mock.create_autospec(Host, instance=True)
        host.detection = mock.Mock()
        host.detection.decide.return_value = Decision(accelerator, "as tested")
        connection = mock.Mock()
        connection.run.side_effect = exceptions.GuestNotFound("no guest has a domain yet")
        inventory = Inventory(connection, Ownership(Path("/instances"), Known()))
        return Parts(base.configuration(), connection, host, inventory, mock.Mock(), mock.Mock())

    def refusal(self, function: object, *arguments: object) -> tuple[type[Exception] | None, str]:
        assert callable(function)
        try:
            function(*arguments)
        except exceptions.InvalidParameter as error:
            return type(error), str(error)
        return None, ""

    def test_every_family_on_every_machine(self) -> None:
        for facts, machine, accelerator in self.cases():
            driver, parts = self.fake(facts, accelerator), self.parts(accelerator)
            for wish in devices.WISHES:
                made = devices.guest(facts, machine, KERNEL, **wish.changes)
                with self.subTest(f"{facts.name} {machine.name} {accelerator}: {wish.changes}"):
                    simulated = self.refusal(driver.spawn, made)
                    self.assertEqual(simulated, self.refusal(admission.check_guest, parts, made))
                    offered = wish.offers(facts, machine, accelerator)
                    self.assertEqual(offered, simulated[0] is None, simulated)

    def test_bus_of_a_rescue_system(self) -> None:
        for facts, machine, accelerator in self.cases():
            driver, parts = self.fake(facts, accelerator), self.parts(accelerator)
            for bus in DiskBus:
                with self.subTest(f"{facts.name} {machine.name} {accelerator}: {bus}"):
                    made = devices.guest(facts, machine, KERNEL)
                    driver.spawn(made)
                    rescue = Rescue(image=Image(location=__file__), bus=bus, boot=made.boot)
                    rescued = dataclasses.replace(made, rescue=rescue)
                    simulated = self.refusal(driver.rescue, made.uuid, rescue)
                    offered = {*machine.buses, *(DiskBus.FDC,) * machine.floppy}
                    if DiskBus.SATA in offered:  # which stands in for IDE
                        offered.add(DiskBus.IDE)
                    self.assertEqual(bus in offered, simulated[0] is None, simulated)
                    self.assertEqual(simulated, self.refusal(parts.draft, rescued))

    def test_screen_that_needs_usb(self) -> None:
        made = base.describe(architecture="ppc64le", usb_model=UsbModel.NONE)
        driver = FakeDriver(base.configuration(vnc_listen="127.0.0.1"))
        kind, text = self.refusal(driver.spawn, made)
        self.assertIs(exceptions.InvalidParameter, kind)
        options = driver.conf.hypervisor
        pure = self.refusal(resolve.as_configured, made, Accelerator.TCG, options)
        self.assertEqual((kind, text), pure)
