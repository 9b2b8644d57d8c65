# SPDX-License-Identifier: Apache-2.0
"""Which domains of a libvirt are guests of this driver."""

from __future__ import annotations

import tempfile
import unittest
import uuid
from pathlib import Path
from unittest import mock

import libvirt

from compute_driver.choices import Accelerator
from compute_driver.guest import Disk, Guest
from compute_driver.hardware.acceleration import Decision
from compute_driver.libvirt import domain as domains
from compute_driver.xml import metadata

UUID = str(uuid.uuid4())
GUEST = Guest(uuid=UUID, name="a", architecture="x86_64", root=Disk(size_bytes=512))


class OwnerTest(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.instances = Path(holder.name, "instances")
        self.directory = self.instances / UUID
        self.elsewhere = Path(holder.name, "elsewhere", UUID)
        self.domain = mock.create_autospec(libvirt.virDomain, instance=True)
        self.domain.UUIDString.return_value = UUID
        self.note(self.elsewhere)

    def note(self, directory: Path) -> None:
        """Have the domain's metadata name a directory."""
        decision = Decision(Accelerator.TCG, "", False)
        self.domain.metadata.return_value = metadata.Content.of(
            metadata.element(GUEST, directory, decision)
        ).text

    def assert_ours(self, expected: bool) -> None:
        self.assertIs(expected, domains.is_ours(self.domain, self.instances))
        found = domains.stored(self.domain, self.instances)
        self.assertEqual(self.directory if expected else None, found and found.directory)

    def test_domain_without_metadata_is_not(self) -> None:
        self.directory.mkdir(parents=True)
        self.domain.metadata.return_value = ""
        self.assert_ours(False)

    def test_noted_directory_is_ours_even_without_files(self) -> None:
        self.note(self.directory)
        self.assert_ours(True)

    def test_noted_directory_elsewhere_is_not(self) -> None:
        for path in (self.elsewhere, self.directory):
            self.assert_ours(False)
            path.mkdir(parents=True)
        self.assert_ours(False)

    def test_files_are_here_by_another_path(self) -> None:
        self.directory.mkdir(parents=True)
        self.elsewhere.parent.symlink_to(self.instances)
        self.assert_ours(True)

    def test_directory_that_cannot_be_looked_at_is_another_drivers(self) -> None:
        self.directory.mkdir(parents=True)
        with mock.patch.object(Path, "samefile", side_effect=PermissionError(13, "denied")):
            self.assert_ours(False)
