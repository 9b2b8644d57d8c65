# SPDX-License-Identifier: Apache-2.0
"""Under eventlet no blocking call stops other green threads; other processes never import eventlet.

Every test makes a blocking call take long. A call that blocks the hub would stop the ticking.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import unittest
from pathlib import Path
from typing import Any

from compute_driver.drivers.libvirt import LibvirtDriver
from tests.functional import base
from tests.functional.command import private_state
from tests.functional.processes import daemon_pid
from tests.image_server import ImageServer

#: Seconds that a blocking call takes, and the longest pause of the ticking on a busy machine.
STALL = 4.0
LONGEST_PAUSE = 2.0

#: Seconds after which a hanging script prints its stack and ends.
HANGING = base.BOOT_TIMEOUT

NATIVE = f"""
import faulthandler, json, os, sys, time, uuid
faulthandler.dump_traceback_later({HANGING}, exit=True)
arguments = json.loads(sys.argv[1])
"""

GREEN = f"""
import eventlet
eventlet.monkey_patch()
{NATIVE}
class Ticker:
    "Ticks as long as the hub runs, and knows the longest pause."

    def __init__(self):
        self.start()
        eventlet.spawn(self._tick)

    def start(self):
        self.pause = 0.0
        self._begin = self._last = time.monotonic()

    def _tick(self):
        while True:
            self.pause = max(self.pause, time.monotonic() - self._last)
            self._last = time.monotonic()
            eventlet.sleep(0.02)

    def report(self):
        eventlet.sleep(0.1)  # the tick that is due counts too
        print(json.dumps([time.monotonic() - self._begin, self.pause]))

ticker = Ticker()
"""

DRIVER = """
from compute_driver import conf
from compute_driver.choices import RebootKind
from compute_driver.guest import Guest, Image, Interface
from compute_driver.drivers.libvirt import LibvirtDriver

driver = LibvirtDriver(conf.load(files=[os.devnull]))

def describe(image=arguments["image"]):
    number = str(uuid.uuid4())
    return Guest(uuid=number, name=f"guest-{number[:8]}", architecture="x86_64", memory_mib=192,
                 image=Image(location=image), interfaces=(Interface(),))

def spawn_and_destroy(**image):
    guest = describe(**image)
    driver.spawn(guest)
    driver.destroy(guest.uuid)

def boots(uuid, skip=0):
    driver.console_wait(uuid, arguments["banner"], timeout=arguments["timeout"], skip_bytes=skip)

def echo(uuid, text):
    session = driver.console_attach(uuid)
    session.send(text + b"\\n")
    answer = b""
    while b"GUEST-ECHO: " + text not in answer:
        answer += session.receive()
    session.close()
"""

LIFE = """
guest = describe()
driver.spawn(guest)
boots(guest.uuid)
echo(guest.uuid, b"hello")
before = len(driver.console_log(guest.uuid))
assert driver.reboot(guest.uuid) is RebootKind.SOFT
boots(guest.uuid, before)
driver.suspend(guest.uuid)
driver.resume(guest.uuid)
driver.reboot(guest.uuid, kind=RebootKind.HARD)
driver.stop(guest.uuid, timeout=0)
driver.start(guest.uuid)
driver.screenshot(guest.uuid)
driver.stats()
driver.host_check()
driver.destroy(guest.uuid)
assert not driver.audit()
"""

SERVED = """
guest = describe()
driver.spawn(guest)
boots(guest.uuid)
echo(guest.uuid, b"hello")
driver.suspend(guest.uuid)
driver.resume(guest.uuid)
echo(guest.uuid, b"again")
assert driver.display(guest.uuid).port
assert driver.console_address(guest.uuid).port
driver.inject_nmi(guest.uuid)
driver.destroy(guest.uuid)
"""


class ScriptTestCase(unittest.TestCase):
    """Runs scripts in other processes, on this process's host."""

    def setUp(self) -> None:
        super().setUp()
        self.state = base.state_path()
        self.variables: dict[str, str] = {}

    def script(self, *parts: str, **arguments: object) -> Any:
        """Run a script, and return the answer in its last line."""
        arguments |= {
            "image": arguments.get("image", base.disk_image().location),
            "banner": base.BANNER,
            "timeout": base.BOOT_TIMEOUT,
        }
        code = "\n".join(map(textwrap.dedent, parts))
        done = subprocess.run(
            [sys.executable, "-c", code, json.dumps(arguments)],
            env={**os.environ, "OS_HYPERVISOR__STATE_PATH": str(self.state), **self.variables},
            capture_output=True,
            text=True,
            timeout=HANGING + 30,
            check=False,
        )
        self.assertEqual(0, done.returncode, done.stderr)
        return json.loads(done.stdout.splitlines()[-1])

    def slow(self, program: str) -> None:
        """Make a program of scripts slow."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = f"{os.environ['PATH']}:/usr/sbin"
        slow = Path(directory.name, program)
        slow.write_text(f'#!/bin/sh\nsleep {STALL}\nexec {shutil.which(program, path=path)} "$@"\n')
        slow.chmod(0o755)
        self.variables["PATH"] = f"{directory.name}:{path}"


class GreenThreads(ScriptTestCase):
    """Scripts share one guest, which they leave running."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        driver = LibvirtDriver(base.configuration())
        cls.addClassCleanup(driver.close)
        guest = base.guest()
        cls.addClassCleanup(driver.destroy, guest.uuid)
        driver.spawn(guest)
        driver.console_wait(guest.uuid, base.BANNER, timeout=base.BOOT_TIMEOUT)
        cls.uuid = guest.uuid

    def ticks(self, code: str, **arguments: object) -> None:
        """Check that the hub runs on while *code* takes at least the stall."""
        seconds, pause = self.script(
            *(GREEN, DRIVER, "driver.list()\nticker.start()", code, "ticker.report()"),
            uuid=self.uuid,
            **arguments,
        )
        self.assertGreater(seconds, STALL)
        self.assertLess(pause, LONGEST_PAUSE)

    def test_life_of_a_guest(self) -> None:
        self.ticks(LIFE)

    def test_consoles_that_are_served(self) -> None:
        for name in ("SERIAL", "SPICE", "VNC"):
            self.variables[f"OS_HYPERVISOR__{name}_LISTEN"] = "127.0.0.1"
        self.ticks(SERVED)

    def test_libvirt_does_not_answer(self) -> None:
        pid = daemon_pid(self.state)
        code = f"""
            import subprocess
            stalled = "kill -STOP {pid}; echo; sleep {STALL}; kill -CONT {pid}"
            stall = subprocess.Popen(["sh", "-c", stalled], stdout=subprocess.PIPE)
            stall.stdout.readline()
            guest = arguments["uuid"]
            verbs = [
                driver.list, driver.stats, driver.host_show, driver.host_check, driver.audit,
                lambda: driver.show(guest), lambda: driver.find(guest), lambda: driver.stats(guest),
                lambda: driver.console_log(guest), lambda: driver.screenshot(guest),
                lambda: echo(guest, b"stalled"), lambda: boots(guest),
                lambda: (driver.pause(guest), driver.resume(guest)), spawn_and_destroy,
            ]
            for thread in [eventlet.spawn(verb) for verb in verbs]:
                thread.wait()
            stall.wait()
        """
        self.ticks(code)

    def test_libvirt_is_slow_to_start(self) -> None:
        self.slow("libvirtd")
        code = """
            answers = [eventlet.spawn(driver.list) for _ in range(5)]
            assert [thread.wait() for thread in answers] == [()] * 5
            driver.close()
            ticker.report()
        """
        with private_state() as self.state:
            seconds, pause = self.script(GREEN, DRIVER, "ticker.start()", code)
        self.assertGreater(seconds, STALL)
        self.assertLess(pause, LONGEST_PAUSE)

    def test_another_process_works_on_the_guest(self) -> None:
        lock = f"""
            import fcntl, time
            with open("{self.state}/locks/{self.uuid}", "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                print(flush=True)
                time.sleep({STALL})
        """
        code = """
            import subprocess
            holder = subprocess.Popen(
                [sys.executable, "-c", arguments["lock"]], stdout=subprocess.PIPE)
            holder.stdout.readline()
            threads = [eventlet.spawn(driver.pause, arguments["uuid"]) for _ in range(30)]
            driver.list()  # needs a native thread, however many wait
            assert holder.poll() is None
            for thread in threads:
                thread.wait()
            holder.wait()
            driver.resume(arguments["uuid"])
        """
        self.ticks(code, lock=textwrap.dedent(lock))

    def test_image_server_stalls(self) -> None:
        server = ImageServer(Path(base.disk_image().location).read_bytes())
        self.addCleanup(server.close)
        server.gate.clear()

        def stall() -> None:
            server.wait_for(1, "GET")
            threading.Event().wait(STALL)
            server.gate.set()

        staller = threading.Thread(target=stall)
        staller.start()
        self.addCleanup(staller.join)
        # Both threads need one image: the first fetches it, the second waits for the lock.
        code = """
            for thread in [eventlet.spawn(spawn_and_destroy) for _ in range(2)]:
                thread.wait()
        """
        self.ticks(code, image=server.url)
        self.assertEqual(1, len(server.gets()))

    def test_qemu_img_is_slow(self) -> None:
        self.slow("qemu-img")
        self.ticks("spawn_and_destroy()")

    def test_another_thread_imports(self) -> None:
        code = f"""
            import _imp
            from compute_driver.system.concurrency import native, run_blocking
            sleep, threading = native("time").sleep, native("threading")
            locked = threading.Event()

            def look_for_module():
                _imp.acquire_lock()
                locked.set()
                sleep(0.5)
                _imp.release_lock()

            threading.Thread(target=look_for_module).start()
            locked.wait()
            run_blocking(sleep, {STALL})
        """
        self.ticks(code)

    def test_many_wait(self) -> None:
        code = f"""
            from compute_driver import exceptions

            def wait():
                try:
                    driver.console_wait(arguments["uuid"], "never shown", timeout={STALL})
                except exceptions.OperationTimeout:
                    return True

            begin = time.monotonic()
            waits = [eventlet.spawn(wait) for _ in range(40)]
            eventlet.sleep(0.5)
            assert driver.list()
            assert time.monotonic() - begin < {STALL}, "who waits keeps others from libvirt"
            assert all(thread.wait() for thread in waits)
        """
        self.ticks(code)

    def test_many_spawn_at_once(self) -> None:
        code = """
            pool = eventlet.GreenPool()
            guests = [describe() for _ in range(3)]
            names = [info.guest.name for info in pool.imap(driver.spawn, guests)]
            assert names == [guest.name for guest in guests]
            boots(guests[-1].uuid)
            list(pool.imap(driver.destroy, [guest.uuid for guest in guests]))
        """
        self.ticks(code)


class NativeThreads(ScriptTestCase):
    ENDING = """
        driver.close()
        assert sys.modules.get("eventlet") is None
        print(json.dumps([name for name in sys.modules if name.startswith("eventlet.")]))
    """

    def test_eventlet_is_not_imported(self) -> None:
        self.assertEqual([], self.script(NATIVE, DRIVER, LIFE, self.ENDING))

    def test_eventlet_is_not_even_tried(self) -> None:
        poison = "import sys\nsys.modules['eventlet'] = None"
        self.assertEqual([], self.script(poison, NATIVE, DRIVER, LIFE, self.ENDING))
