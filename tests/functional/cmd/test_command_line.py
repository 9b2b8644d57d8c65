# SPDX-License-Identifier: Apache-2.0
"""The command line on the real driver: the life of guests, consoles, refusals, signals."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import os
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import PIL.Image

from tests.functional import base
from tests.functional.cmd.base import CommandLineTestCase
from tests.functional.command import (
    DEADLINE,
    CommandLine,
    Terminal,
    ended,
    eventually,
    private_state,
    spawn_words,
)
from tests.keys import public_key

NAME = "web"
USER_DATA = "#!/bin/sh\necho told-by-user-data\n"


class HostVerbs(CommandLineTestCase):
    def test_host_check_finds_all_that_emulation_needs(self) -> None:
        checks = {
            check["Subject"]: check for check in self.line.done("host", "check", "-f", "json").json
        }
        for subject in ("libvirt", "x86_64 guests", "qemu-img", "prlimit"):
            self.assertEqual("ok", checks[subject]["Verdict"], checks[subject])

    def test_host_show_describes_the_host(self) -> None:
        host = self.line.done("host", "show", "-f", "json").json
        self.assertEqual("libvirt", host["driver"])
        self.assertIn(str(self.line.state), host["connection_uri"])
        found = {each["architecture"]: each for each in host["architectures"]}
        self.assertEqual("tcg", found["x86_64"]["accelerator"])
        self.assertIn("q35", [machine["alias"] for machine in found["x86_64"]["machines"]])

    def test_host_show_needs_no_terminal_wide_enough(self) -> None:
        fields = self.line.done("host", "show", "-f", "value", "-c", "cpus").out
        self.assertEqual(os.cpu_count(), int(fields))


class OneGuest(CommandLineTestCase):
    """A guest that is spawned once and destroyed once; every test leaves it running."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        files = tempfile.TemporaryDirectory()
        cls.addClassCleanup(files.cleanup)
        cls.files = Path(files.name)
        (cls.files / "user-data").write_text(USER_DATA)
        (cls.files / "key.pub").write_text(public_key() + "\n")
        cls.addClassCleanup(cls.line.done, "destroy", NAME)
        cls.spawned = cls.line.spawn(
            *(NAME, "--key", str(cls.files / "key.pub"), "--meta", "role=web"),
            *("--user-data", str(cls.files / "user-data"), "--nic", "user,model=e1000"),
            *("--wait", base.BANNER, "-f", "json"),
        ).json

    def log(self) -> str:
        return self.line.done("console", "log", NAME).out

    def shown(self) -> str:
        return self.line.done("show", NAME, "-f", "value", "-c", "state").out.strip()

    def attach(self) -> subprocess.Popen[bytes]:
        return self.start("console", "attach", NAME, "--grace", "0.1")

    def read_until(self, process: subprocess.Popen[bytes], text: bytes) -> None:
        for line in process.stdout:
            if text in line:
                return
        self.fail(f"the console ended before {text!r}")

    def test_spawn_shows_the_guest(self) -> None:
        expected = {"name": NAME, "state": "running", "memory_mib": 192}
        expected["accelerator"] = str(base.ACCELERATOR)
        self.assertEqual(expected, {key: self.spawned[key] for key in expected})
        self.assertEqual(str(uuid.UUID(self.spawned["uuid"])), self.spawned["uuid"])
        self.assertRegex(self.spawned["interfaces"][0], "user,model=e1000,mac=52:54:00")

    def test_show_finds_by_name_and_by_uuid(self) -> None:
        for guest in (NAME, self.spawned["uuid"], self.spawned["uuid"].upper()):
            self.assertEqual(self.spawned, self.line.done("show", guest, "-f", "json").json)

    def test_list_in_every_format(self) -> None:
        identity = self.spawned["uuid"]
        [row] = self.line.done("list", "-f", "json").json
        self.assertEqual((identity, "running"), (row["UUID"], row["State"]))
        columns = ("-c", "UUID", "-c", "State")
        self.assertEqual(
            f"{identity} running\n", self.line.done("list", "-f", "value", *columns).out
        )
        self.assertEqual(
            f'"UUID","State"\n"{identity}","running"\n',
            self.line.done("list", "-f", "csv", *columns).out,
        )
        self.assertIn(f"UUID: {identity}", self.line.done("list", "-f", "yaml").out)
        self.assertIn(f"| {identity} |", self.line.done("list").out)

    def test_config_drive_reaches_the_guest(self) -> None:
        log = self.log()
        self.assertIn(f"GUEST-UUID: {self.spawned['uuid']}", log)
        self.assertIn(f"GUEST-HOSTNAME: {NAME}", log)
        self.assertIn("GUEST-KEYS: 1", log)
        process = self.attach()
        process.stdin.write(b"run cat /run/userdata.log\n")
        process.stdin.flush()
        self.read_until(process, b"told-by-user-data")
        self.assertEqual(0, ended(process).status)

    def test_end_of_the_console_log(self) -> None:
        outcome = self.line.done("console", "log", NAME, "--bytes", "10")
        self.assertEqual(10, len(outcome.raw))

    def test_console_through_a_pipe(self) -> None:
        process = self.attach()
        process.stdin.write(b"through a pipe\n")
        process.stdin.flush()
        self.read_until(process, b"GUEST-ECHO: through a pipe")
        outcome = ended(process)
        self.assertEqual((0, ""), (outcome.status, outcome.err))

    def test_console_on_a_terminal(self) -> None:
        terminal = self.terminal()
        attached = self.attach_to(terminal)
        self.assertTrue(terminal.is_raw)
        terminal.type(b"on a terminal\r")
        terminal.expect(b"GUEST-ECHO: on a terminal")
        terminal.type(b"\x03run echo $((6 * 7))\r")  # Ctrl-C is the guest's
        terminal.expect(b"GUEST-RC: 0")
        terminal.type(b"\x1d")
        terminal.expect(b"connection closed")
        self.assertEqual(0, attached.wait(DEADLINE))
        self.assertFalse(terminal.is_raw)

    def attach_to(self, terminal: Terminal) -> subprocess.Popen[bytes]:
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.slave)
        process = self.start("console", "attach", NAME, **streams)
        terminal.expect(b"Ctrl-] disconnects")
        return process

    def test_other_commands_while_one_is_attached(self) -> None:
        terminal = self.terminal()
        attached = self.attach_to(terminal)
        self.assertIn("open elsewhere", self.line.refused(1, "console", "attach", NAME))
        commands = [("list",), ("show", NAME), ("stats", NAME), ("console", "log", "web")]
        with concurrent.futures.ThreadPoolExecutor(len(commands)) as pool:
            list(pool.map(lambda words: self.line.done(*words), commands))
        self.line.done("pause", NAME)
        self.line.done("resume", NAME)
        terminal.type(b"still here\r")
        terminal.expect(b"GUEST-ECHO: still here")
        terminal.type(b"\x1d")
        self.assertEqual(0, attached.wait(DEADLINE))

    def test_screenshot(self) -> None:
        path = self.files / "screen.png"
        self.line.done("screenshot", NAME, str(path))
        self.assertEqual(0o600, path.stat().st_mode & 0o777)
        with PIL.Image.open(path) as picture:
            self.assertEqual("PNG", picture.format)
            self.assertGreater(picture.width, 100)
        shell = ["bash", "-c", 'cd "$(mktemp -d)"; rmdir "$PWD"; exec "$@"', "x"]
        homeless = dataclasses.replace(self.line, command=[*shell, *self.line.command])
        for line in (self.line, homeless):
            self.assertTrue(line.done("screenshot", NAME, "-").raw.startswith(b"\x89PNG"))
        self.assertIn(
            "accepted: an absolute path, because the working directory is gone",
            homeless.refused(2, "screenshot", NAME, "x.png"),
        )

    def test_stats(self) -> None:
        [row] = self.line.done("stats", "-f", "json").json
        self.assertEqual((NAME, 192), (row["Name"], row["Memory MiB"]))
        self.assertGreater(row["CPU Seconds"], 0)
        self.assertGreater(row["Read Bytes"], 0)

    def test_states(self) -> None:
        for verb, state in {
            "pause": "paused",
            "resume": "running",
            "suspend": "suspended",
            "start": "running",
            "stop": "stopped",
        }.items():
            with self.subTest(verb):
                self.assertEqual("", self.line.done(verb, NAME).out)
                self.assertEqual(state, self.shown())
        self.assertIn(
            "it is stopped; accepted: paused, running", self.line.refused(1, "pause", NAME)
        )
        with self.boots():
            self.line.done("start", NAME)
        self.assertEqual("running", self.shown())

    @contextlib.contextmanager
    def boots(self) -> Iterator[None]:
        """Expect another boot of the guest."""
        log = Path(self.spawned["console"])
        before = log.read_text(errors="replace").count(base.BANNER)
        yield
        eventually(
            lambda: log.read_text(errors="replace").count(base.BANNER) > before,
            lambda: log.read_text(errors="replace")[-2000:],
        )

    def test_reboot(self) -> None:
        for kind in ("soft", "hard"):
            with self.subTest(kind), self.boots():
                self.assertEqual(f"{kind}\n", self.line.done("reboot", f"--{kind}", NAME).out)

    def test_guest_that_exists_is_refused(self) -> None:
        self.assertIn("name 'web' is taken", self.line.refused(1, *spawn_words(NAME)))
        words = spawn_words("other", "--uuid", self.spawned["uuid"])
        self.assertIn("is taken", self.line.refused(1, *words))
        self.assertEqual("running", self.shown())


class Lifetimes(CommandLineTestCase):
    """Guests after commands that fail or that a signal ends."""

    def test_guest_outlives_the_end_of_its_command_and_of_its_terminal(self) -> None:
        for number, status in ((signal.SIGINT, 130), (signal.SIGHUP, 129)):
            with self.subTest(number), private_state() as state:
                line = CommandLine.of_root(state)
                # The command that is hit has started libvirt, too.
                spawning = line.start(*spawn_words(self.name, "--wait", "never shown"))
                log = functools.partial(line.run, "console", "log", self.name)
                eventually(lambda log=log: base.BANNER in log().out, log)
                os.killpg(spawning.pid, number)
                self.assertEqual(status, ended(spawning).status)
                with self.assertRaises(ProcessLookupError):
                    os.killpg(spawning.pid, number)  # nothing else was in its group
                shown = line.done("show", self.name, "-f", "value", "-c", "state").out
                line.done("destroy", self.name)
                self.assertEqual("running\n", shown)
                line.nothing_is_left()

    def test_state_directories_know_nothing_of_each_other(self) -> None:
        self.addCleanup(self.line.done, "destroy", self.name)
        self.line.spawn(self.name)
        with private_state() as state:
            other = CommandLine.of_root(state)
            self.assertEqual([], other.names())
            self.assertEqual(f"no such guest: {self.name!r}", other.refused(1, "show", self.name))
            other.spawn(self.name)  # the name is free
            other.done("destroy", self.name)
        self.assertEqual([self.name], self.line.names())

    def test_guest_stays_when_its_text_is_late(self) -> None:
        words = spawn_words(self.name, "--wait", "never shown", "--timeout", "0.5")
        said = self.line.refused(1, *words)
        self.addCleanup(self.line.done, "destroy", self.name)
        self.assertRegex(
            said, f"did not show 'never shown' within 0.5 s; guest '{self.name}' stays"
        )
        self.assertEqual([self.name], self.line.names())


#: Command lines, and a part of the error.
BAD_USAGE = {
    (): "no command given",
    ("spwan",): "no such command: 'spwan'; is it 'spawn'?",
    ("list", "--bogus"): "unrecognized arguments: --bogus",
    ("show",): "the following arguments are required: GUEST",
    ("spawn", "x"): "accepted: an image, a kernel, or an empty root disk",
    ("spawn", "x", "--disk", "1", "--memory", "1g"): "accepted: a whole number",
    ("spawn", "x", "--disk", "1", "--nic", "wifi"): "accepted: user, network=NAME, bridge=NAME",
    ("spawn", "x", "--image", "ftp://host/disk"): "URL with one of the schemes",
    ("spawn", "x", "--image", "/nonexistent"): "--image: '/nonexistent' is not usable",
    ("spawn", "x", "--image", "/tmp"): "--image: '/tmp' is not usable",
    ("spawn", "x", "--kernel", "/nonexistent"): "--kernel: '/nonexistent' is not usable",
    ("--config-file", "/nonexistent", "list"): "/nonexistent cannot be read",
}

REFUSED = {
    ("destroy", "nosuch"): "no such guest: 'nosuch'",
    ("show", "nosuch"): "no such guest: 'nosuch'",
    ("console", "attach", "nosuch"): "no such guest: 'nosuch'",
    ("reboot", str(uuid.UUID(int=1))): f"no such guest: '{uuid.UUID(int=1)}'",
    ("spawn", "x", "--disk", "1", "--machine", "pdp11"): "machine: 'pdp11' is not usable",
    ("spawn", "x", "--disk", "1", "--nic", "bridge=nosuch"): "nic: 'bridge=nosuch'",
    ("spawn", "x", "--disk", "1", "--memory", "9999999"): "memory: 9999999 is not usable",
}


class Refusals(CommandLineTestCase):
    def test_bad_usage(self) -> None:
        for words, expected in BAD_USAGE.items():
            with self.subTest(words):
                self.assertIn(expected, self.line.refused(2, *words))

    def test_what_cannot_be_done(self) -> None:
        for words, expected in REFUSED.items():
            with self.subTest(words):
                self.assertIn(expected, self.line.refused(1, *words))

    def test_refused_spawn_tells_of_no_emulation(self) -> None:
        line = CommandLine.of_root(OS_HYPERVISOR__VIRT_TYPE="kvm")
        line.refused(1, "spawn", "x", "--image", "file:///nonexistent")

    def test_bad_option(self) -> None:
        line = CommandLine.of_root(OS_HYPERVISOR__VIRT_TYPE="xen")
        self.assertRegex(line.refused(2, "list"), "virt_type.*'xen'.*kvm.*qemu")

    def test_unreachable_libvirt(self) -> None:
        uri = "qemu+unix:///system?socket=/nonexistent"
        line = CommandLine.of_root(OS_HYPERVISOR__CONNECTION_URI=uri)
        self.assertIn("libvirt is not reachable", line.refused(1, "list"))
