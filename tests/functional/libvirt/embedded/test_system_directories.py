# SPDX-License-Identifier: Apache-2.0
"""An embedded libvirt leaves the directories of a system libvirt as if it had never run.

Each test runs in a mount namespace where three of the five directories are missing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import unittest
from typing import Any

from tests.functional import users

PARENTS = ("/var/cache", "/var/log", "/run")
SECONDS = 60.0
MOUNT = "".join(f"mount -t tmpfs tmpfs {parent} && " for parent in PARENTS)
PRELUDE = f"""
import fcntl, json, os, signal, stat, sys
from pathlib import Path
import libvirt
from compute_driver.libvirt.embedded import leftovers
from compute_driver.libvirt.daemon import EmbeddedDaemon
from tests.functional.processes import daemon_pid, ended

DIRECTORIES = [Path(parent, "libvirt") for parent in {PARENTS!r}]
os.umask(0o077)
first, second = (EmbeddedDaemon(Path(sys.argv[1], name)) for name in ("first", "second"))
answers = []

def look():
    there = [directory for directory in DIRECTORIES if directory.exists()]
    answers.append({{str(path): oct(stat.S_IMODE(path.stat().st_mode)) for path in there}})

def find():
    left = leftovers.find_left_directories(tuple(map(str, DIRECTORIES)))
    answers.append([[str(each.path), each.empty] for each in left])
    return left

def stop(daemon):
    pid = daemon.pid
    daemon.stop()
    assert ended([pid], {SECONDS})
"""
ALL = {f"{parent}/libvirt": "0o755" for parent in PARENTS}


@unittest.skipUnless(os.geteuid() == 0, "an ordinary user's daemon needs none of them")
class SystemDirectoriesTest(unittest.TestCase):
    def answers(self, code: str) -> list[Any]:
        """Return what a script has noted that ran where the directories are missing."""
        home = self.enterContext_(tempfile.TemporaryDirectory())
        script = f"{PRELUDE}\n{code}\nprint(json.dumps(answers))"
        command = f"{MOUNT}exec {sys.executable} - {home}"
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", command],
            input=script,
            env={**os.environ, "PYTHONPATH": str(users.PACKAGE.parent)},
            capture_output=True,
            text=True,
            timeout=SECONDS * 2,
        )
        self.assertEqual(0, done.returncode, done.stderr)
        answers: list[Any] = json.loads(done.stdout)
        return answers

    def enterContext_(self, manager: Any) -> Any:  # noqa: N802
        self.addCleanup(manager.__exit__, None, None, None)
        return manager.__enter__()

    def test_they_are_passable_in_use_and_gone_after_the_last_use(self) -> None:
        both, one, none = self.answers(
            """
first.ensure(), second.ensure()
look()
stop(first)
libvirt.open(second.ensure()).listAllDomains()
look()
stop(second)
look()
"""
        )
        self.assertEqual((ALL, ALL, {}), (both, one, none))

    def test_those_that_somebody_has_filled_stay(self) -> None:
        (left,) = self.answers(
            """
first.ensure()
(DIRECTORIES[0] / "qemu").mkdir()
stop(first)
look()
assert os.listdir(DIRECTORIES[0]) == ["qemu"]
"""
        )
        self.assertEqual({"/var/cache/libvirt": "0o755"}, left)

    def test_they_go_if_the_supervisor_lacks_open_files(self) -> None:
        *told, left = self.answers(
            """
import resource, subprocess
from compute_driver.libvirt.embedded import supervisor

first.ensure()
stop(first)
base = Path(sys.argv[1], "first", "libvirt")
words = [sys.executable, "-I", "-S", supervisor.__file__, f"--base={base}"]
words += ["--libvirtd=/bin/false", "--virtlogd=/bin/false", "--idle-timeout=5"]
for limit in range(5, 16):
    done = subprocess.run(
        [*words, "--start-timeout=5"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)),
    )
    answers.append([done.stdout, done.stderr, [str(path) for path in DIRECTORIES if path.exists()]])
look()
"""
        )
        self.assertIn("Too many open files", str(told))
        for told_once, log, directories in told:
            self.assertRegex(told_once, r"\A[^\n]+\Z")
            self.assertNotIn("Traceback", log)
            self.assertEqual([], directories)
        self.assertEqual({}, left)

    def test_a_killed_supervisor_leaves_what_the_repair_removes(self) -> None:
        used, found, repaired = self.answers(
            """
first.ensure()
find()
pids = [daemon_pid(Path(sys.argv[1], "first")), first.pid]
os.kill(first.pid, signal.SIGKILL)
assert ended(pids, 60)
for left in find():
    left.repair()
look()
"""
        )
        self.assertEqual([], used)
        self.assertEqual([[path, True] for path in ALL], found)
        self.assertEqual({}, repaired)

    def test_those_of_an_earlier_release_are_repaired(self) -> None:
        found, after = self.answers(
            """
for directory in DIRECTORIES:
    directory.mkdir(mode=0o700)
(DIRECTORIES[2] / "qemu").mkdir()
for left in find():
    left.repair()
look()
"""
        )
        self.assertEqual([[path, path != "/run/libvirt"] for path in ALL], found)
        self.assertEqual({"/run/libvirt": "0o755"}, after)

    def test_those_of_an_earlier_release_are_used_and_go(self) -> None:
        found, used, after = self.answers(
            """
for directory in DIRECTORIES:
    directory.mkdir(mode=0o700)
first.ensure()
find()
look()
stop(first)
look()
"""
        )
        self.assertEqual(([], ALL, {}), (found, used, after))
