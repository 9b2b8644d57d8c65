# SPDX-License-Identifier: Apache-2.0
"""The job by which libvirt copies a disk of a running guest.

Source: libvirt, "Backup XML format".
"""

from __future__ import annotations

from pathlib import Path

from lxml import etree

from compute_driver.xml.elements import E


def push(device: str, target: Path) -> str:
    """Return a backup job that copies one disk of a domain to a qcow2 file.

    :param device: libvirt's name of the disk, ``vda`` for example.
    :param target: the file that receives the copy.
    """
    job = E.domainbackup(
        {"mode": "push"},
        E.disks(
            E.disk(
                {"name": device, "type": "file"},
                E.driver(type="qcow2"),
                E.target(file=str(target)),
            )
        ),
    )
    return etree.tostring(job, encoding="unicode")
