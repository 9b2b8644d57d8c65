# SPDX-License-Identifier: Apache-2.0
"""What libvirt is asked to copy."""

from __future__ import annotations

import unittest
from pathlib import Path

from lxml import etree

from compute_driver.xml import backup

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


class ChainTest(unittest.TestCase):
    def test_disk_and_what_it_is_based_on(self) -> None:
        root, swap = Path("/guests/a/root.qcow2"), Path("/guests/a/swap.raw")
        self.assertEqual(
            [root, Path("/images/one"), Path("/images/two")], backup.chain(BASED, root)
        )
        self.assertEqual([swap], backup.chain(BASED, swap))
        self.assertEqual([root], backup.chain(DOMAIN, root))


class PushTest(unittest.TestCase):
    def test_one_disk_goes_to_a_qcow2_file(self) -> None:
        text = backup.push(DOMAIN, Path("/guests/a/swap.raw"), Path("/guests/a/copy & more"))
        assert text is not None
        job = etree.fromstring(text)
        self.assertEqual(("domainbackup", "push"), (job.tag, job.get("mode")))
        (disk,) = job.iterfind("disks/disk")
        self.assertEqual({"name": "vdb", "type": "file"}, dict(disk.attrib))
        self.assertEqual(["qcow2"], [each.get("type") for each in disk.iterfind("driver")])
        self.assertEqual(
            ["/guests/a/copy & more"], [e.get("file") for e in disk.iterfind("target")]
        )

    def test_disk_that_is_not_there(self) -> None:
        self.assertIsNone(backup.push(DOMAIN, Path("/guests/a/other"), Path("/copy")))
