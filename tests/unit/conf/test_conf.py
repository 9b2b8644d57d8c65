# SPDX-License-Identifier: Apache-2.0
"""Configuration: the sources of values, and the errors for bad values."""

from __future__ import annotations

import copy
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from oslo_config import types

from compute_driver import conf, exceptions, limits
from compute_driver.conf import devices, hypervisor
from compute_driver.hardware import architecture, cpu_set

PAIRS = f"pairs such as x86_64:Haswell, of architectures ({', '.join(architecture.TABLE)})"

# What is written below [hypervisor], and what is said of it.
BAD_VALUES = {
    "virt_type = xen": "virt_type in {file} [hypervisor]: 'xen' is not usable; accepted: kvm, qemu",
    "virt_type =": "virt_type in {file} [hypervisor]: '' is not usable; accepted: kvm, qemu",
    "disk_format = vmdk": "disk_format in {file} [hypervisor]: 'vmdk' is not usable;"
    " accepted: qcow2, raw",
    "emulation_fallback = perhaps": "emulation_fallback in {file} [hypervisor]: 'perhaps' is not"
    " usable; accepted: true, false",
    "stop_timeout = soon": "stop_timeout in {file} [hypervisor]: 'soon' is not usable;"
    " accepted: a number, 0 to 2000000",
    "start_timeout = 0": "start_timeout in {file} [hypervisor]: '0' is not usable;"
    " accepted: a number, 1 to 2000000",
    "image_fetch_retries = -1": "image_fetch_retries in {file} [hypervisor]: '-1' is not usable;"
    " accepted: a whole number, 0 to 2147483647",
    **{
        f"{option} = {path}": f"{option} in {{file}} [hypervisor]: {path!r} is not usable;"
        f" accepted: {hypervisor.OwnDirectory.accepted} ({reason})"
        for option, path, reason in (
            ("state_path", "var", "'var' is not an absolute path such as /var/lib/compute-driver"),
            ("state_path", "/", "'/' is a directory of the system"),
            ("state_path", "/usr/../var/lib/", "'/usr/../var/lib/' is a directory of the system"),
            ("state_path", "/etc/passwd/x", "'/etc/passwd' is not a directory"),
            ("instances_path", "/dev/null", "'/dev/null' is a directory of the system"),
            ("image_cache_path", "/proc/self", "'/proc/self' is a directory of the system"),
        )
    },
    "tcg_cpu_models = vax:486": "tcg_cpu_models in {file} [hypervisor]: 'vax:486' is not usable;"
    f" accepted: {PAIRS}",
    "tcg_cpu_models = x86_64:a,amd64:b": "tcg_cpu_models in {file} [hypervisor]:"
    f" 'x86_64:a,amd64:b' is not usable; accepted: {PAIRS}",
    "tcg_cpu_models = x86_64": "tcg_cpu_models in {file} [hypervisor]: 'x86_64' is not usable;"
    f" accepted: {PAIRS}",
    "tcg_cpu_models = x86_64:a b": "tcg_cpu_models in {file} [hypervisor]: 'x86_64:a b' is not"
    f" usable; accepted: {PAIRS}",
    "guest_cpus = 3-1": "guest_cpus in {file} [hypervisor]: '3-1' is not usable; accepted:"
    f" {cpu_set.ACCEPTED}",
    "cpu_features = +pcid,-pcid": "cpu_features in {file} [hypervisor]: '+pcid,-pcid' is not"
    f" usable; accepted: {devices.CpuFeatures.accepted}",
    "disk_cache_modes = file:fast": "disk_cache_modes in {file} [hypervisor]: 'file:fast' is not"
    f" usable; accepted: {devices.CacheModes.accepted}",
    "nic_rx_queue_size = 300": "nic_rx_queue_size in {file} [hypervisor]: '300' is not usable;"
    " accepted: 256, 512, 1024",
    "architectures = x86_64,vax": "architectures in {file} [hypervisor]: 'x86_64,vax' is not"
    f" usable; accepted: any of {', '.join(architecture.TABLE)}",
    "serial_port_range = 20000:10000": "serial_port_range in {file} [hypervisor]: '20000:10000' is"
    " not usable; accepted: FIRST:LAST, two ports of 1 to 65535, the lower one first",
    "serial_port_range = 10000": "serial_port_range in {file} [hypervisor]: '10000' is not usable;"
    " accepted: FIRST:LAST, two ports of 1 to 65535, the lower one first",
    "vnc_listen = a b": "vnc_listen in {file} [hypervisor]: 'a b' is not usable;"
    " accepted: host address value",
    "state_path = $nothing/x": "state_path in {file} [hypervisor]: '$nothing/x' is not usable:"
    " there is no option 'nothing'",
}

BAD_FILES = {
    b"[hypervisor\n": "configuration {file}, line 1: Invalid section (must end with ]):"
    " '[hypervisor'",
    b"[hypervisor]\nvirt_type\n": "configuration {file}, line 2: No ':' or '=' found in"
    " assignment: 'virt_type'",
    b"virt_type = kvm\n": "configuration {file}, line 1: Section must be started before"
    " assignment: ''",
    b"\xef\xbb\xbf[hypervisor]\nvirt_type = kvm\n": "configuration {file} begins with a byte order"
    " mark; accepted: UTF-8 without the mark",
    b"\xef\xbb\xbf# a = b\n": "configuration {file} begins with a byte order mark",
    b"\x7fELF\xff\xfe\x00\n": "configuration {file} is not text: ",
}


class ConfigurationCase(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        self.file = str(self.directory / "a.conf")
        patches = [
            mock.patch.object(conf, "SYSTEM_DIRECTORY", self.directory),
            mock.patch.dict(os.environ),
        ]
        for patch in patches:
            patch.start()
            self.addCleanup(patch.stop)
        for name in [name for name in os.environ if name.startswith("OS_HYPERVISOR__")]:
            del os.environ[name]

    def write(self, content: str | bytes, name: str = "a.conf") -> str:
        path = self.directory / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    def complaint(self, *arguments: list[str]) -> str:
        with self.assertRaises(exceptions.ConfigurationError) as caught:
            conf.load(*arguments)
        text = str(caught.exception)
        self.assertNotIn("\n", text)
        self.assertNotIn("LocationInfo", text)
        return text


class Load(ConfigurationCase):
    def test_defaults_without_any_file(self) -> None:
        self.assertEqual("kvm", conf.load().hypervisor.virt_type)

    def test_system_files_are_read_unless_others_are_given(self) -> None:
        self.write("[hypervisor]\nvirt_type = qemu\n")
        (self.directory / "other").mkdir()
        other = self.write("", "other/x.conf")
        self.assertEqual("qemu", conf.load().hypervisor.virt_type)
        self.assertEqual("kvm", conf.load([other]).hypervisor.virt_type)
        self.assertEqual("kvm", conf.load([], [str(Path(other).parent)]).hypervisor.virt_type)

    def test_later_sources_win(self) -> None:
        first = self.write("[hypervisor]\nstop_timeout = 1\nvirt_type = qemu\n")
        second = self.write("[hypervisor]\nstop_timeout = 2\n", "b.conf")
        self.assertEqual(2, conf.load([first, second]).hypervisor.stop_timeout)
        self.assertEqual(1, conf.load([second, first]).hypervisor.stop_timeout)
        self.assertEqual(2, conf.load([], [str(self.directory)]).hypervisor.stop_timeout)
        os.environ["OS_HYPERVISOR__STOP_TIMEOUT"] = "3"
        loaded = conf.load([first, second]).hypervisor
        self.assertEqual((3, "qemu"), (loaded.stop_timeout, loaded.virt_type))

    def test_user_without_a_home_is_told_what_is_missing(self) -> None:
        bare = copy.copy(hypervisor.STATE_PATH)
        bare.default = None
        options = [bare if option.dest == "state_path" else option for option in hypervisor.OPTIONS]
        with (
            mock.patch.object(hypervisor, "STATE_PATH", bare),
            mock.patch.object(hypervisor, "OPTIONS", options),
        ):
            self.assertRegex(self.complaint(), "^state_path .*no home directory; accepted: an abs")
            self.assertEqual([self.complaint()], conf.problems())
            os.environ["OS_HYPERVISOR__STATE_PATH"] = "/srv/x"
            self.assertEqual("/srv/x/instances", conf.load().hypervisor.instances_path)
            self.assertEqual([], conf.problems())

    def test_directory_that_the_user_cannot_reach_is_named(self) -> None:
        denied = PermissionError(13, "Permission denied")
        with (
            mock.patch.object(Path, "is_dir", side_effect=denied),
            self.assertRaisesRegex(ValueError, "this user cannot reach '/srv'"),
        ):
            hypervisor.OwnDirectory()("/srv/nobody/x")

    def test_paths_follow_the_state_path(self) -> None:
        self.write("[hypervisor]\nstate_path = /srv/x\n")
        self.assertEqual("/srv/x/instances", conf.load().hypervisor.instances_path)

    def test_values_set_on_one_configuration_are_not_those_of_another(self) -> None:
        conf.load().set_override("virt_type", "qemu", group="hypervisor")
        self.assertEqual("kvm", conf.load().hypervisor.virt_type)

    def test_unknown_option_is_warned_of(self) -> None:
        self.write("[hypervisor]\nvirt_typ = qemu\n")
        with self.assertLogs("compute_driver.conf", "WARNING") as logged:
            conf.load()
        self.assertEqual(
            [f"virt_typ in {self.file} [hypervisor]: no such option; accepted: virt_type"],
            [record.getMessage() for record in logged.records],
        )

    def test_log_options_are_read(self) -> None:
        self.write("[DEFAULT]\ndebug = true\nlog_file = x\n")
        os.environ["OS_DEFAULT__LOG_FILE"] = "y"
        loaded = conf.load()
        self.assertEqual((True, "y"), (loaded.debug, loaded.log_file))

    def test_bad_log_option_is_told_with_its_source(self) -> None:
        self.write("[DEFAULT]\ndebug = perhaps\nmax_logfile_count = x\n")
        bad = f"in {self.file} [DEFAULT]:"
        expected = [
            f"debug {bad} 'perhaps' is not usable; accepted: true, false",
            f"max_logfile_count {bad} 'x' is not usable; accepted: a whole number",
        ]
        self.assertEqual(expected[0], self.complaint())
        self.assertEqual(expected, conf.problems())
        os.environ["OS_DEFAULT__DEBUG"] = "maybe"
        self.assertIn("debug in OS_DEFAULT__DEBUG [DEFAULT]: 'maybe'", self.complaint())

    def test_pipe_can_be_read(self) -> None:
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        os.write(writer, b"[hypervisor]\nvirt_type = qemu\n")
        os.close(writer)
        self.assertEqual("qemu", conf.load([f"/dev/fd/{reader}"]).hypervisor.virt_type)

    def test_bad_value_is_told_with_its_file(self) -> None:
        for line, expected in BAD_VALUES.items():
            with self.subTest(line):
                self.write(f"[hypervisor]\n{line}\n")
                self.assertEqual(expected.format(file=self.file), self.complaint())

    def test_bad_value_is_told_with_its_variable(self) -> None:
        self.write("[hypervisor]\nvirt_type = kvm\n")
        os.environ["OS_HYPERVISOR__VIRT_TYPE"] = "xen"
        self.assertEqual(
            "virt_type in OS_HYPERVISOR__VIRT_TYPE [hypervisor]: 'xen' is not usable;"
            " accepted: kvm, qemu",
            self.complaint(),
        )

    def test_the_file_that_wins_is_named(self) -> None:
        self.write("[hypervisor]\nvirt_type = a\n")
        self.write("[HYPERVISOR]\nvirt_type = b\n", "b.conf")
        self.assertIn("b.conf [hypervisor]: 'b'", self.complaint())

    def test_bad_file_is_told_in_one_line(self) -> None:
        for content, expected in BAD_FILES.items():
            with self.subTest(content):
                self.write(content)
                self.assertTrue(self.complaint().startswith(expected.format(file=self.file)))

    def test_what_cannot_be_read_is_told_in_one_line(self) -> None:
        plain = self.write("")
        loop = self.directory / "loop.conf"
        loop.symlink_to(loop)
        for arguments, reason in (
            ((["/nonexistent.conf"],), "No such file or directory"),
            (([str(self.directory)],), "Is a directory"),
            (([str(loop)],), "Too many levels of symbolic links"),
            (([], ["/nonexistent"]), "No such file or directory"),
            (([], [plain]), "Not a directory"),
        ):
            with self.subTest(arguments):
                path = arguments[-1][0]
                self.assertEqual(
                    f"configuration {path} cannot be read: {reason}", self.complaint(*arguments)
                )

    @unittest.skipIf(os.geteuid() == 0, "root reads everything")
    def test_forbidden_file(self) -> None:
        os.chmod(self.write(""), 0)
        self.assertIn("Permission denied", self.complaint())


class Numbers(ConfigurationCase):
    def test_a_number_without_an_end_is_refused_everywhere(self) -> None:
        numbers = [option for option in hypervisor.OPTIONS if isinstance(option.type, types.Number)]
        self.assertGreater(len(numbers), 10)
        for option in numbers:
            for value in ("inf", "-inf", "nan", "1e20", str(10**20), "-1"):
                with self.subTest(f"{option.name} = {value}"):
                    os.environ[name := f"OS_HYPERVISOR__{option.name.upper()}"] = value
                    self.assertIn(f"{option.name} in {name} ", self.complaint())
                    self.assertEqual([self.complaint()], conf.problems())
                    del os.environ[name]

    def test_the_longest_time_is_accepted(self) -> None:
        os.environ["OS_HYPERVISOR__STOP_TIMEOUT"] = str(limits.MAX_SECONDS)
        self.assertEqual(limits.MAX_SECONDS, conf.load().hypervisor.stop_timeout)


class Problems(ConfigurationCase):
    def test_sound_configuration_has_none(self) -> None:
        self.write("[DEFAULT]\ndebug = true\n[libvirt]\nvirt_typ = x\n[hypervisor]\n")
        self.assertEqual([], conf.problems())

    def test_misspelt_options_that_all_share_are_found_and_those_of_others_are_not(self) -> None:
        self.write("[DEFAULT]\nlogdir = x\nstate_path = x\nmy_ip = x\nlog_options = true\n")
        self.assertEqual([], conf.problems())
        self.write("[DEFAULT]\ndebg = true\nuse_sylog = true\nmy_ip = 192.0.2.7\n")
        expected = {"debg": "debug", "use_sylog": "use_syslog"}
        self.assertEqual(
            [
                f"{name} in {self.file} [DEFAULT]: no such option; accepted: {like}"
                for name, like in expected.items()
            ],
            conf.problems(),
        )

    def test_all_are_found(self) -> None:
        self.write("[hypervisor]\nvirt_typ = kvm\nvirt_type = xen\nstop_timeout = -1\n")
        self.write("[hypervisr]\nvirt_type = kvm\n", "b.conf")
        os.environ["OS_HYPERVISOR__FOO"] = "x"
        problems = conf.problems()
        for expected in (
            "virt_type in .*a.conf .hypervisor.: 'xen' is not usable; accepted: kvm, qemu",
            "stop_timeout in .*a.conf .hypervisor.: '-1' is not usable",
            "virt_typ in .*a.conf .hypervisor.: no such option; accepted: virt_type$",
            r"virt_type in .*b.conf .hypervisr.: no such group; accepted: \[hypervisor\]$",
            "foo in OS_HYPERVISOR__FOO .hypervisor.: no such option; accepted: driver, virt_type",
        ):
            self.assertRegex("\n".join(problems), f"(?m)^{expected}")
        self.assertEqual(5, len(problems), problems)

    def test_unknown_driver(self) -> None:
        self.write("[hypervisor]\ndriver = fak\n")
        self.assertEqual(
            [f"driver in {self.file} [hypervisor]: 'fak' is not usable; accepted: fake, libvirt"],
            conf.problems(),
        )
        os.environ["OS_HYPERVISOR__DRIVER"] = "fake"
        self.assertEqual([], conf.problems())

    def test_unreadable_file_is_an_error(self) -> None:
        with self.assertRaises(exceptions.ConfigurationError):
            conf.problems(["/nonexistent.conf"])
