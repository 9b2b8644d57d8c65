# SPDX-License-Identifier: Apache-2.0
"""Loading finds the installed drivers and operations, and binds operations to the driver."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from compute_driver import driver, exceptions, plugins
from compute_driver.drivers import fake, loading
from tests.unit import base
from tests.unit.drivers import distribution

MODULE = """
from compute_driver.drivers.fake import FakeDriver
from compute_driver.guest import Guest

class Others:
    @staticmethod
    def destroy(driver, uuid):
        return "another's destroy"

class Special(FakeDriver):
    def fly(self, uuid): "Fly."

def greet(driver, uuid):
    "Say hello."
    return f"hello {uuid}"
"""


class LoaderCase(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        sys.path.insert(0, directory.name)
        self.addCleanup(sys.path.remove, directory.name)
        self.addCleanup(sys.modules.pop, "loader_plugin", None)

    def install(self, **points: str) -> None:
        lines = [f"{name} = {value}" for name, value in points.items()]
        distribution.install(
            self.directory,
            "loader_plugin",
            "\n".join(["[compute_driver.operations]", *lines, ""]),
            loader_plugin=MODULE,
        )
        importlib.invalidate_caches()

    def cause(self, name: str) -> str:
        with self.assertRaises(exceptions.PluginError) as caught:
            loading.load_operation(name)
        self.assertEqual(
            (plugins.OPERATIONS, name), (caught.exception.namespace, caught.exception.name)
        )
        return str(caught.exception)


class Operations(LoaderCase):
    def test_installed_operation_is_found_at_once(self) -> None:
        self.assertNotIn("greet", plugins.names(plugins.OPERATIONS))
        self.install(greet="loader_plugin:greet")
        self.assertIn("greet", plugins.names(plugins.OPERATIONS))
        self.assertEqual("hello x", loading.load_operation("greet")(None, "x"))

    def test_changed_and_removed_operations_are_not_remembered(self) -> None:
        self.install(greet="loader_plugin:nothing")
        self.assertIn("nothing", self.cause("greet"))
        self.install(greet="loader_plugin:greet")
        self.assertTrue(callable(loading.load_operation("greet")))
        self.install()
        self.assertIn(
            "no such entry point; there are: attach_interface, audit,", self.cause("greet")
        )

    def test_failures_name_the_entry_point_and_the_cause(self) -> None:
        (self.directory / "loader_exits.py").write_text("raise SystemExit('gone')")
        (self.directory / "loader_asserts.py").write_text("assert False, 'two\\nlines'")
        self.install(
            a="loader_missing:x",
            b="loader_exits:x",
            c="loader_asserts:x",
            d="loader_plugin:MODULE",
            list="loader_plugin:greet",
            e="loader_plugin:__name__",
        )
        for name, cause in {
            "a": "No module named 'loader_missing'",
            "b": "SystemExit: gone",
            "c": "AssertionError: two lines",
            "d": "MODULE",
            "e": "'loader_plugin' is not callable",
            "list": "multiple implementations",
        }.items():
            with self.subTest(name):
                self.assertIn(cause, self.cause(name))


class Bind(LoaderCase):
    def setUp(self) -> None:
        super().setUp()
        self.install()
        self.plugin = importlib.import_module("loader_plugin")
        self.driver = fake.FakeDriver(base.configuration())

    def test_method_of_a_driver_is_answered_by_the_driver_in_use(self) -> None:
        bound = loading.bind(driver.ComputeDriver.list, self.driver)
        self.assertEqual((), bound())

    def test_function_gets_the_driver(self) -> None:
        self.assertEqual("hello x", loading.bind(self.plugin.greet, self.driver)("x"))

    def test_method_of_another_class_is_left_alone(self) -> None:
        bound = loading.bind(self.plugin.Others.destroy, self.driver)
        self.assertEqual("another's destroy", bound("x"))

    def test_operation_that_only_another_driver_has(self) -> None:
        with self.assertRaisesRegex(exceptions.HostError, "FakeDriver has no operation 'fly'"):
            loading.bind(self.plugin.Special.fly, self.driver)

    def test_documentation_of_a_method_is_that_of_the_contract(self) -> None:
        self.assertIn(":param timeout:", loading.documentation(fake.FakeDriver.stop))
        self.assertEqual("Say hello.", loading.documentation(self.plugin.greet))


class Drivers(unittest.TestCase):
    def test_no_verb_imports_a_module_of_this_package_later(self) -> None:
        code = """
import sys
from compute_driver.drivers import loading, libvirt
loading.import_all()
assert "compute_driver.operations.base.recovery" in sys.modules
assert "compute_driver.libvirt.consoles.screen" in sys.modules
"""
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_loading_the_driver_imports_no_operation(self) -> None:
        code = """
import sys
from compute_driver.drivers import libvirt
late = ("operations.spawn", "operations.base.recovery", "xml.domain", "hardware.resolve")
assert not [name for name in late if f"compute_driver.{name}" in sys.modules]
"""
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_configured_driver_is_made(self) -> None:
        made = loading.load_driver(base.configuration(driver="fake"))
        self.assertIsInstance(made, fake.FakeDriver)

    def test_unknown_driver_is_a_bad_configuration(self) -> None:
        with self.assertRaisesRegex(
            exceptions.ConfigurationError, "'xen' is not usable; accepted: fake, libvirt"
        ):
            loading.load_driver(base.configuration(driver="xen"))
