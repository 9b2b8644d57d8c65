# SPDX-License-Identifier: Apache-2.0
"""Options of this package have defaults from nova's options."""

from __future__ import annotations

from nova.conf import CONF

from compute_driver.nova import configuration
from tests.nova.base import NovaCase


class ConfigurationTest(NovaCase):
    def test_options_default_to_nova_s(self) -> None:
        options = CONF.hypervisor
        self.assertEqual("qemu:///system", options.connection_uri)
        self.assertEqual(CONF.instances_path, options.instances_path)
        self.assertEqual(f"{CONF.instances_path}/_base", options.image_cache_path)
        self.assertEqual(f"{CONF.state_path}/compute-driver", options.state_path)
        self.assertEqual(("192.0.2.8", None), (options.vnc_listen, options.spice_listen))
        self.assertTrue(options.spice_agent_enabled)
        self.assertEqual("auto_lz", options.spice_image_compression)
        self.assertEqual("192.0.2.10", options.serial_listen)
        self.assertEqual((11000, 12000), options.serial_port_range)
        self.assertEqual(86400, options.image_unused_seconds)
        self.assertEqual(4, options.hotplug_ports)

    def test_ports_are_as_many_as_nova_has_them(self) -> None:
        self.addCleanup(configuration.register)
        self.addCleanup(CONF.clear_override, "num_pcie_ports", "libvirt")
        for wanted, ports in ((2, 2), (28, 16)):
            CONF.set_override("num_pcie_ports", wanted, "libvirt")
            configuration.register()
            self.assertEqual(ports, CONF.hypervisor.hotplug_ports)
