# SPDX-License-Identifier: Apache-2.0
"""The test host's process and its results, with shell scripts in place of QEMU."""

from __future__ import annotations

import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import testtools

from tests.nested import __main__ as command_line
from tests.nested import machine, results
from tests.nested.image import HostImage

IMAGE = HostImage(Path("kernel"), Path("initrd"))
ID = "tests.functional.test_x.TestY.test_z"


class TestHost(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.console = Path(folder.name, "console")
        # The output of tests has a reader.
        output = (self.console.parent / "output").open("w")
        self.addCleanup(output.close)
        self.enter(mock.patch.object(machine.sys, "stdout", output))

    def enter(self, patch: mock._patch[object]) -> None:
        patch.start()
        self.addCleanup(patch.stop)

    def host(self, script: str) -> tuple[bytes, int]:
        """Return what a host's job writes, and its exit status."""
        self.enter(mock.patch.object(machine, "command", return_value=["sh", "-c", script]))
        with machine.running(IMAGE, "job", self.console) as host:
            return host.output.read(), host.status()

    def test_job_tells_its_output_and_its_status(self) -> None:
        self.assertEqual((b"results", 0), self.host("echo up; printf results; exit 1"))
        self.assertEqual((b"", 3), self.host("echo up; exit 7"))

    def test_host_that_ends_before_its_job_has_failed(self) -> None:
        for script in ("echo up; exit 0", "echo up; kill -9 $$"):
            with self.subTest(script), self.assertRaisesRegex(machine.HostError, "before its job"):
                self.host(script)

    def test_host_that_does_not_boot_is_tried_again(self) -> None:
        count = self.console.with_name("count")
        script = f"echo tried >>{count}; [ $(wc -l <{count}) = 3 ] || exit 0; echo up; exit 1"
        self.assertEqual((b"", 0), self.host(script))

    def test_host_that_never_boots_has_failed(self) -> None:
        with self.assertRaisesRegex(machine.BootError, "did not come up"):
            self.host("echo no such file >&2")
        self.assertEqual("no such file\n" * machine.BOOT_ATTEMPTS, self.console.read_text())

    def test_host_that_hangs_is_ended(self) -> None:
        self.enter(mock.patch.object(machine, "POKE_SECONDS", 0.05))
        for script, constant in (("exec sleep 99", "BOOT"), ("echo up; exec sleep 99", "SILENCE")):
            self.enter(mock.patch.object(machine, f"{constant}_SECONDS", 0.1))
            with self.subTest(constant), self.assertRaisesRegex(machine.HostError, "said nothing"):
                self.host(script)

    def test_silent_host_gets_an_interrupt(self) -> None:
        self.enter(mock.patch.object(machine, "POKE_SECONDS", 0.05))
        self.assertEqual((b"", 0), self.host("echo up; read -r _; exit 1"))

    def test_host_ends_when_nobody_reads_the_results(self) -> None:
        reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
        assert reader.stdin is not None
        reader.wait()
        self.enter(mock.patch.object(machine.sys, "stdout", reader.stdin))
        with self.assertRaises(machine.ReaderGoneError):
            self.host("echo up; exec sleep 99")
        reader.stdin.close()

    def test_values_with_commas_reach_qemu_whole(self) -> None:
        words = machine.command(IMAGE, "export A='1,2'", Path("/a,b"))
        self.assertIn("name=opt/compute-driver/job,string=export A='1,,2'", words)
        self.assertIn("file,id=console,append=on,path=/a,,b", words)


class TestJob(unittest.TestCase):
    def test_command_runs_in_the_same_place_with_the_variables_of_tests(self) -> None:
        environment = {"HOME": "/a b", "SECRET": "x", "COMPUTE_DRIVER_GUEST_CACHE": "/c"}
        script = command_line.job(["python", "-m", "a b"], environment)
        self.assertIn("export HOME='/a b'\n", script)
        self.assertIn("export COMPUTE_DRIVER_TEST_ACCELERATOR=kvm\n", script)
        self.assertNotIn("SECRET", script)
        self.assertTrue(script.startswith(f"cd {Path.cwd()} || exit\n"))
        self.assertTrue(script.endswith("\npython -m 'a b'\n"))

    def test_logs_of_two_hosts_at_once_are_two(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            with command_line.console_log(Path(folder)) as first:
                with command_line.console_log(Path(folder)) as second:
                    self.assertNotEqual(first, second)
                first.write_text("old")
            with command_line.console_log(Path(folder)) as again:
                self.assertEqual((first, ""), (again, again.read_text()))


class TestResults(unittest.TestCase):
    def missing(self, *events: tuple[str, str]) -> list[str]:
        ended = results.Ended()
        for test_id, status in events:
            ended.status(test_id=test_id, test_status=status)
        return ended.missing([ID])

    def test_test_that_has_ended_is_not_missing(self) -> None:
        for status in ("success", "fail", "skip", "xfail", "uxsuccess"):
            self.assertEqual([], self.missing((ID, "inprogress"), (ID, status)))

    def test_test_that_has_not_ended_is_missing(self) -> None:
        self.assertEqual([ID], self.missing((ID, "exists"), (ID, "inprogress")))
        self.assertEqual([ID], self.missing(("another", "success")))

    def test_test_of_a_class_that_failed_or_was_skipped_is_not_missing(self) -> None:
        setup = f"setUpClass ({ID.rpartition('.')[0]})"
        self.assertEqual([], self.missing((setup, "skip")))

    def test_failure_of_the_host_is_a_failed_test(self) -> None:
        found = []
        stream = testtools.StreamToDict(found.append)
        stream.startTestRun()
        results.report_failure(stream, "why", "what it said")
        stream.stopTestRun()
        (test,) = found
        self.assertEqual((results.HOST_TEST, "fail"), (test["id"], test["status"]))
        texts = {name: content.as_text() for name, content in test["details"].items()}
        self.assertEqual({"reason": "why", "console": "what it said"}, texts)
