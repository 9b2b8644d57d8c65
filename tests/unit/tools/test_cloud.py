# SPDX-License-Identifier: Apache-2.0
"""The test cloud's configuration and order, without starting any of it."""

from __future__ import annotations

import configparser
import csv
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from tests.cloud import configuration, layout, results, services, table
from tests.cloud.errors import CloudError
from tests.cloud.layout import Layout


class TestFolder(unittest.TestCase):
    def test_an_empty_variable_means_the_default(self) -> None:
        for value, expected in {"": layout.DEFAULT, "/else/where": "/else/where"}.items():
            with mock.patch.dict(os.environ, {"COMPUTE_DRIVER_CLOUD": value}):
                self.assertEqual(Path(expected), layout.default())

    def test_private_folder_is_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o700)
            with self.assertRaisesRegex(CloudError, f"{folder}: set COMPUTE_DRIVER_CLOUD"):
                Layout(Path(folder, "cloud")).check_access()
            Path(folder).chmod(0o711)
            Layout(Path(folder, "cloud")).check_access()


class TestConfiguration(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.cloud = Layout(Path(folder.name))
        files = configuration.files(self.cloud)
        self.files = files | configuration.compute_files(self.cloud, "some.Driver")

    def _parsed(self, name: str) -> configparser.RawConfigParser:
        parser = configparser.RawConfigParser()
        parser.read_string(self.files[name])
        return parser

    def test_values_are_written_as_oslo_config_reads_them(self) -> None:
        ini = {"DEFAULT": {"yes": True, "one": 1, "text": "a=b"}, "other": {}}
        expected = "[DEFAULT]\nyes = true\none = 1\ntext = a=b\n[other]\n"
        self.assertEqual(expected, configuration.render(ini))

    def test_nova_compute_sees_no_database(self) -> None:
        for name in ("nova/nova-cpu.conf", "nova/nova-compute.conf"):
            self.assertNotIn("connection = mysql", self.files[name])
        self.assertIn("connection = mysql", self.files["nova/nova.conf"])

    def test_nova_compute_gets_the_driver_asked_for(self) -> None:
        parsed = self._parsed("nova/nova-compute.conf")
        self.assertEqual("some.Driver", parsed["DEFAULT"]["compute_driver"])

    def test_all_connect_to_the_same_broker(self) -> None:
        names = ("neutron/neutron.conf", "nova/nova.conf", "nova/nova-cpu.conf")
        self.assertEqual(1, len({self._parsed(n)["DEFAULT"]["transport_url"] for n in names}))

    def test_the_password_stays_and_is_its_owners_only(self) -> None:
        self.assertEqual(Layout(self.cloud.root).password, self.cloud.password)
        self.assertEqual(0o600, (self.cloud.root / "password").stat().st_mode & 0o777)


class TestLevels(unittest.TestCase):
    def test_needs_come_before(self) -> None:
        levels = services.levels({"c": ["a", "b"], "b": ["a"], "a": [], "d": []})
        self.assertEqual([["a", "d"], ["b"], ["c"]], levels)

    def test_unknown_need_is_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "a needs unknown names: x"):
            services.levels({"a": ["x"]})

    def test_a_circle_is_refused(self) -> None:
        with self.assertRaisesRegex(ValueError, "cycle"):
            services.levels({"a": ["b"], "b": ["a"]})


class TestResults(unittest.TestCase):
    def test_every_operation_is_a_line_also_a_failed_one(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "results.csv")
            with mock.patch.dict(os.environ, {results.VARIABLE: str(path)}):
                with results.recorded("boot"):
                    pass
                with self.assertRaises(KeyError), results.recorded("delete"):
                    raise KeyError
            with path.open() as file:
                rows = list(csv.reader(file))
        self.assertEqual(list(results.COLUMNS), rows[0])
        self.assertEqual([["boot", "ok"], ["delete", "KeyError"]], [row[:2] for row in rows[1:]])


class TestTable(unittest.TestCase):
    def test_two_drivers_stand_side_by_side(self) -> None:
        rows = "operation,result,seconds\n"
        with tempfile.TemporaryDirectory() as folder:
            ours, theirs, target = (Path(folder, name) for name in ("ours", "theirs", "target"))
            ours.write_text(rows + "boot,ok,1.0\nboot,ok,4.0\nboot,ok,2.0\nmigrate,ok,3.0\n")
            theirs.write_text(rows + "boot,ok,2.5\nboot,TypeError,0.1\nrescue,not supported,\n")
            table.write(ours, theirs, target)
            lines = target.read_text().splitlines()[1:]
        expected = ["boot,ok,2.0,TypeError,1.3", "migrate,ok,3.0,,", "rescue,,,not supported,"]
        self.assertEqual(expected, lines)
