# SPDX-License-Identifier: Apache-2.0
"""The builder of test guests, without building one."""

import gzip
import os
import stat
import subprocess
import tempfile
import unittest
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from tests.guests import GuestBuildError, apt, build, initrd, modules, packages


class TestInitrd(unittest.TestCase):
    def test_folders_come_before_their_content(self) -> None:
        data = gzip.decompress(initrd.archive({"a/b/c": initrd.regular(b"text")}))
        places = [data.index(b"%s\0" % name) for name in (b"a", b"a/b", b"a/b/c", b"TRAILER!!!")]
        self.assertEqual(sorted(places), places)

    def test_records_are_aligned(self) -> None:
        data = gzip.decompress(initrd.archive({"odd": initrd.regular(b"12345")}))
        self.assertEqual(0, len(data) % 4)
        self.assertEqual(0, data.index(b"12345") % 4)

    def test_programs_lie_below_usr_with_either_path_in_their_package(self) -> None:
        tree = {"bin/old": initrd.regular(b""), "usr/bin/new": initrd.regular(b"")}
        data = gzip.decompress(initrd.archive(tree))
        for name in (b"bin\0", b"usr/bin/old\0", b"usr/bin/new\0"):
            self.assertIn(name, data)

    def test_scripts_are_executable_with_any_mode_on_disk(self) -> None:
        tree = initrd.scripts()
        self.assertEqual(0o755, stat.S_IMODE(tree["etc/guest/start"].mode))
        self.assertEqual(0o644, stat.S_IMODE(tree["etc/inittab"].mode))

    def test_scripts_are_valid_shell(self) -> None:
        for path in initrd.ROOTFS.rglob("*"):
            if path.suffix == ".sh" or (path.is_file() and path.read_bytes().startswith(b"#!")):
                with self.subTest(script=path.name):
                    subprocess.run(["sh", "-n", path], check=True)


class TestModules(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)
        self.folder = self.root / "lib/modules/1.0"
        self.folder.mkdir(parents=True)
        (self.folder / "modules.builtin").write_text("kernel/fs/ext4.ko\n")
        self._module("top-most", b"\0alias=pci:v1*\0alias=pci:v2*\0depends=middle,base\0")
        self._module("middle", b"\0depends=base\0")
        self._module("base", b"\0depends=\0")

    def _module(self, name: str, information: bytes) -> None:
        (self.folder / f"{name}.ko").write_bytes(b"ELF" + information)

    def _index(self, name: str) -> str:
        return modules.modules(self.root, ["top_most"])[f"lib/modules/1.0/{name}"].content.decode()

    def test_first_module_to_load_is_named_last(self) -> None:
        self.assertIn("top_most.ko: middle.ko base.ko\n", self._index("modules.dep"))

    def test_aliases_are_indexed(self) -> None:
        self.assertEqual(
            "alias pci:v1* top_most\nalias pci:v2* top_most\n", self._index("modules.alias")
        )

    def test_builtin_modules_are_left_out(self) -> None:
        tree = modules.modules(self.root, ["ext4"])
        self.assertNotIn("lib/modules/1.0/ext4.ko", tree)

    def test_an_unknown_module_is_refused(self) -> None:
        with self.assertRaisesRegex(GuestBuildError, "no module floppy"):
            modules.modules(self.root, ["floppy"])


class TestApt(unittest.TestCase):
    """Which commands are run, and what they are told."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.apt = apt.Apt(Path(folder.name), "riscv64", ("forky", "sid"))
        self.state = Path(folder.name) / "forky-riscv64"
        self.updates = 0
        self.online = {"forky", "sid"}
        for name, fake in (("run", self._run), ("own_release", lambda: "trixie")):
            patch = mock.patch.object(apt, name, fake)
            self.addCleanup(patch.stop)
            patch.start()

    def _run(self, arguments: Sequence[str], _cwd: Path | None = None) -> str:
        if "indextargets" in arguments:
            return "http://a/ trixie main\nhttp://b/ trixie-security main\nhttp://c/ other main\n"
        if "update" in arguments:
            self.updates += 1
            if self._suite() not in self.online:
                raise GuestBuildError("no network")
        return " ".join(arguments)

    def _suite(self) -> str:
        (line,) = (self.state / "sources.list").read_text().splitlines()
        return line.split()[-2]

    def test_lists_are_read_once_a_day(self) -> None:
        for _twice in range(2):
            self.apt.run("apt-cache", "show")
        self.assertEqual(1, self.updates)
        os.utime(self.state / "updated", (0, 0))
        self.apt.run("apt-cache", "show")
        self.assertEqual(2, self.updates)

    def test_old_lists_serve_without_a_network_but_none_do_not(self) -> None:
        self.online = set()
        with self.assertRaisesRegex(GuestBuildError, "no network"), self.assertLogs(apt.LOG):
            self.apt.run("apt-cache", "show")
        self.online = {"forky"}
        self.apt.run("apt-cache", "show")
        self.online = set()
        os.utime(self.state / "updated", (0, 0))
        with self.assertLogs(apt.LOG, "WARNING"):
            self.apt.run("apt-cache", "show")
        self.assertEqual("forky", self._suite())

    def test_the_next_suite_serves_if_the_lists_of_one_are_broken(self) -> None:
        self.online = {"sid"}
        with self.assertLogs(apt.LOG, "WARNING") as logged:
            self.apt.run("apt-cache", "show")
        self.assertEqual("sid", self._suite())
        self.assertIn("no package lists of forky: no network", logged.output[0])

    def test_another_release_comes_from_the_sites_of_the_own_one(self) -> None:
        said = self.apt.run("apt-cache", "show", "busybox")
        self.assertIn("APT::Architecture=riscv64", said)
        (line,) = (self.state / "sources.list").read_text().splitlines()
        self.assertRegex(line, r"^deb \[.*\] http://a/ forky main$")

    def test_missing_sources_are_an_error(self) -> None:
        with (
            mock.patch.object(apt, "own_release", return_value="sid"),
            self.assertRaisesRegex(GuestBuildError, "lack the suite sid main"),
        ):
            self.apt.run("apt-cache", "show")


class TestPackages(unittest.TestCase):
    def setUp(self) -> None:
        self.apt = mock.Mock(spec=apt.Apt, architecture="arm64")
        self.apt.run.return_value = (
            "Package: libold\nVersion: 1\n\n"
            "Package: libnewt64\nVersion: 2\n\n"
            "Package: linux-image-arm64\nVersion: 3\nDepends: linux-image-6.1-arm64 (= 6.1.9), x\n"
        )

    def test_libraries_are_found_by_their_old_names_too(self) -> None:
        found = packages.candidates(["libold", "libnew"], self.apt)
        self.assertEqual(["libold", "libnewt64"], [package.name for package in found.values()])

    def test_kernel_of_a_metapackage(self) -> None:
        (meta,) = packages.candidates(["linux-image-arm64"], self.apt).values()
        kernel = packages.kernel_image(meta)
        self.assertEqual("linux-image-6.1-arm64_6.1.9_arm64.deb", kernel.file_name)

    def test_unknown_package_is_refused(self) -> None:
        with self.assertRaisesRegex(GuestBuildError, "no nonsense for arm64"):
            packages.candidates(["nonsense"], self.apt)


class TestBuild(unittest.TestCase):
    def test_a_flavour_without_its_boot_loader_is_refused(self) -> None:
        with self.assertRaisesRegex(GuestBuildError, "no signed boot loader for riscv64"):
            build("secure", "riscv64")

    def test_an_unknown_flavour_is_refused(self) -> None:
        with self.assertRaisesRegex(GuestBuildError, "'vanilla': use one of basic"):
            build("vanilla")

    def test_an_unknown_architecture_is_refused(self) -> None:
        with self.assertRaisesRegex(GuestBuildError, "architecture 'vax'"):
            build(arch="vax")
