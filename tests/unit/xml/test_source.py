# SPDX-License-Identifier: Apache-2.0
"""Where the bytes of a disk are, as libvirt writes it and as it is found again."""

from __future__ import annotations

import unittest
from pathlib import Path

from lxml import etree

from compute_driver.choices import DiskFormat
from compute_driver.storage.source import FileSource
from compute_driver.xml import source

DOMAIN = """
<domain><devices>
  <disk device='cdrom'><target dev='sda'/></disk>
  <disk><source file='/guests/a/root.qcow2'/><target dev='vda'/></disk>
  <disk><source file='/guests/a/swap.raw'/><target dev='vdb'/></disk>
</devices></domain>
"""


BASED = """
<domain><devices>
  <disk><source file='/guests/a/root.qcow2'/><target dev='vda'/>
    <backingStore><source file='/images/one'/>
      <backingStore><source file='/images/two'/><backingStore/></backingStore>
    </backingStore></disk>
  <disk><source file='/guests/a/swap.raw'/><backingStore/><target dev='vdb'/></disk>
</devices></domain>
"""


ROOT = FileSource(path=Path("/guests/a/root.qcow2"), format=DiskFormat.QCOW2)
SWAP = FileSource(path=Path("/guests/a/swap.raw"), format=DiskFormat.RAW)
OTHER = FileSource(path=Path("/guests/a/other"), format=DiskFormat.RAW)


class SourceTest(unittest.TestCase):
    def test_file(self) -> None:
        self.assertEqual("file", source.kind(ROOT))
        self.assertEqual(
            b'<source file="/guests/a/root.qcow2"/>', etree.tostring(source.element(ROOT))
        )

    def test_device_of_a_disk(self) -> None:
        found = [source.device(DOMAIN, each) for each in (ROOT, SWAP, OTHER)]
        self.assertEqual(["vda", "vdb", None], found)

    def test_bases_of_a_disk(self) -> None:
        two = [Path("/images/one"), Path("/images/two")]
        self.assertEqual(two, source.bases(BASED, ROOT))
        self.assertEqual([], source.bases(BASED, SWAP))
        self.assertEqual([], source.bases(DOMAIN, ROOT))
