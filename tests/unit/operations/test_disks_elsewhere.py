# SPDX-License-Identifier: Apache-2.0
"""Operations find a guest's disks outside the guest's directory."""

from __future__ import annotations

import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.libvirt.inventory import Inventory
from compute_driver.libvirt.known import Known
from compute_driver.libvirt.ownership import Ownership
from compute_driver.operations.base import image_users, removal, rescue_files, settling
from compute_driver.operations.base.context import Parts
from compute_driver.storage import exchange
from compute_driver.xml.elements import E
from compute_driver.xml.present import Place, Present
from tests import pool
from tests.unit.base import configuration, describe

UUID = "3b1f0e5e-7d3c-4a52-9d53-0d5d6f3c7a10"


class PoolTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        instances, self.pool = Path(scratch.name, "instances"), Path(scratch.name, "pool")
        self.directory = instances / UUID
        for path in (self.directory, self.pool):
            path.mkdir(parents=True)
        pool.use(self, self.pool)
        connection = mock.Mock()
        connection.run.return_value = {}  # no guest runs
        inventory = Inventory(connection, Ownership(instances, Known()))
        others = mock.Mock(), mock.Mock(), mock.Mock()
        host, images, ports = others
        self.parts = Parts(configuration(), connection, host, inventory, images, ports)

    def write(self, *names: str) -> list[Path]:
        paths = [self.pool / f"{UUID}_{name}" for name in names]
        for path in paths:
            path.write_text(path.name)
        return paths

    def test_rescue_disk_goes_when_the_rescue_is_over(self) -> None:
        root, rescue = self.write("root", "rescue-system")
        kernel = self.directory / "rescue-kernel"
        kernel.touch()
        stored = mock.Mock(guest=describe(uuid=UUID))
        places = {"root": Place(self.parts.home(UUID).locate("root"), str(root))}
        present = Present(
            stored=stored,
            disks=places,
            described=places,
            domain=E.domain(),
            running=None,
            directory=self.directory,
        )
        with (
            mock.patch.object(Parts, "stored", return_value=stored),
            mock.patch.object(Parts, "present", return_value=present),
        ):
            self.assertEqual([kernel, rescue], rescue_files.leftovers(self.parts, UUID))
            rescue_files.mend(self.parts, UUID)
            self.assertEqual([], rescue_files.leftovers(self.parts, UUID))
        self.assertEqual([root], list(self.pool.iterdir()))
        self.parts.images.release.assert_called_once_with(UUID, but=[])

    def test_removal_leaves_no_disk(self) -> None:
        self.write("root", f"root.{exchange.KEPT}", f"root.{exchange.MAKING}")
        removal.remove_files(self.parts, UUID)
        self.assertEqual([], list(self.pool.iterdir()))
        self.assertFalse(self.directory.exists())

    def test_directory_stays_until_the_last_disk_is_gone(self) -> None:
        self.write("root")
        failure = exceptions.HostError("the pool does not answer")
        with (
            mock.patch.object(pool.PoolDisks, "remove", side_effect=failure),
            self.assertRaises(exceptions.HostError),
        ):
            removal.remove_files(self.parts, UUID)
        self.assertTrue(self.directory.exists())

    def test_interrupted_resize_ends_outside_the_directory_too(self) -> None:
        self.write("root", f"root.{exchange.MAKING}")
        (self.directory / exchange.MADE).mkdir()
        settling.mend(self.parts, UUID)
        texts = {path.name: path.read_text() for path in self.pool.iterdir()}
        kept = {f"{UUID}_root.{exchange.KEPT}": f"{UUID}_root"}
        self.assertEqual({f"{UUID}_root": f"{UUID}_root.{exchange.MAKING}"} | kept, texts)

    def test_base_images_have_their_users(self) -> None:
        base = self.pool / "base"
        subprocess.run(["qemu-img", "create", "-q", "-f", "raw", base, "1M"], check=True)
        disk = self.pool / f"{UUID}_root.{exchange.KEPT}"
        backing = ["-F", "raw", "-b", base]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, disk], check=True)
        self.assertEqual({base: {UUID}}, image_users.bases(self.parts))

    def test_image_has_users_unknown_as_long_as_a_disk_cannot_be_read(self) -> None:
        disk = self.pool / f"{UUID}_root"
        disk.symlink_to(disk)  # cannot be opened, whoever tries
        with self.assertRaises(exceptions.HostError):
            image_users.bases(self.parts)
        self.parts.connection.run.return_value = {UUID: {disk}}  # libvirt knows its bases
        image_users.bases(self.parts)
