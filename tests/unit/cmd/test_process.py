# SPDX-License-Identifier: Apache-2.0
"""The command as a separate process: signals, pipes, terminals, other distributions."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
import termios
import time
import unittest
from pathlib import Path

from tests.unit.drivers import distribution

MODULE = """
import threading
from compute_driver.drivers.fake import FakeDriver
from compute_driver.guest import Guest

class Demo(FakeDriver):
    "A driver with a guest from the start."

    def __init__(self, conf):
        super().__init__(conf)
        identity = "3f0f4b5e-8a0c-4c5e-9d0f-1b2c3d4e5f60"
        self.spawn(Guest(uuid=identity, name="web", architecture="x86_64", root=ROOT))

from compute_driver.guest import Disk
ROOT = Disk(size_bytes=1024**2)

def hello(driver, uuid: str, *, greeting: str = "hello"):
    "Greet a guest."
    return f"{greeting} {driver.show(uuid).guest.name}"

def descriptors(driver, file: str):
    "Tell what the standard streams are."
    import os
    open(file, "w").write(" ".join(os.readlink(f"/proc/self/fd/{n}") for n in range(3)))

def talk(driver):
    "Say much."
    return "x" * (10**6 - 1)

def hang(driver, file: str):
    "Wait for a signal; clean up."
    try:
        print("ready", flush=True)
        threading.Event().wait(60)
    finally:
        open(file, "w").close()
"""

POINTS = """
[compute_driver.drivers]
demo = cmd_process:Demo

[compute_driver.operations]
hello = cmd_process:hello
hang = cmd_process:hang
descriptors = cmd_process:descriptors
talk = cmd_process:talk
broken = cmd_process_absent.module:function
"""


class ProcessCase(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        plugins = self.directory / "plugins"
        distribution.install(plugins, "cmd_process", POINTS, cmd_process=MODULE)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": directory.name,
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
            "PYTHONPATH": os.pathsep.join([str(plugins), *filter(None, sys.path)]),
            "OS_HYPERVISOR__DRIVER": "demo",
        }
        self.command = [
            *(sys.executable, "-c"),
            "import sys; from compute_driver.cmd.main import main; sys.exit(main())",
        ]

    def run_command(self, *words: str, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            **options,
        )

    def start(self, *words: str, **options: object) -> subprocess.Popen[bytes]:
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen([*self.command, *words], env=self.environment, **settings)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process


class OtherDistributions(ProcessCase):
    def outcome(self, *words: str) -> tuple[int, str, str]:
        process = self.run_command(*words)
        return process.returncode, process.stdout, process.stderr

    def test_added_verb_works(self) -> None:
        self.assertEqual((0, "hello web\n", ""), self.outcome("hello", "web"))
        self.assertEqual((0, "hi web\n", ""), self.outcome("hello", "web", "--greeting", "hi"))

    def test_broken_verb_names_itself_and_the_cause(self) -> None:
        status, out, error = self.outcome("broken", "web")
        self.assertEqual((1, ""), (status, out))
        self.assertEqual(
            "compute-driver: plugin 'broken' of 'compute_driver.operations' cannot be loaded:"
            " ModuleNotFoundError: No module named 'cmd_process_absent'\n",
            error,
        )

    def test_distribution_that_comes_and_changes_is_seen_at_once(self) -> None:
        self.assertEqual((0, "hello web\n", ""), self.outcome("hello", "web"))
        points = self.directory / "plugins" / "cmd_process-1.0.dist-info" / "entry_points.txt"
        points.write_text(POINTS.replace("hello = ", "greet = "))
        self.assertEqual((0, "hello web\n", ""), self.outcome("greet", "web"))
        self.assertEqual(2, self.outcome("hello", "web")[0])


DEAF = """
import ctypes, threading
from compute_driver.cmd import main
main.UNWIND_SECONDS = 0.2
libc, mutex = ctypes.CDLL(None), ctypes.create_string_buffer(256)
with main._unwinding_signals():
    libc.pthread_mutex_lock(mutex)
    threading.Timer(0.5, print, ["ready"], {"flush": True}).start()
    libc.pthread_mutex_lock(mutex)  # for good, as a call of a hung emulator's
"""


SLOW = """
import contextlib, time
from compute_driver.cmd import main
with contextlib.suppress(SystemExit), main._unwinding_signals():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        time.sleep(0.2)
        print("unwinding", flush=True)
        time.sleep(60)
"""


class Signals(ProcessCase):
    def test_a_second_signal_ends_the_unwinding_without_a_word(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", SLOW], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.addCleanup(process.kill)
        assert process.stdout is not None
        for line in (b"ready\n", b"unwinding\n"):
            self.assertEqual(line, process.stdout.readline())
            process.send_signal(signal.SIGTERM)
        self.assertEqual((b"", b""), process.communicate(timeout=30))
        self.assertEqual(0, process.returncode)

    def test_what_cannot_unwind_ends_all_the_same(self) -> None:
        process = subprocess.Popen(
            [sys.executable, "-c", DEAF], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.assertEqual(b"ready\n", process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        _, text = process.communicate(timeout=30)
        self.assertEqual(143, process.returncode)
        self.assertIn(b"does not answer", text)

    def test_interrupt_while_modules_are_imported_ends_it_without_a_word(self) -> None:
        slow = "import time; print('ready', flush=True); time.sleep(60)"
        (self.directory / "plugins" / "cliff.py").write_text(slow)
        self.command[:0] = ["env", "--default-signal=INT"]
        process = self.start("list")
        self.assertEqual(b"ready\n", process.stdout.readline())
        process.send_signal(signal.SIGINT)
        self.assertEqual((b"", b""), process.communicate(timeout=30))
        self.assertEqual(130, process.returncode)

    def test_signals_unwind(self) -> None:
        # Those that the tests' own starter ignores (nohup, a shell's "&") are ignored by all.
        self.command[:0] = ["env", "--default-signal=HUP,INT,TERM"]
        for number, status, text in (
            (signal.SIGINT, 130, b"compute-driver: interrupted\n"),
            (signal.SIGTERM, 143, b""),
            (signal.SIGHUP, 129, b""),
        ):
            with self.subTest(number):
                mark = self.directory / f"cleaned-{number}"
                process = self.start("hang", str(mark))
                self.assertEqual(b"ready\n", process.stdout.readline())
                process.send_signal(number)
                self.assertEqual((b"", text), process.communicate(timeout=30))
                self.assertEqual(status, process.returncode)
                self.assertTrue(mark.exists())


class Streams(ProcessCase):
    def test_broken_pipe_is_silent(self) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        for words in (["list"], ["--help"], ["console", "log", "web"], ["config", "validate"]):
            with self.subTest(words):
                process = self.start(*words, stdout=writer)
                self.assertEqual(b"", process.communicate(timeout=30)[1])
                # cliff's pager of help takes it for the reader's wish.
                self.assertEqual(0 if words == ["--help"] else 141, process.returncode)
        os.close(writer)

    def under(self, shell: str, *words: str) -> tuple[int, str]:
        """Return the status and the messages of a command that a shell runs as "$@"."""
        done = subprocess.run(
            ["bash", "-c", shell, "x", *self.command, *words],
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
        return done.returncode, done.stderr

    def test_closed_streams_are_no_failure(self) -> None:
        for streams in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
            for words in (["stop", "web"], ["list"], ["--version"], ["console", "log", "web"]):
                with self.subTest(streams, words=words):
                    self.assertEqual((0, ""), self.under(f'exec "$@" {streams}', *words))
        self.assertEqual(1, self.under('exec "$@" <&- >&- 2>&-', "show", "absent")[0])

    def test_files_do_not_take_the_numbers_of_closed_streams(self) -> None:
        status, text = self.under(
            'exec "$@" <&- >&- 2>&-', "descriptors", str(self.directory / "d")
        )
        self.assertEqual((0, ""), (status, text))
        self.assertEqual(3 * ["/dev/null"], (self.directory / "d").read_text().split())

    def test_full_output_has_a_status_of_its_own(self) -> None:
        line = (
            "compute-driver: the command is done, but its output cannot be written:"
            " No space left on device\n"
        )
        for words in (["list"], ["--help"], ["--version"], ["console", "log", "web"]):
            with self.subTest(words):
                self.assertEqual((3, line), self.under('exec "$@" >/dev/full', *words))
                self.assertEqual((3, ""), self.under('exec "$@" >/dev/full 2>&1', *words))
        self.assertEqual((0, ""), self.under('exec "$@" >/dev/full', "stop", "web"))
        self.assertEqual((1, ""), self.under('exec "$@" 2>/dev/full', "show", "absent"))

    def test_removed_directory_matters_to_relative_paths_only(self) -> None:
        gone = 'cd "$(mktemp -d)"; rmdir "$PWD"; exec "$@"'
        self.assertEqual((0, ""), self.under(gone, "list"))
        for flag, words in {
            "--image": ("spawn", "a", "--image", "x.img"),
            "--log-file": ("list", "--log-file", "x"),
            "--python": ("nova", "link", "--python", "x"),
        }.items():
            status, text = self.under(gone, *words)
            self.assertEqual(2, status, text)
            self.assertRegex(text, f"compute-driver: {flag}: .*the working directory is gone\n")

    def test_too_few_files_are_told_and_the_limit_of_the_user_is_raised(self) -> None:
        status, text = self.under('ulimit -n 16; exec "$@"', "list")
        self.assertEqual(1, status)
        self.assertIn("at most 16 files can be open (see 'ulimit -n'); accepted: 64 or more", text)
        self.assertEqual((0, ""), self.under('ulimit -Sn 16; exec "$@"', "list"))

    def test_slow_reader_of_a_pipe_that_does_not_block_gets_everything(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        process = self.start("talk", stdout=writer)
        os.close(writer)
        time.sleep(0.5)
        with open(reader, "rb") as pipe:
            self.assertEqual(10**6, len(pipe.read()))
        self.assertEqual((None, b""), process.communicate(timeout=30))
        self.assertEqual(0, process.returncode)

    def test_output_that_the_locale_cannot_write(self) -> None:
        self.environment |= {"PYTHONIOENCODING": "ascii"}
        process = self.run_command("hello", "web", "--greeting", "grüß")
        self.assertEqual((0, "gr\\xfc\\xdf web\n"), (process.returncode, process.stdout))

    def test_console_with_a_pipe(self) -> None:
        process = self.run_command("console", "attach", "web", "--grace", "0.2", input="a\nb\n")
        self.assertEqual((0, "a\nb\n", ""), (process.returncode, process.stdout, process.stderr))

    def test_console_without_stdin(self) -> None:
        process = self.run_command(
            "console", "attach", "web", "--grace", "0.2", stdin=subprocess.DEVNULL
        )
        self.assertEqual((0, ""), (process.returncode, process.stderr))


class Terminal(ProcessCase):
    def setUp(self) -> None:
        super().setUp()
        self.keyboard, self.terminal = pty.openpty()
        self.addCleanup(os.close, self.keyboard)
        self.addCleanup(os.close, self.terminal)
        self.before = termios.tcgetattr(self.terminal)
        self.process = self.start(
            *("console", "attach", "web"),
            stdin=self.terminal,
            stdout=self.terminal,
            stderr=self.terminal,
            start_new_session=True,
        )
        self.expect(b"Ctrl-] disconnects")

    def expect(self, text: bytes) -> None:
        seen = b""
        deadline = time.monotonic() + 30
        while text not in seen:
            ready, _, _ = select.select([self.keyboard], [], [], deadline - time.monotonic())
            self.assertTrue(ready, seen)
            seen += os.read(self.keyboard, 65536)

    def ended(self) -> int:
        status = self.process.wait(30)
        self.assertEqual(self.before, termios.tcgetattr(self.terminal))
        return status

    def test_typing_and_the_escape(self) -> None:
        self.assertNotEqual(self.before, termios.tcgetattr(self.terminal))
        os.write(self.keyboard, b"uname -a\r")
        self.expect(b"uname -a\r")
        os.write(self.keyboard, b"\x1d")
        self.expect(b"connection closed")
        self.assertEqual(0, self.ended())

    def test_terminal_is_put_back_after_a_signal(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.assertEqual(143, self.ended())

    def test_resize_does_no_harm(self) -> None:
        self.process.send_signal(signal.SIGWINCH)
        os.write(self.keyboard, b"x")
        self.expect(b"x")
        os.write(self.keyboard, b"\x1d")
        self.assertEqual(0, self.ended())
