# SPDX-License-Identifier: Apache-2.0
"""The embedded libvirt with real daemons and real QEMU, as root and as an ordinary user."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.functional import users
from tests.functional.processes import daemon_pid, ended, mentions

PROCESS_SECONDS = 60.0
PRELUDE = """
import json, os, sys
from pathlib import Path
import libvirt
from compute_driver import exceptions
from compute_driver.libvirt.daemon import EmbeddedDaemon

libvirt.registerErrorHandler(lambda *_: None, None)
daemon = EmbeddedDaemon(Path(sys.argv[1]), **json.loads(sys.argv[2]))
answer = {}

def connect():
    return libvirt.open(daemon.ensure())

def guest():
    return connect().lookupByName("g\\u00e4st")
"""
START = """
connection = connect()
domain = connection.defineXML('''
  <domain type='qemu'>
    <name>g\\u00e4st</name>
    <memory unit='MiB'>64</memory>
    <os><type arch='x86_64' machine='q35'>hvm</type><bios useserial='yes'/></os>
    <devices>
      <serial type='pty'><log file='%s' append='off'/></serial>
      <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    </devices>
  </domain>''' % (Path(sys.argv[1]).parent / "console.log"))
domain.create()
"""
# libvirt 9.0 can fail with "domain is not running" after it has killed the QEMU of a slow reaper.
DESTROY = """
domain = guest()
try:
    domain.destroy()
except libvirt.libvirtError as error:
    if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID:
        raise
answer["left"] = domain.isActive()
"""
FAILURE = """
try:
    daemon.ensure()
except exceptions.ComputeDriverError as error:
    answer["error"] = type(error).__name__
    answer["text"] = str(error)
"""


@unittest.skipUnless(
    shutil.which("libvirtd", path="/usr/sbin:/usr/bin") and shutil.which("qemu-system-x86_64"),
    "needs libvirtd and qemu-system-x86_64",
)
class EmbeddedDaemonAsRoot(unittest.TestCase):
    uid = 0

    def setUp(self) -> None:
        if os.geteuid() != 0:
            self.skipTest("needs root")
        self.home = self.make_home()
        self.state = self.home / "a state"
        self.options: dict[str, object] = {}
        self.addCleanup(self.tear_down_guests)

    def make_home(self) -> Path:
        return Path(self.enterContext_(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))

    def enterContext_(self, manager: contextlib.AbstractContextManager[Any]) -> Any:  # noqa: N802
        value = manager.__enter__()  # TestCase.enterContext came with Python 3.11
        self.addCleanup(manager.__exit__, None, None, None)
        return value

    def tear_down_guests(self) -> None:
        if not (self.state / "libvirt").exists():
            return
        code = "for d in connect().listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):\n"
        code += "    d.destroy()\ndaemon.stop()"
        self.python(code, check=False)

    def command(self, code: str, state: Path | None = None) -> list[str]:
        code = f"{PRELUDE}{code}\nprint(json.dumps(answer))"
        return ["-c", code, str(state or self.state), json.dumps(self.options)]

    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "PYTHONPATH": str(users.PACKAGE.parent)}

    def start(self, argv: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.interpreter(argv),
            cwd="/",
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def interpreter(self, argv: list[str]) -> list[str]:
        return [sys.executable, *argv]

    def finish(self, process: subprocess.Popen[str], *, check: bool = True) -> dict[str, Any]:
        output, errors = process.communicate(timeout=PROCESS_SECONDS)
        if not check and process.returncode:
            return {}
        self.assertEqual(0, process.returncode, errors)
        return dict(json.loads(output))

    def python(self, code: str, state: Path | None = None, *, check: bool = True) -> dict[str, Any]:
        """Run code in a process of its own and return the code's ``answer``."""
        return self.finish(self.start(self.command(code, state)), check=check)

    def pids(self) -> tuple[int, int]:
        """Start the daemon, and return the process IDs of supervisor and libvirtd."""
        supervisor = self.python("connect()\nanswer |= {'pid': daemon.pid}")["pid"]
        return supervisor, daemon_pid(self.state)

    def guest_pid(self) -> int:
        code = "answer['uuid'] = guest().UUIDString()"
        (line,) = mentions(f"-uuid {self.python(code)['uuid']}")
        return int(line.split()[0])

    def test_a_second_command_finds_the_daemon_of_the_first(self) -> None:
        self.assertEqual(self.pids(), self.pids())

    def test_a_warm_ensure_starts_nothing(self) -> None:
        code = """
import subprocess
answer["cold"] = daemon.ensure()
subprocess.Popen = None
answer["warm"] = daemon.ensure()
"""
        answer = self.python(code)
        self.assertEqual(answer["cold"], answer["warm"])

    def test_ensure_never_waits_for_the_daemon_under_eventlet(self) -> None:
        if self.uid:
            self.skipTest("as for root; an ordinary user's eventlet may find unfit libraries")
        code = """
import eventlet
eventlet.monkey_patch()
from eventlet import tpool
"""
        code += f"""{PRELUDE}
with eventlet.Timeout({PROCESS_SECONDS}):
    pool = eventlet.GreenPool()
    calls = [pool.spawn(tpool.execute, daemon.ensure) for _ in range(6)]
    answer["uris"] = [call.wait() for call in calls]
print(json.dumps(answer))
"""
        argv = ["-W", "ignore", "-c", code, str(self.state), json.dumps(self.options)]
        self.assertEqual(1, len(set(self.finish(self.start(argv))["uris"])))

    def test_many_commands_at_once_start_one_daemon(self) -> None:
        code = "connect()\nanswer['pid'] = daemon.pid"
        processes = [self.start(self.command(code)) for _ in range(8)]
        answers = {self.finish(process)["pid"] for process in processes}
        self.assertEqual(1, len(answers), answers)

    def test_a_guest_outlives_the_command_and_goes_without_a_trace(self) -> None:
        self.python(START)
        pid = self.guest_pid()
        code = """
domain = guest()
answer["active"] = domain.isActive()
domain.destroy()
"""
        self.assertEqual(1, self.python(code)["active"])
        self.assertFalse(Path("/proc", str(pid)).exists(), "an unreaped QEMU")

    def test_a_killed_libvirtd_is_replaced_and_finds_its_guests(self) -> None:
        self.python(START)
        supervisor, libvirtd = self.pids()
        os.kill(libvirtd, signal.SIGKILL)
        self.assertTrue(ended([libvirtd], PROCESS_SECONDS))
        self.assertEqual(1, self.python("answer['active'] = guest().isActive()")["active"])
        self.assertEqual(supervisor, self.pids()[0])
        self.assertNotEqual(libvirtd, self.pids()[1])

    def test_a_killed_supervisor_takes_its_libvirtd_along_and_both_are_replaced(self) -> None:
        self.python(START)
        supervisor, libvirtd = self.pids()
        os.kill(supervisor, signal.SIGKILL)
        self.assertTrue(ended([supervisor, libvirtd], PROCESS_SECONDS))
        self.assertEqual(1, self.python("answer['active'] = guest().isActive()")["active"])
        self.assertEqual(0, self.python(DESTROY)["left"])

    def test_the_virtlogd_of_a_killed_supervisor_logs_its_guests_and_ends_after_them(self) -> None:
        self.options["idle_timeout"] = 1
        self.python(START)
        home = self.python("answer['home'] = str(daemon.socket_path.parents[2])")["home"]
        (line,) = mentions(f"virtlogd --config {home}/")
        virtlogd = int(line.split()[0])
        os.kill(self.pids()[0], signal.SIGKILL)
        self.assertFalse(ended([virtlogd], 2.5), "virtlogd ended in spite of a guest")
        self.python("answer['active'] = guest().isActive()")
        self.assertFalse(ended([virtlogd], 2.5), "virtlogd ended in spite of a guest")
        self.python(f"{DESTROY}\nguest().create()")
        self.assertTrue(mentions(f"virtlogd --config {home}/"), "nobody logs its console")
        self.python("guest().destroy()")
        self.assertTrue(ended([virtlogd], PROCESS_SECONDS))
        pids = [int(line.split()[0]) for line in mentions(f"{home}/")]
        self.assertTrue(ended(pids, PROCESS_SECONDS), mentions(f"{home}/"))

    def test_a_stopped_daemon_is_continued(self) -> None:
        self.python(START)
        supervisor, libvirtd = self.pids()
        os.kill(libvirtd, signal.SIGSTOP)  # the supervisor continues it
        self.assertEqual(1, self.python("answer['active'] = guest().isActive()")["active"])
        os.kill(supervisor, signal.SIGSTOP)
        os.kill(libvirtd, signal.SIGSTOP)
        self.assertEqual(1, self.python("answer['active'] = guest().isActive()")["active"])
        self.assertEqual((supervisor, libvirtd), self.pids())

    def test_guests_outlive_a_stop(self) -> None:
        self.python(START)
        pid, (supervisor, libvirtd) = self.guest_pid(), self.pids()
        self.python("daemon.stop()\nassert daemon.pid is None")
        self.assertTrue(ended([libvirtd], PROCESS_SECONDS))
        self.assertEqual(1, self.python("answer['active'] = guest().isActive()")["active"])
        self.assertNotEqual(supervisor, self.pids()[0])
        self.python("guest().destroy()")
        self.assertFalse(Path("/proc", str(pid)).exists(), "an unreaped QEMU")
        self.assertTrue(ended([supervisor], PROCESS_SECONDS))

    def test_nothing_stays_behind_when_idle(self) -> None:
        self.options["idle_timeout"] = 1
        self.python(START)
        code = "answer['socket'] = str(daemon.socket_path)"
        path = Path(self.python(code)["socket"])
        home = path.parents[2]
        supervisor, libvirtd = self.pids()
        self.assertFalse(ended([libvirtd], 2.5), "libvirtd ended in spite of a guest")
        self.assertTrue(mentions(f"virtlogd --config {home}/"), "nobody logs its console")
        self.python("guest().destroy()")
        self.assertTrue(ended([supervisor, libvirtd], PROCESS_SECONDS))
        self.assertEqual([], mentions(f"{home}/"))
        self.assertFalse(path.exists())
        self.assertFalse(home.is_symlink())

    def test_a_console_log_is_bounded(self) -> None:
        self.options["console_log_max_bytes"] = 32
        self.python(START)
        self.python("""
from time import monotonic, sleep
deadline = monotonic() + 30
while not (Path(sys.argv[1]).parent / "console.log.0").exists() and monotonic() < deadline:
    sleep(0.05)
""")
        sizes = {path.name: path.stat().st_size for path in self.home.glob("console.log*")}
        self.assertIn("console.log.0", sizes)
        self.assertLessEqual(len(sizes), 4)  # three older files are kept
        self.assertLessEqual(max(sizes.values()), 32, sizes)

    def test_two_state_directories_do_not_see_each_other(self) -> None:
        self.python(START)
        code = "answer['guests'] = len(connect().listAllDomains())\ndaemon.stop()"
        self.assertEqual(0, self.python(code, self.home / "other")["guests"])
        self.assertEqual(1, self.python("answer['active'] = guest().isActive()")["active"])

    def fake_libvirtd(self, script: str) -> None:
        programs = self.home / "programs"
        programs.mkdir()
        programs.chmod(0o755)
        fake = programs / "libvirtd"
        fake.write_text(f"#!/bin/sh\n{script}\n")
        fake.chmod(0o755)
        search = f"{programs}:/usr/bin:/bin"
        path = self.environment
        self.environment = lambda: {**path(), "PATH": search}  # type: ignore[method-assign]
        self.addCleanup(setattr, self, "environment", path)

    def test_a_libvirtd_that_fails_is_reported_with_its_words(self) -> None:
        self.fake_libvirtd("echo no luck today >&2; exit 3")
        answer = self.python(FAILURE)
        self.assertEqual("LibvirtUnavailable", answer["error"])
        self.assertIn("exit code 3", answer["text"])
        self.assertIn("no luck today", answer["text"])

    def test_a_libvirtd_that_hangs_is_ended_and_reported(self) -> None:
        self.fake_libvirtd("exec sleep 77.125")
        self.options["start_timeout"] = 0.5
        answer = self.python(FAILURE)
        self.assertEqual("LibvirtUnavailable", answer["error"])
        self.assertIn("not ready within 0.5 s", answer["text"])
        self.assertEqual([], mentions("sleep 77.125"))


class EmbeddedDaemonAsOrdinaryUser(EmbeddedDaemonAsRoot):
    uid = users.NOBODY

    def make_home(self) -> Path:
        return Path(self.enterContext_(users.home_directory(self.uid)))

    def environment(self) -> Mapping[str, str]:
        return users.ordinary_environment(self.home, uid=self.uid)

    def interpreter(self, argv: list[str]) -> list[str]:
        return users.ordinary_command(argv, uid=self.uid)

    def test_a_long_home_directory_works(self) -> None:
        self.state = self.home / ("long" * 30)
        self.python(START)
        self.assertEqual(1, self.python("answer['active'] = guest().isActive()")["active"])


class RefusalTest(unittest.TestCase):
    def setUp(self) -> None:
        if os.geteuid() != 0:
            self.skipTest("needs root")

    def refusal(
        self, command: list[str], home: Path, uid: int, script: str = FAILURE
    ) -> dict[str, str]:
        code = f"{PRELUDE}{script}\nprint(json.dumps(answer))"
        done = subprocess.run(
            [*command, "-c", code, str(home / "state"), "{}"],
            env=users.ordinary_environment(home, uid=uid),
            capture_output=True,
            text=True,
            timeout=PROCESS_SECONDS,
            check=False,
        )
        self.assertEqual(0, done.returncode, done.stderr)
        return dict(json.loads(done.stdout))

    def test_root_of_a_plain_container_is_told_what_to_do(self) -> None:
        command = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", sys.executable]
        with tempfile.TemporaryDirectory() as home:
            answer = self.refusal(command, Path(home), 0)
        self.assertEqual("LibvirtUnavailable", answer["error"])
        self.assertIn("[hypervisor] connection_uri", answer["text"])

    def test_a_user_without_a_name_is_told_why(self) -> None:
        uid = 4242
        with users.home_directory(uid) as home:
            answer = self.refusal(users.ordinary_command([], uid=uid), home, uid)
        self.assertEqual("LibvirtUnavailable", answer["error"])
        self.assertIn("4242", answer["text"])

    def test_a_daemon_of_another_user_under_our_name_is_not_connected_to(self) -> None:
        uid = users.NOBODY
        with users.home_directory(uid) as home:
            command = users.ordinary_command([], uid=uid)
            place = "answer['socket'] = str(daemon.socket_path)"
            path = Path(self.refusal(command, home, uid, place)["socket"])
            squatted = path.parents[2]
            path.parent.mkdir(parents=True)
            self.addCleanup(shutil.rmtree, squatted)
            with socket.socket(socket.AF_UNIX) as squatter:
                squatter.bind(str(path))
                squatter.listen()
                for open_to_all in (squatted, path.parents[1], path.parent, path):
                    open_to_all.chmod(0o777)
                answer = self.refusal(command, home, uid)
                squatter.setblocking(False)
                self.assertRaises(BlockingIOError, squatter.accept)
        self.assertEqual("LibvirtUnavailable", answer["error"])
        self.assertIn(f"{squatted} should be a link", answer["text"])
