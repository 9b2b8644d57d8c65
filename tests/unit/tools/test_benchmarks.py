# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks make of the times they take; no guest is run."""

from __future__ import annotations

import dataclasses
import json
import os
import unittest
import uuid
from collections.abc import Callable
from pathlib import Path

from lxml import etree

from benchmarks import measure, process, rivals
from benchmarks.measure import Spread
from benchmarks.report import Report, bar
from compute_driver.choices import DiskBus, DiskFormat
from compute_driver.storage.layout import GuestDisk, Layout, Role
from compute_driver.storage.source import FileSource


class TestSpread(unittest.TestCase):
    def test_quartiles_do_not_depend_on_the_order_of_values(self) -> None:
        self.assertEqual(Spread(1.0, 2.0, 3.0, 4.0, 5.0), Spread.of([5.0, 1.0, 4.0, 2.0, 3.0]))

    def test_quartiles_lie_between_values(self) -> None:
        self.assertEqual(Spread(1.0, 1.25, 1.5, 1.75, 2.0), Spread.of([1.0, 2.0]))

    def test_a_lone_value_is_all_there_is(self) -> None:
        self.assertEqual(Spread(7.0, 7.0, 7.0, 7.0, 7.0), Spread.of([7.0]))


class TestCompare(unittest.TestCase):
    def test_rounds_are_compared_one_by_one(self) -> None:
        # The machine was ten times slower in the second round; the way always takes twice as long.
        compared = measure.compare([2.0, 20.0, 2.0], [1.0, 10.0, 1.0])
        self.assertEqual(Spread(2.0, 2.0, 2.0, 2.0, 2.0), compared.ratio)
        self.assertEqual(1.0, compared.difference.median)

    def test_rounds_that_one_way_lacks_are_an_error(self) -> None:
        with self.assertRaises(ValueError):
            measure.compare([1.0], [1.0, 2.0])


class TestInterleave(unittest.TestCase):
    def setUp(self) -> None:
        self.ran: list[str] = []

    def _way(self, name: str) -> Callable[[], measure.Sample]:
        def run() -> measure.Sample:
            self.ran.append(name)
            return {"phase": float(len(self.ran))}

        return run

    def test_every_round_begins_with_another_way(self) -> None:
        measure.interleave({name: self._way(name) for name in "abc"}, range(3))
        self.assertEqual(["abc", "abc", "bca", "cab"], _grouped(self.ran, 3))

    def test_the_first_round_does_not_count(self) -> None:
        taken = measure.interleave({"a": self._way("a")}, range(2))
        self.assertEqual({"a": {"phase": [2.0, 3.0]}}, taken)


class TestReport(unittest.TestCase):
    def setUp(self) -> None:
        self.report = Report(
            benchmark="example",
            conditions={"rounds": 3},
            baseline="plain",
            taken={
                "ours": {"spawn": [0.11, 0.12, 0.13], "destroy": [0.01, 0.01, 0.01]},
                "plain": {"spawn": [0.10, 0.10, 0.10], "destroy": [0.02, 0.02, 0.02]},
            },
        )

    def test_text_has_milliseconds_and_the_overhead(self) -> None:
        lines = self.report.as_text().splitlines()
        self.assertEqual("example: rounds 3", lines[0])
        self.assertIn("   120.0   110.0   115.0   125.0   130.0", self._line(lines, "  ours "))
        self.assertEqual(
            "  ours over plain: +20.0 ms (quartiles +15.0 and +25.0),"
            " 1.20 times as long (quartiles 1.15 and 1.25)",
            self._line(lines, "  ours over plain"),
        )

    def _line(self, lines: list[str], beginning: str) -> str:
        return next(line for line in lines if line.startswith(beginning))

    def test_json_has_seconds_and_every_value(self) -> None:
        spawn = json.loads(json.dumps(self.report.as_json()))["phases"]["spawn"]
        self.assertEqual([0.11, 0.12, 0.13], spawn["ours"]["values"])
        self.assertEqual(0.12, spawn["ours"]["seconds"]["median"])
        self.assertAlmostEqual(1.2, spawn["ours"]["against_baseline"]["ratio"]["median"])
        self.assertNotIn("against_baseline", spawn["plain"])

    def test_medians_above_their_aims_are_missed(self) -> None:
        aims = {("ours", "spawn"): 0.11, ("ours", "destroy"): 0.01}
        self.assertEqual(
            ["ours, spawn: 0.120 s, should be at most 0.11 s"],
            dataclasses.replace(self.report, aims=aims).missed(),
        )

    def test_phases_keep_their_order(self) -> None:
        self.assertEqual(["spawn", "destroy"], list(self.report.as_json()["phases"]))


class TestBar(unittest.TestCase):
    def test_bar_shows_extremes_quartiles_and_median(self) -> None:
        spread = Spread(minimum=1.0, lower=3.0, median=5.0, upper=7.0, maximum=9.0)
        self.assertEqual(" --==|==--", bar(spread, low=0.0, high=10.0, width=11))

    def test_values_that_are_all_alike_are_one_mark(self) -> None:
        self.assertEqual("|", bar(Spread.of([3.0]), low=3.0, high=3.0))


class TestProcess(unittest.TestCase):
    def test_processor_time_is_that_of_user_and_system(self) -> None:
        # pid, name, state, then ten numbers before the two of interest.
        self.assertEqual(1203, process.parse("7 (a) (b c) S 1 2 3 4 5 6 7 8 9 10 1200 3 0 0\n"))

    def test_this_process_has_used_some(self) -> None:
        self.assertGreater(process.cpu_seconds(os.getpid()), 0.0)

    def test_guest_without_a_process_is_an_error(self) -> None:
        with self.assertRaises(LookupError):
            process.find(str(uuid.uuid4()))


class TestNovaDomain(unittest.TestCase):
    XML = """
    <domain type="qemu"><cpu mode="host-model"/><devices>
      <disk><driver cache="none"/><source file="/nova/disk"/></disk>
      <disk><source file="/nova/disk.config"/></disk>
      <interface type="bridge">
        <mac address="52:54:00:00:00:01"/><model type="virtio"/><driver name="qemu"/>
        <source bridge="br-int"/><virtualport type="openvswitch"/>
      </interface>
      <serial type="pty"><log file="/nova/console.log" append="off"/></serial>
    </devices></domain>
    """

    def setUp(self) -> None:
        self.layout = Layout(
            directory=Path("/ours"),
            disks=tuple(
                GuestDisk(
                    role=role,
                    source=FileSource(path=Path("/ours") / role, format=DiskFormat.RAW),
                    size_bytes=0,
                    bus=DiskBus.VIRTIO,
                    device="disk",
                    boot_order=None,
                )
                for role in (Role.ROOT, Role.CONFIG_DRIVE)
            ),
            kernel=None,
            ramdisk=None,
            nvram=None,
            console_log=Path("/ours/console.log"),
        )

    def test_files_and_network_are_ours_and_the_rest_is_nova_s(self) -> None:
        domain = etree.fromstring(rivals.relocate(self.XML, self.layout))
        self.assertEqual(["/ours/root", "/ours/config-drive"], domain.xpath("//source/@file"))
        self.assertEqual(["/ours/console.log"], domain.xpath("//log/@file"))
        self.assertEqual(["user"], domain.xpath("//interface/@type"))
        self.assertEqual(["mac", "model"], [child.tag for child in domain.find(".//interface")])
        self.assertEqual(["host-model"], domain.xpath("cpu/@mode"))
        self.assertEqual(["none"], domain.xpath("//driver/@cache"))

    def test_disks_that_we_do_not_have_are_an_error(self) -> None:
        fewer = self.XML.replace('<disk><source file="/nova/disk.config"/></disk>', "")
        with self.assertRaises(ValueError):
            rivals.relocate(fewer, self.layout)


def _grouped(names: list[str], size: int) -> list[str]:
    return ["".join(names[i : i + size]) for i in range(0, len(names), size)]
