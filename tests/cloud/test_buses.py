# SPDX-License-Identifier: Apache-2.0
"""Images that ask for IDE, with the defaults of both drivers, boot and are rescued."""

from __future__ import annotations

from tests.cloud import populate
from tests.cloud.case import CloudCase
from tests.cloud.results import recorded
from tests.cloud.servers import Server

#: Of the image's disk on IDE.
_PARTITION = "/dev/sda1"


class TestIde(CloudCase):
    def test_disk_and_cdrom(self) -> None:
        server = self.use(image=populate.IDE_IMAGE, config_drive=True)
        self.assertEqual({"disk": "ide", "cdrom": "ide"}, _buses(server))
        machine = _machine(server)
        server.write("mine", _PARTITION)
        self.rescue(server)
        self.assertEqual(machine, _machine(server))
        server.act("unrescue", "ACTIVE")
        server.boot_id()
        self.assertEqual("mine", server.read(_PARTITION))

    def test_rescue_of_a_server_without_ide(self) -> None:
        server = self.use()
        machine = _machine(server)
        self.rescue(server)
        self.assertEqual(machine, _machine(server))
        server.act("unrescue", "ACTIVE")
        server.boot_id()
        self.keep(server)

    def rescue(self, server: Server) -> None:
        before = server.boot_id()
        image = self.session.image.find_image(populate.IDE_RESCUE_IMAGE)
        with recorded("rescue by IDE"):
            server.act("rescue", "RESCUE", image=image.id)
        self.assertNotEqual(before, server.boot_id())


def _buses(server: Server) -> dict[str, str]:
    """Return the buses of a server's disks, by libvirt's words for the devices."""
    disks = server.description().iterfind("devices/disk")
    return {disk.get("device", ""): disk.find("target").get("bus", "") for disk in disks}


def _machine(server: Server) -> str:
    return str(server.description().find("os/type").get("machine"))
