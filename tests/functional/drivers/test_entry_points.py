# SPDX-License-Identifier: Apache-2.0
"""Stevedore finds drivers and operations, and other projects add operations."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

import stevedore

from compute_driver.choices import PowerState, RebootKind
from compute_driver.drivers.libvirt import LibvirtDriver
from tests.functional import base
from tests.functional.command import CommandLine

DRIVERS = "compute_driver.drivers"
OPERATIONS = "compute_driver.operations"

#: A project that adds a verb, and another that does not load.
SETUP = """
from setuptools import setup

setup(
    name="knocking",
    version="1.0",
    py_modules=["knocking"],
    entry_points={
        "compute_driver.operations": [
            "knock = knocking:knock",
            "broken = knocking_absent:knock",
        ],
    },
)
"""

MODULE = '''
import contextlib

def knock(driver, uuid: str, *, text: str = "knock knock"):
    """Type a line at a guest's console and show what it answers.

    :param text: the line.
    """
    answer = b""
    with contextlib.closing(driver.console_attach(uuid)) as session:
        session.send(text.encode() + b"\\n")
        while not answer.partition(b"GUEST-ECHO: ")[2].endswith(b"\\n"):
            answer += session.receive()
    return answer.decode().rpartition("GUEST-ECHO: ")[2].strip()
'''


class Metadata(unittest.TestCase):
    def test_the_installed_distribution_names_drivers_and_operations(self) -> None:
        installed = importlib.metadata.distribution("compute-driver").entry_points
        self.assertLessEqual({"libvirt", "fake"}, installed.select(group=DRIVERS).names)
        self.assertLessEqual(
            {"spawn", "destroy", "reboot"}, installed.select(group=OPERATIONS).names
        )

    def test_every_entry_point_loads(self) -> None:
        for point in importlib.metadata.distribution("compute-driver").entry_points:
            if point.module.startswith("compute_driver.nova."):
                continue  # needs nova, which tests.nova has
            with self.subTest(point):
                self.assertTrue(callable(point.load()))


class Stevedore(base.HostTestCase):
    """The caller uses a guest through stevedore's manager alone."""

    def load(self, namespace: str, name: str, **options: Any) -> Any:
        return stevedore.DriverManager(namespace, name, **options).driver

    def test_driver_is_found_and_made(self) -> None:
        self.assertIs(LibvirtDriver, self.load(DRIVERS, "libvirt"))
        driver = self.load(
            DRIVERS, "libvirt", invoke_on_load=True, invoke_args=(base.configuration(),)
        )
        self.addCleanup(driver.close)
        self.assertEqual("libvirt", driver.host_show().driver)

    def test_operations_are_found_and_work_on_a_guest(self) -> None:
        spawn, reboot, destroy = (
            self.load(OPERATIONS, name) for name in ("spawn", "reboot", "destroy")
        )
        guest = base.guest()
        self.addCleanup(self.driver.destroy, guest.uuid)

        self.assertIs(PowerState.RUNNING, spawn(self.driver, guest).state)
        self.driver.console_wait(guest.uuid, base.BANNER, timeout=base.BOOT_TIMEOUT)

        before = len(self.driver.console_log(guest.uuid))
        self.assertIs(RebootKind.SOFT, reboot(self.driver, guest.uuid))
        self.driver.console_wait(
            guest.uuid, base.BANNER, timeout=base.BOOT_TIMEOUT, skip_bytes=before
        )

        self.assertIsNone(destroy(self.driver, guest.uuid))
        self.assertEqual((), self.driver.list())


class OtherDistribution(unittest.TestCase):
    """Another project, which pip has installed."""

    name = "neighbour"

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        project, target = Path(directory.name, "project"), Path(directory.name, "installed")
        project.mkdir()
        (project / "setup.py").write_text(SETUP)
        (project / "knocking.py").write_text(MODULE)
        options = ["--no-index", "--no-deps", "--no-build-isolation", f"--target={target}"]
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "--quiet", *options, str(project)],
            env=os.environ
            | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"},
            check=True,
        )
        path = os.pathsep.join(filter(None, [str(target), os.environ.get("PYTHONPATH")]))
        cls.line = CommandLine.of_root(PYTHONPATH=path)
        cls.addClassCleanup(cls.line.nothing_is_left)
        cls.line.spawn(cls.name, "--wait", base.BANNER)
        cls.addClassCleanup(cls.line.done, "destroy", cls.name)

    def test_its_verb_works_on_a_guest(self) -> None:
        self.assertEqual("knock knock\n", self.line.done("knock", self.name).out)
        self.assertEqual(
            "who is there\n", self.line.done("knock", self.name, "--text", "who is there").out
        )

    def test_its_verb_is_explained(self) -> None:
        self.assertRegex(self.line.done("--help").out, "knock +Type a line at a guest's console")
        self.assertRegex(self.line.done("knock", "--help").out, r"--text TEXT +the line\.")

    def test_its_verb_refuses_a_guest_that_is_not(self) -> None:
        self.assertEqual("no such guest: 'nosuch'", self.line.refused(1, "knock", "nosuch"))

    def test_what_does_not_load_is_named_with_the_cause(self) -> None:
        self.assertEqual(
            f"plugin 'broken' of '{OPERATIONS}' cannot be loaded:"
            " ModuleNotFoundError: No module named 'knocking_absent'",
            self.line.refused(1, "broken", self.name),
        )

    def test_what_does_not_load_leaves_the_others_working(self) -> None:
        self.assertEqual([self.name], self.line.names())
        self.assertIn("broken", self.line.done("--help").out)
