# SPDX-License-Identifier: Apache-2.0
"""A server with Debian's own cloud-init learns all that nova says of it."""

from __future__ import annotations

import abc
import base64
import json
import secrets
from typing import Any

from tests import user_data
from tests.cloud import populate
from tests.cloud.case import CloudCase
from tests.cloud.processes import eventually
from tests.cloud.results import recorded
from tests.cloud.servers import DEADLINE, Server

#: Nothing but nova's description of the networks tells this length.
_MTU = 1400

_CIDRS = {4: "10.40.0.0/24", 6: "fd00:40::/64"}

#: An emulated boot takes this many seconds more until cloud-init is done.
_DONE_SECONDS = 2 * DEADLINE


class UserDataCase(CloudCase):
    """Servers that run Debian's cloud-init."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        populate.debian(cls.session)

    def setUp(self) -> None:
        super().setUp()
        self.password = secrets.token_hex(8)

    def user_data(self) -> str:
        return base64.b64encode(user_data.archive(self.password)).decode()

    def check_user_data(self, server: Server, source: str) -> str:
        """Check that name, key and user data have arrived in the server, and return the boot ID.

        :param source: start of cloud-init's name for the place of its data
        """
        boot_id = server.boot_id(_DONE_SECONDS)
        status = server.ssh("cloud-init status --wait --long", seconds=_DONE_SECONDS)
        self.assertIn("status: done", status)
        self.assertEqual(server.name, server.ssh("hostname").strip())
        query = "sudo cloud-init query --format '{{ v1.instance_id }} {{ v1.subplatform }}'"
        self.assertIn(f"{server.id} {source}", server.ssh(query))
        told = server.ssh("cat /var/lib/told-by-*").split()
        self.assertEqual(["cloud-config", "script"], told)
        self.assertEqual(boot_id, server.ssh("tail -n 1 /var/lib/boots").strip())
        self.assertEqual("debian", server.ssh("whoami", self.password).strip())
        return boot_id

    def check_admin_password(self, server: Server, password: str) -> None:
        query = "sudo cloud-init query ds.meta_data.admin_pass"
        self.assertEqual(password, server.ssh(query).strip())


class DebianCase(UserDataCase, abc.ABC):
    """Servers with a port in a network with DHCP, and a port in a network of static addresses."""

    #: Whether nova makes a config drive, and where cloud-init says that its data comes from.
    config_drive = False
    source = "metadata (http://169.254.169.254)"

    def boot(self) -> Server:
        """Return a new server; the first port gets the floating IP address."""
        server = self.make(
            image=populate.DEBIAN,
            flavor=populate.DEBIAN,
            ports=self.ports(),
            config_drive=self.config_drive,
            user_data=self.user_data(),
        )
        server.wait("ACTIVE")
        return server

    @abc.abstractmethod
    def ports(self) -> list[Any]:
        """Make two ports for the time of the test; only the first network has a router."""

    def static(self, **gateway: str | None) -> Any:
        """Make a port in a network of static addresses.

        :param gateway: ``gateway_ip`` of the IPv4 subnet
        """
        network = self.network(mtu=_MTU)
        self.subnet(network, 6, is_dhcp_enabled=False, gateway_ip=None)
        subnet = self.subnet(network, 4, is_dhcp_enabled=False, **gateway)
        if subnet.gateway_ip:
            session = self.session.network
            router = session.find_router("router")
            session.add_interface_to_router(router, subnet_id=subnet.id)
            self.addCleanup(session.remove_interface_from_router, router, subnet_id=subnet.id)
        return self.port(network)

    def network(self, **settings: Any) -> Any:
        made = self.session.network.create_network(name="second", **settings)
        self.addCleanup(self.session.network.delete_network, made.id)
        return made

    def subnet(self, network: Any, version: int, **settings: Any) -> Any:
        return self.session.network.create_subnet(
            network_id=network.id, ip_version=version, cidr=_CIDRS[version], **settings
        )

    def port(self, network: Any) -> Any:
        made = self.session.network.create_port(network_id=network.id)
        self.addCleanup(self.session.network.delete_port, made.id)
        return made

    def survives(self, source: str) -> Server:
        """Check a server after its first boot, its reboots and its rebuild, and return it.

        The rebuild gives the server new user data and a new password.
        """
        with recorded(f"cloud-init, {source}"):
            server = self.boot()
            boots = [self.check(server)]
        server.ssh("echo mine >mine; sync")
        host_keys = _host_keys(server)
        for kind in ("soft", "hard"):
            with recorded(f"cloud-init, {source}, reboot {kind}"):
                server.act("reboot", "ACTIVE", reboot_type=kind.upper())
                boots.append(self.check(server))
            self.assertEqual("mine", server.ssh("cat mine").strip())
            self.assertEqual(host_keys, _host_keys(server))
        self.assertEqual(boots, server.ssh("cat /var/lib/boots").split())
        self.password, server.admin_password = secrets.token_hex(8), secrets.token_hex(8)
        with recorded(f"cloud-init, {source}, rebuild"):
            server.act(
                "rebuild",
                "ACTIVE",
                image=self.session.image.find_image(server.image).id,
                admin_password=server.admin_password,
                user_data=self.user_data(),
            )
            boots.append(self.check(server))
        self.assertEqual("", server.ssh("ls"))
        self.assertNotEqual(host_keys, _host_keys(server))
        self.assertEqual(boots[-1:], server.ssh("cat /var/lib/boots").split())
        self.assertEqual(len(boots), len(set(boots)))
        return server

    def check(self, server: Server) -> str:
        """Check that all has arrived in the server, and return the boot ID."""
        boot_id = self.check_user_data(server, self.source)
        eventually("the addresses", DEADLINE, lambda: self.has_addresses(server))
        return boot_id

    def has_addresses(self, server: Server) -> bool:
        """Tell whether each port has its addresses and its network's largest packet."""
        links = {link["address"]: link for link in json.loads(server.ssh("ip -json address"))}
        network = self.session.network
        return all(
            links[port.mac_address]["mtu"] == network.get_network(port.network_id).mtu
            and {fixed["ip_address"] for fixed in port.fixed_ips}
            <= {each["local"] for each in links[port.mac_address]["addr_info"]}
            for port in network.ports(device_id=server.id)
        )


class TestMetadata(DebianCase):
    """The server knows OpenStack by its SMBIOS tables, and asks the metadata service."""

    def ports(self) -> list[Any]:
        tenant = self.session.network.find_network(populate.TENANT)
        return [self.port(tenant), self.static(gateway_ip=None)]

    def test_all_arrives(self) -> None:
        with recorded("cloud-init, metadata"):
            self.check(self.boot())

    def test_reboots_and_rebuild(self) -> None:
        server = self.survives("metadata")
        password = secrets.token_hex(8)
        server.act("change password", "ACTIVE", new_password=password)
        self.assertEqual("debian", server.ssh("whoami", password).strip())


class TestConfigDrive(DebianCase):
    """The server has a config drive; its first network has neither DHCP nor metadata."""

    config_drive = True
    source = "config-disk (/dev/"

    def ports(self) -> list[Any]:
        second = self.network()
        self.session.network.create_subnet(
            network_id=second.id, ip_version=4, cidr="10.41.0.0/24", gateway_ip=None
        )
        return [self.static(), self.port(second)]

    def test_reboots_and_rebuild(self) -> None:
        server = self.survives("config drive")
        self.check_admin_password(server, server.admin_password)


class TestRescue(UserDataCase):
    """A Debian whose kernel lacks the driver of SATA rescues a server with defaults."""

    def test_config_drive_arrives_in_the_rescue_system(self) -> None:
        server = self.use(flavor=populate.DEBIAN, config_drive=True, user_data=self.user_data())
        server.write("mine")
        image, user = self.session.image.find_image(populate.DEBIAN), server.user
        password = secrets.token_hex(8)
        with recorded("cloud-init, rescue"):
            server.act("rescue", "RESCUE", image=image.id, admin_pass=password)
            server.user = image.os_admin_user
            self.check_user_data(server, "config-disk (/dev/")
        self.assertEqual("", server.ssh("/sbin/modinfo --filename ahci").strip())
        self.check_admin_password(server, password)
        self.assertEqual("/dev/vda2", server.ssh("findmnt --noheadings --output SOURCE /").strip())
        mounted = "sudo mount -o ro /dev/vdb1 /mnt && cat /mnt/marker"
        self.assertEqual("mine", server.ssh(mounted).strip())
        server.act("unrescue", "ACTIVE")
        server.user = user
        server.boot_id()
        self.assertEqual("mine", server.read())


def _host_keys(server: Server) -> str:
    keys = server.ssh("cat /etc/ssh/ssh_host_*_key.pub")
    if not keys:
        raise AssertionError(f"{server.name} has no SSH host keys")
    return keys
