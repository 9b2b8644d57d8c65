# SPDX-License-Identifier: Apache-2.0
"""What libvirt is asked to copy."""

from __future__ import annotations

import unittest
from pathlib import Path

from lxml import etree

from compute_driver.xml import backup


class PushTest(unittest.TestCase):
    def test_one_disk_goes_to_a_qcow2_file(self) -> None:
        job = etree.fromstring(backup.push("vdb", Path("/guests/a/copy & more")))
        self.assertEqual(("domainbackup", "push"), (job.tag, job.get("mode")))
        (disk,) = job.iterfind("disks/disk")
        self.assertEqual({"name": "vdb", "type": "file"}, dict(disk.attrib))
        self.assertEqual(["qcow2"], [each.get("type") for each in disk.iterfind("driver")])
        self.assertEqual(
            ["/guests/a/copy & more"], [e.get("file") for e in disk.iterfind("target")]
        )
