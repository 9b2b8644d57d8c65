# SPDX-License-Identifier: Apache-2.0
"""The life of a guest by the command line of an ordinary user, without root."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import unittest
from collections.abc import Iterator
from pathlib import Path

from tests.functional import base, users
from tests.functional.command import DEADLINE, CommandLine, eventually
from tests.functional.processes import mentions
from tests.ports import free_port

NAME = "mine"
STOP = """
import sys
from pathlib import Path
from compute_driver.libvirt import daemon
from compute_driver.libvirt.embedded import short_names
state = Path(sys.argv[1])
daemon.EmbeddedDaemon(state).stop()
print(short_names.of(state / "libvirt"))
"""


class OrdinaryUser(unittest.TestCase):
    """One guest in a home directory, which every test leaves running."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        if os.geteuid() != 0:
            raise unittest.SkipTest("only root can become another user")
        home = users.home_directory()
        cls.home = home.__enter__()
        cls.addClassCleanup(home.__exit__, None, None, None)
        state = cls.home / ".local" / "share" / "compute-driver"
        variables = users.ordinary_environment(cls.home)
        command = users.ordinary_command(["-m", "compute_driver.cmd.main"])
        cls.line = CommandLine(state, variables, command, directory=cls.home)
        cls.addClassCleanup(cls.daemon_ends)
        image = cls.home / "disk.qcow2"
        shutil.copyfile(base.disk_image("agent").location, image)
        image.chmod(0o644)
        cls.addClassCleanup(cls.line.nothing_is_left)
        cls.addClassCleanup(cls.line.done, "destroy", NAME)
        spawned = cls.line.run(
            *("spawn", NAME, "--image", image.name, "--memory", "192", "--nic", "user"),
            *("--publish", f"{free_port()}:22", "--hostname", "my-guest"),
            *("--wait", base.BANNER, "-f", "json"),
        )
        if spawned.status:
            raise AssertionError(spawned.err)
        cls.spawned = spawned.json
        cls.console = Path(cls.spawned["console"])

    @classmethod
    def daemon_ends(cls) -> None:
        """Check that neither a process nor the short name of the user's libvirt is left."""
        done = users.as_ordinary_user(["-c", STOP, str(cls.line.state)], home=cls.home)
        left = done.stdout.split()
        eventually(lambda: not mentions(f"{left[-1]}/"), lambda: mentions(f"{left[-1]}/"))
        if done.returncode or Path(left[-1]).is_symlink():
            raise AssertionError(f"{done.stderr}{left}")

    @contextlib.contextmanager
    def boots(self) -> Iterator[None]:
        """Expect that the guest boots once more."""
        log = functools.partial(Path(self.spawned["console"]).read_text, errors="replace")
        before = log().count(base.BANNER)
        yield
        eventually(lambda: log().count(base.BANNER) > before, lambda: log()[-2000:])

    def state(self) -> str:
        return self.line.done("show", NAME, "-f", "value", "-c", "state").out.strip()

    def test_host_check_finds_nothing_missing(self) -> None:
        checks = self.line.done("host", "check", "-f", "json").json
        self.assertNotIn("failure", {check["Verdict"] for check in checks})

    def test_libvirt_is_a_session_daemon(self) -> None:
        uri = self.line.done("host", "show", "-f", "value", "-c", "connection_uri").out
        self.assertTrue(uri.startswith("qemu+unix:///session?"), uri)

    def test_guest_is_listed_and_has_network_and_config_drive(self) -> None:
        self.assertEqual([NAME], self.line.names())
        log = self.line.done("console", "log", NAME).out
        self.assertIn("GUEST-HOSTNAME: my-guest", log)
        self.assertIn("GUEST-LEASE: eth0 10.0.2.", log)

    def test_all_files_and_processes_are_the_users_own(self) -> None:
        owners = {path.lstat().st_uid for path in self.line.state.rglob("*")}
        self.assertEqual({users.NOBODY}, owners)
        for line in mentions(f"guest={NAME},"):
            self.assertEqual(users.NOBODY, Path("/proc", line.split()[0]).stat().st_uid)

    def test_console(self) -> None:
        with self.line.start("console", "attach", NAME, "--grace", "0.1") as attached:
            attached.stdin.write(b"as nobody\n")
            attached.stdin.flush()
            self.assertTrue(any(b"GUEST-ECHO: as nobody" in line for line in attached.stdout))
            attached.stdin.close()
            self.assertEqual(0, attached.wait(DEADLINE))

    def test_ssh(self) -> None:
        self.assertEqual("my-guest\n", self.line.done("ssh", NAME, "hostname").out)

    def test_screenshot(self) -> None:
        self.assertTrue(self.line.done("screenshot", NAME, "-").raw.startswith(b"\x89PNG"))

    def test_suspend_and_resume(self) -> None:
        for verb, state in {"suspend": "suspended", "resume": "running"}.items():
            self.line.done(verb, NAME)
            self.assertEqual(state, self.state())

    def test_stop_and_start(self) -> None:
        self.line.done("stop", NAME)
        self.assertEqual("stopped", self.state())
        with self.boots():
            self.line.run("start", NAME)

    def test_reboot(self) -> None:
        for kind in ("soft", "hard"):
            with self.subTest(kind), self.boots():
                self.assertEqual(f"{kind}\n", self.line.run("reboot", f"--{kind}", NAME).out)
