# SPDX-License-Identifier: Apache-2.0
"""Nova's proxies find the consoles of instances, and the log is readable."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from nova import exception, privsep
from nova.conf import CONF

from compute_driver import exceptions
from tests.nova.base import NovaCase


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Run nova's privileged helper in this process: the tests have no sudo to start the helper."""
    privsep.sys_admin_pctxt.set_client_mode(False)
    try:
        yield
    finally:
        privsep.sys_admin_pctxt.set_client_mode(True)


class ConsoleTest(NovaCase):
    def test_console_that_is_root_s_is_read_by_nova_s_helper(self) -> None:
        instance = self.instance()
        self.spawn(instance)
        with tempfile.TemporaryDirectory() as home:
            log = Path(home, "console.log")
            for name, content in (("console.log.0", b"boot 1\n"), ("console.log", b"boot 2\n")):
                Path(home, name).write_bytes(content)
            denied = exceptions.HostError("no")
            denied.__cause__ = PermissionError()
            found = dataclasses.replace(self.driver._driver.show(instance.uuid), console=str(log))
            with (
                mock.patch.object(self.driver._driver, "console_log", side_effect=denied),
                mock.patch.object(self.driver._driver, "show", return_value=found),
                unprivileged(),
            ):
                said = self.driver.get_console_output(self.context, instance)
        self.assertEqual(b"boot 1\nboot 2\n", said)

    def test_screens_are_found_by_the_address_for_proxies(self) -> None:
        CONF.set_override("spice_listen", "192.0.2.8", "hypervisor")
        self.addCleanup(CONF.clear_override, "spice_listen", "hypervisor")
        instance = self.instance()
        self.spawn(instance)
        found = self.driver.get_vnc_console(self.context, instance)
        self.assertEqual("192.0.2.9", found.host)
        other = self.driver.get_spice_console(self.context, instance)
        self.assertEqual(("127.0.0.1", None), (other.host, other.tlsPort))
        self.assertNotEqual(found.port, other.port)

    def test_serial_console_is_found_by_the_address_for_proxies(self) -> None:
        instance = self.instance()
        CONF.set_override("serial_listen", "0.0.0.0", "hypervisor")
        self.addCleanup(CONF.clear_override, "serial_listen", "hypervisor")
        self.spawn(instance)
        found = self.driver.get_serial_console(self.context, instance)
        self.assertEqual("192.0.2.10", found.host)
        self.driver.power_off(instance)
        with self.assertRaises(exception.InstanceNotReady):
            self.driver.get_serial_console(self.context, instance)

    def test_refusals_are_those_of_nova_s_api(self) -> None:
        instance = self.instance()
        with self.assertRaises(exception.InstanceNotFound):
            self.driver.get_vnc_console(self.context, instance)
        self.spawn(instance)
        with self.assertRaises(exception.ConsoleTypeUnavailable):
            self.driver.get_spice_console(self.context, instance)
        self.driver.power_off(instance)
        with self.assertRaises(exception.InstanceNotReady):
            self.driver.get_vnc_console(self.context, instance)
