# SPDX-License-Identifier: Apache-2.0
"""Nova shows an instance's use of resources in two forms."""

from __future__ import annotations

from compute_driver.drivers import fake
from compute_driver.nova import diagnostics
from tests.nova.base import NovaCase
from tests.unit import base


class DiagnosticsTest(NovaCase):
    def test_diagnostics_in_both_forms(self) -> None:
        instance = self.instance()
        self.spawn(instance)
        running = self.driver.get_diagnostics(instance)
        self.assertEqual((512, None), (running["vda_read"], running.get("state_reason")))
        found = self.driver.get_instance_diagnostics(instance)
        self.assertEqual(("running", 1, 1), (found.state, found.num_cpus, found.num_disks))
        self.assertEqual(192, found.memory_details.maximum)

    def test_the_reason_for_a_state_is_told(self) -> None:
        instance = self.instance()
        self.spawn(instance)
        self.driver.pause(instance)
        self.assertEqual("paused on request", self.driver.get_diagnostics(instance)["state_reason"])

    def test_interfaces_that_nobody_counts_have_no_counters(self) -> None:
        guests = fake.FakeDriver(base.configuration())
        guest = guests.spawn(base.describe()).guest
        (stats,) = guests.stats(guest.uuid)
        self.assertFalse([name for name in diagnostics.as_dict(stats) if "x" in name])
        (nic,) = diagnostics.as_object(stats, guest).nic_details
        self.assertEqual((guest.interfaces[0].mac, None), (nic.mac_address, nic.rx_octets))
