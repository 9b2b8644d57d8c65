# SPDX-License-Identifier: Apache-2.0
"""Verbs come from entry points; global options, help and completion."""

from __future__ import annotations

import importlib
import logging
import sys
import unittest
from unittest import mock

from oslo_config import cfg

from compute_driver import plugins
from compute_driver.cmd.manager import PRESENTED
from compute_driver.conf import cpu_map
from compute_driver.driver import ComputeDriver
from compute_driver.drivers import loading
from compute_driver.hardware import architecture
from tests.unit.cmd.base import CommandLineCase
from tests.unit.drivers import distribution

MODULE = '''
import dataclasses, logging, warnings
from typing import Optional
from compute_driver.choices import Choice

class Colour(Choice):
    RED = "red"
    BLUE = "blue"

@dataclasses.dataclass
class Answer:
    uuid: str
    number: int

def paint(driver, uuid: str, *, colour: Colour = Colour.RED, times: int = 1,
          drying: Optional[float] = None, dry_run: bool = False, callback: object = None):
    """Paint a guest
    from top to bottom.

    :param colour: which paint,
        100% of it.
    :param drying: seconds that the paint may take to dry.
    """
    return f"{driver.show(uuid).guest.name} {colour!s} {times} {drying} {dry_run} {callback}"

def answer(driver, uuid: "str | None" = None, extra: str = "none"):
    return [Answer(uuid, 42), extra]

def dump(driver, text: str, force: bool):
    return text.encode() + bytes([255, force])

def warn(driver):
    for _ in range(3):
        logging.getLogger("compute_driver.x").warning("KVM is not\\nusable")
        logging.getLogger("urllib3").warning("noise")
        warnings.warn("a library is old", FutureWarning)
        logging.getLogger("compute_driver.x").info("detail")
        logging.getLogger("compute_driver.x").debug("trace")

def awkward(driver, where: dict): ...
def nothing(): ...
def unresolved(driver, x: "Missing" = 1): ...
'''

POINTS = """
[compute_driver.operations]
paint = cmd_plugin:paint
quick_answer = cmd_plugin:answer
dump = cmd_plugin:dump
warn = cmd_plugin:warn
awkward = cmd_plugin:awkward
nothing = cmd_plugin:nothing
unresolved = cmd_plugin:unresolved
absent = cmd_plugin_absent:x
"""


class PluginCase(CommandLineCase):
    def setUp(self) -> None:
        super().setUp()
        distribution.install(self.directory, "cmd_plugin", POINTS, cmd_plugin=MODULE)
        sys.path.insert(0, str(self.directory))
        self.addCleanup(sys.path.remove, str(self.directory))
        self.addCleanup(sys.modules.pop, "cmd_plugin", None)
        importlib.invalidate_caches()
        self.guest = self.spawned()


class Derived(PluginCase):
    def test_parameters_become_arguments(self) -> None:
        for words, expected in (
            ((), "web red 1 None False None\n"),
            (("--colour", "BLUE", "--times", "2"), "web blue 2 None False None\n"),
            (("--drying", "0.5", "--dry-run"), "web red 1 0.5 True None\n"),
            (("--no-dry-run",), "web red 1 None False None\n"),
        ):
            with self.subTest(words):
                self.assertEqual(expected, self.done("paint", "web", *words).out)

    def test_bad_arguments(self) -> None:
        for words, expected in {
            ("web", "--colour", "pink"): "argument --colour: invalid choice: 'pink'",
            ("web", "--times", "x"): "argument --times: 'x' is not usable",
            ("web", "--drying", "nan"): "argument --drying: 'nan' is not usable",
            ("web", "--drying", "-1"): "argument --drying: '-1' is not usable; accepted: seconds",
            ("web", "--callback", "x"): "unrecognized arguments: --callback x",
            (): "required: GUEST",
        }.items():
            with self.subTest(words):
                self.assertIn(expected, self.refused(2, "paint", *words))
        self.assertEqual("no such guest: 'db'", self.refused(1, "paint", "db"))

    def test_underscore_is_a_blank_and_records_are_json(self) -> None:
        answer = self.done("quick", "answer", "web", "--extra", "x").json
        self.assertEqual([{"uuid": self.guest.uuid, "number": 42}, "x"], answer)
        self.assertIsNone(self.done("quick", "answer").json[0]["uuid"])

    def test_bytes_are_printed_as_they_are(self) -> None:
        self.assertEqual(b"a b\xff\x01", self.done("dump", "a b", "--force").raw)
        self.assertEqual(b"a\xff\x00", self.done("dump", "a", "--no-force").raw)
        self.assertIn("--force", self.refused(2, "dump", "a"))

    def test_help(self) -> None:
        text = self.done("paint", "--help").out
        self.assertIn("usage: compute-driver paint", text)
        self.assertIn("Paint a guest from top to bottom.", text)
        self.assertIn("which paint, 100% of it.", text)

    def test_help_of_a_drivers_method_is_the_contracts(self) -> None:
        self.assertIn("0 powers the guest off", " ".join(self.done("help", "stop").out.split()))


class Broken(PluginCase):
    def test_broken_verb_names_its_entry_point_and_cause(self) -> None:
        for words, cause in {
            ("absent", "web", "--x"): "No module named 'cmd_plugin_absent'",
            ("awkward",): "a command line cannot give its where: dict",
            ("nothing",): "not enough values to unpack",
            ("unresolved",): "name 'Missing' is not defined",
        }.items():
            with self.subTest(words):
                text = self.refused(1, *words)
                self.assertIn(f"plugin {words[0]!r} of 'compute_driver.operations'", text)
                self.assertIn(cause, text)

    def test_other_verbs_help_and_completion_go_on(self) -> None:
        self.done("list")
        self.assertIn("absent         Not usable: plugin 'absent'", self.done("--help").out)
        self.assertIn("paint          Paint a guest from top to bottom\n", self.done("--help").out)
        self.assertIn("cmds_paint='-h --help --colour", self.done("complete").out)
        self.assertIn("Not usable", self.done("help", "absent").out)


class Logging(PluginCase):
    def test_warnings_of_this_package_are_one_line_and_told_once(self) -> None:
        outcome = self.run_command("warn")
        self.assertEqual(
            (0, "compute-driver: warning: KVM is not usable\n"), (outcome.status, outcome.err)
        )

    def test_quiet(self) -> None:
        self.done("-q", "warn")

    def test_verbose_and_debug(self) -> None:
        verbose, debug = self.run_command("-v", "warn").err, self.run_command("warn", "--debug").err
        self.assertIn("INFO compute_driver.x", verbose)
        self.assertNotIn("DEBUG", verbose)
        self.assertIn("DEBUG compute_driver.x", debug)

    def test_log_file(self) -> None:
        path = self.directory / "log"
        outcome = self.run_command("--log-file", str(path), "warn")
        self.assertEqual("compute-driver: warning: KVM is not usable\n", outcome.err)
        self.assertIn("INFO compute_driver.x", path.read_text())

    def test_log_file_has_the_error_that_ends_the_command(self) -> None:
        bad_file = self.file("bad.conf", "no option")
        for words, status, expected in (
            (("show", "none"), 1, "no such guest: 'none'"),
            (("show",), 2, "arguments are required: GUEST"),
            (("shout",), 2, "shout"),
            ((), 2, "no command given"),
            (("--config-file", bad_file, "list"), 2, bad_file),
        ):
            path = self.directory / f"log-{expected}".replace("/", "-")
            with self.subTest(words):
                text = self.refused(status, "--log-file", str(path), *words)
                self.assertIn(expected, text)
                self.assertIn(f"ERROR compute_driver.cmd.logs [-] {text}\n", path.read_text())
                self.assertNotIn("Traceback", path.read_text())

    def test_log_of_debugging_has_the_traceback(self) -> None:
        path = self.directory / "log"
        outcome = self.run_command("--debug", "--log-file", str(path), "show", "none")
        self.assertEqual(1, outcome.status)
        self.assertIn("Traceback", path.read_text())

    def test_verbose_command_tells_its_error_once(self) -> None:
        outcome = self.run_command("-v", "show", "none")
        self.assertEqual(1, outcome.err.count("no such guest"))

    def test_empty_paths_are_refused_by_name(self) -> None:
        for words, name in (
            (("--log-file", "", "list"), "--log-file"),
            (("--config-file", "", "list"), "--config-file"),
            (("--config-dir", "", "list"), "--config-dir"),
            (("snapshot", "web", ""), "TARGET"),
            (("screenshot", "web", ""), "FILE"),
            (("nova", "link", "--python", ""), "--python"),
            (("spawn", "a", "--user-data", ""), "--user-data"),
            (("spawn", "a", "--key", ""), "--key"),
            (("ssh", "--identity", "", "web"), "--identity"),
        ):
            with self.subTest(words):
                text = self.refused(2, *words)
                self.assertIn(f"argument {name}: '' is not usable; accepted: a path", text)

    def test_unwritable_log_file(self) -> None:
        self.assertIn(
            "'/nonexistent/x' is not usable",
            self.refused(2, "--log-file", "/nonexistent/x", "list"),
        )

    def configured(self, *lines: str) -> tuple[str, str]:
        text = "\n".join(["[DEFAULT]", *lines, ""])
        return "--config-file", self.file("log.conf", text)

    def test_configured_log_file(self) -> None:
        path = self.directory / "log"
        words = self.configured("debug = true", f"log_file = {path}")
        outcome = self.run_command(*words, "warn")
        self.assertEqual("compute-driver: warning: KVM is not usable\n", outcome.err)
        self.assertIn("DEBUG compute_driver.x", path.read_text())

    def test_configured_debug_alone_goes_to_stderr(self) -> None:
        words = self.configured("debug = true")
        self.assertIn("DEBUG compute_driver.x", self.run_command(*words, "warn").err)
        self.done(*words, "-q", "warn")

    def test_options_win_over_the_configuration(self) -> None:
        first, second = self.directory / "first", self.directory / "second"
        words = self.configured(f"log_file = {first}", "use_stderr = true")
        outcome = self.run_command(*words, "--log-file", str(second), "-q", "warn")
        self.assertEqual(("", False), (outcome.err, first.exists()))
        self.assertIn("INFO compute_driver.x", second.read_text())

    def test_bad_configuration_is_one_line(self) -> None:
        for line, expected in {
            "debug = perhaps": "[DEFAULT]: 'perhaps' is not usable; accepted: true, false",
            "log_file = /nonexistent/x": "log options in [DEFAULT] are not usable: No such file",
            "log_config_append = /nonexistent/x": "log options in [DEFAULT] are not usable: ",
        }.items():
            with self.subTest(line):
                self.assertIn(expected, self.refused(2, *self.configured(line), "list"))

    def test_stdout_is_left_to_results(self) -> None:
        words = self.configured("use_syslog = true")
        self.assertEqual("", self.run_command(*words, "warn").out)

    def test_nothing_stays_configured(self) -> None:
        root, hook = logging.getLogger(), sys.excepthook
        before = root.handlers[:], root.level
        for words in (("-v", "warn"), ("warn",), ("--debug", "list")):
            self.run_command(*words)
        self.assertEqual((before, hook), ((root.handlers[:], root.level), sys.excepthook))


class Global(CommandLineCase):
    def test_version(self) -> None:
        self.assertRegex(self.done("--version").out, r"\Acompute-driver \d+\.\d+")

    def test_every_presentation_has_an_operation_and_loads(self) -> None:
        self.assertLessEqual(set(PRESENTED), set(plugins.names(plugins.OPERATIONS)))
        for name in PRESENTED:
            self.assertIn("usage:", self.done(*name.split("_"), "--help").out)

    def test_help(self) -> None:
        text = self.done("--help").out
        for verb in ("spawn", "destroy", "console attach", "config validate"):
            self.assertRegex(text, rf"\n  {verb} +\S")
        self.assertEqual(text, self.done("help").out)
        self.assertEqual(
            self.done("help", "spawn").out, self.done("spawn", "x", "--vcpus", "2", "-h").out
        )

    def test_completion(self) -> None:
        text = self.done("complete").out
        self.assertIn("cmds_console='address attach log'", text)
        self.assertIn("--user-data", text)

    def test_bad_command_lines(self) -> None:
        for words, expected in {
            (): "no command given",
            ("-v",): "no command given",
            ("--nonsense",): "unrecognized arguments: --nonsense",
            ("lst",): "no such command: 'lst'; is it 'list'",
            ("destr", "web"): "no such command: 'destr web'; is it 'destroy'?",
            ("host",): "no such command: 'host'; is it 'host check' or 'host show'?",
            ("host", "list"): "no such command: 'host list'; is it 'host check' or 'host show'?",
            ("-v", "-q", "list"): "not allowed with argument",
            ("--config-file",): "expected one argument",
            ("list", "--deb"): "unrecognized arguments: --deb",
            ("help", "nothing"): "no such command: 'nothing'",
        }.items():
            with self.subTest(words):
                self.assertIn(expected, self.refused(2, *words))


#: The real function, which the base class replaces.
load_driver = loading.load_driver


class Configuration(CommandLineCase):
    def load_driver(self, configuration: cfg.ConfigOpts) -> ComputeDriver:
        self.loaded = configuration.hypervisor
        return self.driver if self.loaded.driver == "libvirt" else load_driver(configuration)

    def test_files_and_directories_are_read(self) -> None:
        first = self.file("a.ini", "[hypervisor]\nvirt_type = qemu\nstop_timeout = 1\n")
        (self.directory / "d").mkdir()
        self.file("d/x.conf", "[hypervisor]\nstop_timeout = 2\n")
        self.done("--config-file", first, "list", "--config-dir", str(self.directory / "d"))
        self.assertEqual("qemu", self.loaded.virt_type)
        self.assertEqual(2, self.loaded.stop_timeout)

    def test_bad_configuration_stops_every_verb(self) -> None:
        path = self.file("a.conf", "[hypervisor]\nvirt_type = xen\n")
        for words in (
            ("list",),
            ("destroy", "x"),
            ("spawn", "x", "--disk", "1"),
            ("host", "check"),
        ):
            with self.subTest(words):
                self.assertEqual(
                    f"virt_type in {path} [hypervisor]: 'xen' is not usable; accepted: kvm, qemu",
                    self.refused(2, "--config-file", path, *words),
                )
        self.assertIn("No such file", self.refused(2, "--config-file", "/nonexistent", "list"))

    def test_validate(self) -> None:
        good = self.file("good.conf", "[hypervisor]\nvirt_type = qemu\n")
        bad = self.file("bad.conf", "[hypervisor]\nvirt_typ = qemu\nstop_timeout = -1\n")
        self.assertEqual(
            "the configuration is valid\n",
            self.done("--config-file", good, "config", "validate").out,
        )
        outcome = self.run_command(
            "config", "validate", "--config-file", good, "--config-file", bad
        )
        self.assertEqual((2, ""), (outcome.status, outcome.err))
        self.assertEqual(
            f"stop_timeout in {bad} [hypervisor]: '-1' is not usable;"
            " accepted: a number, 0 to 2000000\n"
            f"virt_typ in {bad} [hypervisor]: no such option; accepted: virt_type\n",
            outcome.out,
        )
        self.refused(2, "config", "validate", "--config-file", "/nonexistent")

    @unittest.skipUnless(cpu_map.DIRECTORY.exists(), "libvirt's models are not installed")
    def test_validate_knows_libvirt_s_models(self) -> None:
        text = (
            "[hypervisor]\ntcg_cpu_models = x86_64:Nehalm,i686:maximum,aarch64:cortex-a72\n"
            "cpu_models = Haswell,Haswel\n"
        )
        path = self.file("models.conf", text)
        with mock.patch.object(architecture, "of_host", return_value="x86_64"):
            outcome = self.run_command("config", "validate", "--config-file", path)
        self.assertEqual((2, ""), (outcome.status, outcome.err))
        self.assertRegex(
            outcome.out,
            rf"\Atcg_cpu_models in {path} \[hypervisor\]: 'x86_64:Nehalm' is not usable;"
            r" accepted: for x86_64, models such as Nehalem, [^\n]*\n"
            rf"cpu_models in {path} \[hypervisor\]: 'Haswel' is not usable;"
            r" accepted: for x86_64, models such as Haswell, [^\n]*\n\Z",
        )

    def test_unknown_driver(self) -> None:
        path = self.file("a.conf", "[hypervisor]\ndriver = xen\n")
        self.assertIn(
            "'xen' is not usable; accepted: fake, libvirt",
            self.refused(2, "--config-file", path, "list"),
        )
