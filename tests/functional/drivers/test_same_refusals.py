# SPDX-License-Identifier: Apache-2.0
"""The libvirt driver on a real host and the in-memory driver refuse the same guests."""

from __future__ import annotations

from compute_driver import exceptions
from compute_driver.driver import ComputeDriver
from compute_driver.drivers.fake import FakeDriver
from compute_driver.guest import Guest, Image
from compute_driver.hardware import architecture
from tests import devices, guests
from tests.functional import base, tiny

#: Families whose limits are the emulator's or the host's, too.
_OF_THE_HOST = frozenset({"vcpus", "firmware", "secure boot"})


def _refusal(driver: ComputeDriver, made: Guest) -> tuple[type[Exception] | None, str]:
    """Spawn a guest without power; return the refusal."""
    try:
        driver.spawn(made, power_on=False)
        return None, ""
    except exceptions.InvalidParameter as error:
        return type(error), str(error)
    finally:
        driver.destroy(made.uuid)


class TestSameRefusals(tiny.TinyTestCase):
    def test_every_family_on_every_machine_of_this_host(self) -> None:
        simulated = FakeDriver(base.configuration())
        kernel = Image(location=str(guests.build().kernel))
        tried = 0
        names = [facts.name for facts in architecture.TABLE.values()]
        absent = {
            info.architecture: [named.rpartition(" ") for named in info.absent_devices]
            for info in self.driver.host_show(names).architectures
        }
        for facts, machine in devices.machines():
            if self.driver._parts.host.detection.find_emulator(facts) is None:
                continue
            for wish in devices.WISHES:
                made = devices.guest(facts, machine, kernel, **wish.changes)
                with self.subTest(f"{facts.name} {machine.name}: {wish.changes}"):
                    expected, refused = _refusal(simulated, made), _refusal(self.driver, made)
                    tried += 1
                    lacking = [f"{field}: '{model}' " for field, _, model in absent[facts.name]]
                    if expected[0] is None and refused[1].startswith(tuple(lacking)):
                        self.assertIs(exceptions.NotOnThisHost, refused[0])
                    elif expected[0] is None and wish.family in _OF_THE_HOST:
                        self.assertIn(refused[0], (None, exceptions.NotOnThisHost))
                    else:
                        self.assertEqual(expected, refused)
        self.assertGreater(tried, len(devices.WISHES))
