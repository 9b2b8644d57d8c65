# SPDX-License-Identifier: Apache-2.0
"""The builder of test guests, without building one."""

import gzip
import stat
import subprocess
import tempfile
import unittest
from pathlib import Path

from tests.guests import GuestBuildError, build, initrd, modules


class TestInitrd(unittest.TestCase):
    def test_folders_come_before_their_content(self) -> None:
        data = gzip.decompress(initrd.archive({"a/b/c": initrd.regular(b"text")}))
        places = [data.index(b"%s\0" % name) for name in (b"a", b"a/b", b"a/b/c", b"TRAILER!!!")]
        self.assertEqual(sorted(places), places)

    def test_records_are_aligned(self) -> None:
        data = gzip.decompress(initrd.archive({"odd": initrd.regular(b"12345")}))
        self.assertEqual(0, len(data) % 4)
        self.assertEqual(0, data.index(b"12345") % 4)

    def test_scripts_are_executable_whatever_their_mode_on_disk(self) -> None:
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

    def test_what_must_load_first_is_named_last(self) -> None:
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


class TestBuild(unittest.TestCase):
    def test_an_unknown_flavour_is_refused(self) -> None:
        with self.assertRaisesRegex(GuestBuildError, "'vanilla': use one of basic"):
            build("vanilla")

    def test_an_unknown_architecture_is_refused(self) -> None:
        with self.assertRaisesRegex(GuestBuildError, "architecture 'vax'"):
            build(arch="vax")
