# SPDX-License-Identifier: Apache-2.0
"""The command line on the real driver: the life of guests, consoles, refusals, signals."""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import PIL.Image

from tests.functional import base, command
from tests.functional.command import CommandTestCase, Terminal, eventually
from tests.image_server import ImageServer
from tests.unit.test_cmd_spawn import public_key

USER_DATA = "#!/bin/sh\necho told-by-user-data\n"


class HostVerbs(CommandTestCase):
    def test_host_check_finds_all_that_emulation_needs(self) -> None:
        checks = {check["Subject"]: check for check in self.done("host", "check", "-f", "json").json}
        for subject in ("libvirt", "x86_64 guests", "qemu-img", "prlimit"):
            self.assertEqual("ok", checks[subject]["Verdict"], checks[subject])

    def test_host_show_describes_the_host(self) -> None:
        host = self.done("host", "show", "-f", "json").json
        self.assertEqual("libvirt", host["driver"])
        self.assertIn(str(self.state), host["connection_uri"])
        self.assertTrue(any(each.startswith("x86_64: tcg") for each in host["architectures"]))

    def test_host_show_needs_no_terminal_wide_enough(self) -> None:
        fields = self.done("host", "show", "-f", "value", "-c", "cpus").out
        self.assertEqual(os.cpu_count(), int(fields))


class OneGuest(CommandTestCase):
    """A guest that is spawned once and destroyed once; every test leaves it running."""

    name = "web"

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        files = tempfile.TemporaryDirectory()
        cls.addClassCleanup(files.cleanup)
        cls.files = Path(files.name)
        (cls.files / "user-data").write_text(USER_DATA)
        (cls.files / "key.pub").write_text(public_key() + "\n")
        cls.addClassCleanup(cls.nothing_is_left)
        words = cls.spawn_words(
            *(cls.name, "--key", str(cls.files / "key.pub"), "--meta", "role=web"),
            *("--user-data", str(cls.files / "user-data"), "--nic", "user,model=e1000"),
            *("--wait", base.BANNER, "-f", "json"),
        )
        cls.addClassCleanup(cls.run_command, "destroy", cls.name)
        cls.spawned = cls.done(*words).json

    @classmethod
    def nothing_is_left(cls) -> None:
        """After ``destroy``: nothing is listed or found by the audit, and no file is left."""
        outcomes = [cls.done(verb, "-f", "json").json for verb in ("list", "audit")]
        left = [str(path) for path in (cls.state / "instances").iterdir()]
        if any((*outcomes, left)):
            raise AssertionError(f"left: {outcomes} {left}")

    def log(self) -> str:
        return self.done("console", "log", self.name).out

    def shown(self) -> str:
        return self.done("show", self.name, "-f", "value", "-c", "state").out.strip()

    def attach(self, name: str = "") -> subprocess.Popen[bytes]:
        process = self.start("console", "attach", name or self.name, "--grace", "0.1")
        return process

    def read_until(self, process: subprocess.Popen[bytes], text: bytes) -> None:
        for line in process.stdout:
            if text in line:
                return
        self.fail(f"the console ended before {text!r}")

    def test_spawn_shows_the_guest(self) -> None:
        expected = {"name": self.name, "state": "running", "accelerator": "tcg", "memory_mib": 192}
        self.assertEqual(expected, {key: self.spawned[key] for key in expected})
        self.assertEqual(str(uuid.UUID(self.spawned["uuid"])), self.spawned["uuid"])
        self.assertRegex(self.spawned["interfaces"][0], "user,model=e1000,mac=52:54:00")

    def test_show_finds_by_name_and_by_uuid(self) -> None:
        for guest in (self.name, self.spawned["uuid"], self.spawned["uuid"].upper()):
            self.assertEqual(self.spawned, self.done("show", guest, "-f", "json").json)

    def test_list_in_every_format(self) -> None:
        identity = self.spawned["uuid"]
        [row] = self.done("list", "-f", "json").json
        self.assertEqual((identity, "running"), (row["UUID"], row["State"]))
        columns = ("-c", "UUID", "-c", "State")
        self.assertEqual(f"{identity} running\n", self.done("list", "-f", "value", *columns).out)
        self.assertEqual(
            f'"UUID","State"\n"{identity}","running"\n', self.done("list", "-f", "csv", *columns).out
        )
        self.assertIn(f"UUID: {identity}", self.done("list", "-f", "yaml").out)
        self.assertIn(f"| {identity} |", self.done("list").out)

    def test_config_drive_reaches_the_guest(self) -> None:
        log = self.log()
        self.assertIn(f"GUEST-UUID: {self.spawned['uuid']}", log)
        self.assertIn(f"GUEST-HOSTNAME: {self.name}", log)
        self.assertIn("GUEST-KEYS: 1", log)
        process = self.attach()
        process.stdin.write(b"run cat /run/userdata.log\n")
        process.stdin.flush()
        self.read_until(process, b"told-by-user-data")
        self.assertEqual(0, self.outcome(process).status)

    def test_end_of_the_console_log(self) -> None:
        outcome = self.done("console", "log", self.name, "--bytes", "10")
        self.assertEqual(10, len(outcome.raw))

    def test_console_through_a_pipe(self) -> None:
        process = self.attach()
        process.stdin.write(b"through a pipe\n")
        process.stdin.flush()
        self.read_until(process, b"GUEST-ECHO: through a pipe")
        outcome = self.outcome(process)
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
        self.assertEqual(0, attached.wait(command.DEADLINE))
        self.assertFalse(terminal.is_raw)

    def terminal(self) -> Terminal:
        terminal = Terminal()
        self.addCleanup(terminal.close)
        return terminal

    def attach_to(self, terminal: Terminal) -> subprocess.Popen[bytes]:
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.slave)
        process = self.start("console", "attach", self.name, **streams)
        terminal.expect(b"Ctrl-] leaves")
        return process

    def test_other_commands_while_one_is_attached(self) -> None:
        terminal = self.terminal()
        attached = self.attach_to(terminal)
        self.assertIn("open elsewhere", self.refused(1, "console", "attach", self.name))
        commands = [("list",), ("show", self.name), ("stats", self.name), ("console", "log", "web")]
        with concurrent.futures.ThreadPoolExecutor(len(commands)) as pool:
            list(pool.map(lambda words: self.done(*words), commands))
        self.done("pause", self.name)
        self.done("resume", self.name)
        terminal.type(b"still here\r")
        terminal.expect(b"GUEST-ECHO: still here")
        terminal.type(b"\x1d")
        self.assertEqual(0, attached.wait(command.DEADLINE))

    def test_screenshot(self) -> None:
        path = self.files / "screen.png"
        self.done("screenshot", self.name, str(path))
        self.assertEqual(0o600, path.stat().st_mode & 0o777)
        with PIL.Image.open(path) as picture:
            self.assertEqual("PNG", picture.format)
            self.assertGreater(picture.width, 100)
        self.assertTrue(self.done("screenshot", self.name, "-").raw.startswith(b"\x89PNG"))

    def test_stats(self) -> None:
        [row] = self.done("stats", "-f", "json").json
        self.assertEqual((self.name, 192), (row["Name"], row["Memory MiB"]))
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
                self.assertEqual("", self.done(verb, self.name).out)
                self.assertEqual(state, self.shown())
        self.assertIn("it is stopped, not", self.refused(1, "pause", self.name))
        with self.boots():
            self.done("start", self.name)
        self.assertEqual("running", self.shown())

    @contextlib.contextmanager
    def boots(self) -> Iterator[None]:
        """Expect that the guest comes up once more."""
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
                self.assertEqual(f"{kind}\n", self.done("reboot", f"--{kind}", self.name).out)

    def test_guest_that_exists_is_refused(self) -> None:
        self.assertIn("name 'web' is taken", self.refused(1, *self.spawn_words(self.name)))
        words = self.spawn_words("other", "--uuid", self.spawned["uuid"])
        self.assertIn("is taken", self.refused(1, *words))
        self.assertEqual("running", self.shown())


class Lifetimes(CommandTestCase):
    """What happens to guests when commands end in other ways than by success."""

    def setUp(self) -> None:
        super().setUp()
        self.name = f"guest-{uuid.uuid4().hex[:8]}"

    def names(self) -> list[str]:
        return self.done("list", "-f", "value", "-c", "Name").out.split()

    def log(self) -> str:
        outcome = self.run_command("console", "log", self.name)
        return outcome.out

    def test_guest_outlives_the_end_of_its_command_and_of_its_terminal(self) -> None:
        for number, status in ((signal.SIGINT, 130), (signal.SIGHUP, 129)):
            with self.subTest(number), command.private_state() as self.state:
                # The command that is hit has started libvirt, too.
                spawning = self.start(*self.spawn_words(self.name, "--wait", "never shown"))
                try:
                    eventually(lambda: base.BANNER in self.log(), "the banner")
                    os.killpg(spawning.pid, number)
                    self.assertEqual(status, self.outcome(spawning).status)
                    with self.assertRaises(ProcessLookupError):
                        os.killpg(spawning.pid, number)  # nothing else was in its group
                    state = self.done("show", self.name, "-f", "value", "-c", "state").out
                    self.assertEqual("running\n", state)
                finally:
                    self.done("destroy", self.name)

    def test_state_directories_know_nothing_of_each_other(self) -> None:
        self.addCleanup(self.done, "destroy", self.name)
        self.done(*self.spawn_words(self.name))
        here = self.state
        with command.private_state() as self.state:
            self.assertEqual([], self.names())
            self.assertEqual(f"no such guest: {self.name!r}", self.refused(1, "show", self.name))
            self.done(*self.spawn_words(self.name))  # the name is free
            self.done("destroy", self.name)
        self.state = here
        self.assertEqual([self.name], self.names())

    def test_guest_stays_when_its_text_is_late(self) -> None:
        words = self.spawn_words(self.name, "--wait", "never shown", "--timeout", "0.5")
        said = self.refused(1, *words)
        self.addCleanup(self.done, "destroy", self.name)
        self.assertRegex(said, f"did not show 'never shown' within 0.5 s; guest '{self.name}' stays")
        self.assertEqual([self.name], self.names())


class ImagesByHttp(CommandTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server = ImageServer(Path(base.disk_image().location).read_bytes())
        self.addCleanup(self.server.close)
        self.name = f"guest-{uuid.uuid4().hex[:8]}"
        self.words = ("spawn", self.name, "--image", self.server.url, "--memory", "192")

    def test_interrupted_fetch_leaves_no_guest_and_is_continued(self) -> None:
        self.server.gate.clear()
        spawning = self.start(*self.words)
        self.server.wait_for(1, "GET")
        parts = self.state / "images" / "tmp"
        eventually(lambda: any(p.stat().st_size for p in parts.glob("*.part")), "the first bytes")
        os.killpg(spawning.pid, signal.SIGINT)
        outcome = self.outcome(spawning)
        self.assertEqual(
            (130, "", "compute-driver: interrupted\n"), (outcome.status, outcome.out, outcome.err)
        )
        self.assertEqual([], self.done("list", "-f", "json").json)
        for place in ("instances", "locks", "images/locks"):
            self.assertEqual([], list((self.state / place).glob("*")))
        # The bytes that came are kept for the next attempt, and the audit can remove them.
        kinds = [row["Kind"] for row in json.loads(self.run_command("audit", "-f", "json").raw)]
        self.assertEqual({"partial image"}, set(kinds))
        self.server.gate.set()
        self.done(*self.words)
        self.done("destroy", self.name)
        self.assertIsNotNone(self.server.gets()[-1].range)
        self.done("audit")

    def test_progress_is_shown_on_a_terminal(self) -> None:
        terminal = Terminal()
        self.addCleanup(terminal.close)
        self.server.gate.clear()
        spawning = self.start(*self.words, stderr=terminal.slave)
        terminal.expect(b"fetching disk.img")
        self.server.gate.set()
        self.addCleanup(self.done, "destroy", self.name)
        outcome = self.outcome(spawning)
        self.assertEqual(0, outcome.status)
        self.assertIn(self.name, outcome.out)

    def test_progress_is_not_shown_in_a_pipe(self) -> None:
        outcome = self.done(*self.words)  # with nothing on stderr
        self.done("destroy", self.name)
        self.assertNotIn("fetching", outcome.out)

    def test_missing_image(self) -> None:
        self.server.statuses = [404, 404]
        self.assertIn("the server answered 404", self.refused(1, *self.words))
        self.assertEqual([], self.done("list", "-f", "json").json)


#: Words, and a part of what is said of them.
BAD_USAGE = {
    (): "no command given",
    ("spwan",): "no such command: 'spwan'; is it 'spawn'?",
    ("list", "--bogus"): "unrecognized arguments: --bogus",
    ("show",): "the following arguments are required: GUEST",
    ("spawn", "x"): "accepted: an image, a kernel, or an empty root disk",
    ("spawn", "x", "--disk", "1", "--memory", "1g"): "invalid int value: '1g'",
    ("spawn", "x", "--disk", "1", "--nic", "wifi"): "accepted: user, network=NAME, bridge=NAME",
    ("--config-file", "/nonexistent", "list"): "/nonexistent cannot be read",
}

REFUSED = {
    ("destroy", "nosuch"): "no such guest: 'nosuch'",
    ("show", "nosuch"): "no such guest: 'nosuch'",
    ("console", "attach", "nosuch"): "no such guest: 'nosuch'",
    ("reboot", str(uuid.UUID(int=1))): f"no such guest: '{uuid.UUID(int=1)}'",
    ("spawn", "x", "--image", "/nonexistent"): "there is no image /nonexistent",
    ("spawn", "x", "--image", "ftp://host/disk"): "URL with one of the schemes",
    ("spawn", "x", "--disk", "1", "--machine", "pdp11"): "machine: 'pdp11' is not usable",
    ("spawn", "x", "--disk", "1", "--nic", "bridge=nosuch"): "nic: 'bridge=nosuch'",
    ("spawn", "x", "--disk", "1", "--memory", "9999999"): "memory: 9999999 is not usable",
}


class Refusals(CommandTestCase):
    def test_bad_usage(self) -> None:
        for words, said in BAD_USAGE.items():
            with self.subTest(words):
                self.assertIn(said, self.refused(2, *words))

    def test_what_cannot_be_done(self) -> None:
        for words, said in REFUSED.items():
            with self.subTest(words):
                self.assertIn(said, self.refused(1, *words))

    def test_refused_spawn_tells_of_no_emulation(self) -> None:
        with self.configured(OS_HYPERVISOR__VIRT_TYPE="kvm"):
            self.refused(1, "spawn", "x", "--image", "/nonexistent")

    def test_bad_option(self) -> None:
        with self.configured(OS_HYPERVISOR__VIRT_TYPE="xen"):
            said = self.refused(2, "list")
        self.assertRegex(said, "virt_type.*'xen'.*kvm.*qemu")

    def test_unreachable_libvirt(self) -> None:
        with self.configured(OS_HYPERVISOR__CONNECTION_URI="qemu+unix:///system?socket=/nonexistent"):
            self.assertIn("libvirt is not reachable", self.refused(1, "list"))

    @contextlib.contextmanager
    def configured(self, **variables: str) -> Iterator[None]:
        environment = self.environment() | variables
        self.environment = lambda: environment  # type: ignore[method-assign]
        yield
        del self.environment
