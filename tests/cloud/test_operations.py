# SPDX-License-Identifier: Apache-2.0
"""What else can be done with a server, by the cloud's own API."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from typing import Any

from tests import guests
from tests.cloud import populate
from tests.cloud.case import CLOUD, CloudCase
from tests.cloud.configuration import DRIVER, IN_TREE
from tests.cloud.processes import eventually
from tests.cloud.results import note, recorded
from tests.cloud.servers import DEADLINE, Server
from tests.functional.base import BANNER

#: Seconds until nova knows that a guest has powered itself off; its own driver waits 15 on purpose.
_NOTICED_SECONDS = 30 if DRIVER == IN_TREE else 10

#: A port where nothing listens in a guest.
_CLOSED_PORT = 8080

_ASK_FOR_METADATA = (
    r"printf 'GET /openstack/latest/meta_data.json HTTP/1.0\r\nHost: 169.254.169.254\r\n\r\n'"
    " | nc -w 10 169.254.169.254 80"
)


class TestRescue(CloudCase):
    def test_rescue(self) -> None:
        server, before = self.booted()
        server.write("mine")
        with recorded("rescue"):
            server.act("rescue", "RESCUE")
        with recorded("rescue until SSH"):
            rescued = server.boot_id()
        self.assertNotEqual(before, rescued)
        self.assertEqual(("", "mine"), (server.read(), server.read("/dev/vdb1")))
        with recorded("unrescue"):
            server.act("unrescue", "ACTIVE")
        self.assertNotEqual(rescued, server.boot_id())
        self.assertEqual("mine", server.read())
        self.assertEqual(["vda"], _disks(server))
        self.keep(server)

    def test_rescue_with_stable_devices(self) -> None:
        server = self.use()
        server.write("mine")
        image = self.session.image.find_image(populate.RESCUE_IMAGE)
        with recorded("rescue, stable devices"):
            server.act("rescue", "RESCUE", image=image.id)
        server.boot_id()
        self.assertEqual(("mine", ""), (server.read(), server.read("/dev/vdb1")))
        with recorded("unrescue, stable devices"):
            server.act("unrescue", "ACTIVE")
        server.boot_id()
        self.assertEqual("mine", server.read())
        self.keep(server)


class TestSnapshot(CloudCase):
    def test_snapshot_live(self) -> None:
        server, before = self.booted()
        server.write("live")
        with self.snapshot(server, "snapshot live") as image:
            self.assertEqual(before, server.boot_id())
            self.keep(server)
            self.check(server, image, "live")

    def test_snapshot_stopped(self) -> None:
        server = self.use()
        server.write("stopped")
        server.act("stop", "SHUTOFF")
        with self.snapshot(server, "snapshot stopped") as image:
            self.assertEqual("SHUTOFF", server.status)
            server.act("start", "ACTIVE")
            server.boot_id()
            self.keep(server)
            self.check(server, image, "stopped")

    def test_snapshot_quiesced(self) -> None:
        server, before = self.booted_with_agent()
        server.write("quiet")
        with self.snapshot(server, "snapshot quiesced") as image:
            self.assertEqual(before, server.boot_id())
            self.check(server, image, "quiet")

    def test_backups_rotate(self) -> None:
        server = self.use()
        with recorded("backup"):
            for _ in range(2):
                self.session.compute.backup_server(server.id, f"{server.name}-b", "daily", 1)
                server.wait("ACTIVE")
        (image,) = self.session.image.images(name=f"{server.name}-b")
        self.addCleanup(self.session.image.delete_image, image.id)
        self.assertEqual("active", image.status)
        self.keep(server)

    def booted_with_agent(self) -> tuple[Server, str]:
        server = self.use(image=populate.AGENT_IMAGE)
        return server, server.boot_id()

    @contextlib.contextmanager
    def snapshot(self, server: Server, operation: str) -> Iterator[Any]:
        """Makes an image of a server's disk, which goes with the block."""
        status = server.status
        with recorded(operation):
            image = self.session.compute.create_server_image(server.id, server.name)
            try:
                server.wait(status)
                eventually(
                    f"{server.name}: image",
                    DEADLINE,
                    lambda: self.session.image.get_image(image.id).status == "active",
                )
            except BaseException:
                self.session.image.delete_image(image.id)
                raise
        try:
            yield self.session.image.get_image(image.id)
        finally:
            self.session.image.delete_image(image.id)

    def check(self, server: Server, image: Any, text: str) -> None:
        """Holds an image against what one of a server has to be, and boots another from it."""
        source = self.session.image.find_image(server.image)
        self.assertEqual(("qcow2", "bare"), (image.disk_format, image.container_format))
        self.assertEqual(source.id, image.properties["base_image_ref"])
        self.assertEqual(server.id, image.instance_uuid)
        self.assertEqual("snapshot", image.properties["image_type"])
        self.assertEqual(1, image.min_disk)
        with recorded("boot from a snapshot"):
            twin = self.make(image=image.id)
            twin.wait("ACTIVE")
        twin.boot_id()
        self.assertEqual(text, twin.read())
        twin.close()


class TestRebuild(CloudCase):
    def test_rebuild(self) -> None:
        server, before = self.booted()
        address = server.port.fixed_ips
        server.write("old")
        with recorded("rebuild"):
            server.act("rebuild", "ACTIVE", image=self.session.image.find_image(server.image).id)
        self.assertNotEqual(before, server.boot_id())
        self.assertEqual("", server.read())
        self.assertEqual(address, self.session.network.get_port(server.port.id).fixed_ips)
        self.keep(server)

    def test_rebuild_stopped(self) -> None:
        server = self.use()
        server.act("stop", "SHUTOFF")
        with recorded("rebuild stopped"):
            server.act("rebuild", "SHUTOFF", image=self.session.image.find_image(server.image).id)
        server.act("start", "ACTIVE")
        server.boot_id()
        self.keep(server)

    def test_shelve_and_unshelve(self) -> None:
        server, before = self.booted()
        server.write("shelved")
        with recorded("shelve"):
            server.act("shelve", "SHELVED_OFFLOADED")
        left = [trace for trace in server.traces() if not trace.endswith("of neutron")]
        self.assertEqual([], left)
        with recorded("unshelve"):
            server.act("unshelve", "ACTIVE")
        self.assertNotEqual(before, server.boot_id())
        self.assertEqual("shelved", server.read())
        self.assertEqual(1, len(server.allocations()))
        self.keep(server)


class TestResize(CloudCase):
    def test_resize_and_revert(self) -> None:
        server = self.use()
        server.write("kept")
        self.resize(server, "resize", "small")
        self.assertEqual(("2", 2 << 30), _size(server))
        with recorded("revert resize"):
            server.act("revert resize", "ACTIVE")
        server.boot_id()
        self.assertEqual(("1", 1 << 30), _size(server))
        self.assertEqual("kept", server.read())
        self.keep(server)

    def test_resize_and_confirm(self) -> None:
        server = self.use()
        server.write("kept")
        self.resize(server, "resize", "small")
        boot = server.boot_id()
        with recorded("confirm resize"):
            server.act("confirm resize", "ACTIVE")
        self.assertEqual(boot, server.boot_id())
        self.assertEqual("kept", server.read())
        server.act("reboot", "ACTIVE", reboot_type="HARD")
        server.boot_id()
        self.assertEqual(("2", 2 << 30), _size(server))
        (allocation,) = server.allocations().values()
        self.assertEqual({"VCPU": 2, "MEMORY_MB": 256, "DISK_GB": 2}, allocation["resources"])
        files = [trace for trace in server.traces() if trace.startswith("file ")]
        self.assertEqual([f"file {CLOUD.state}/nova/instances/{server.id}"], files)

    def test_resize_stopped(self) -> None:
        server = self.use()
        server.act("stop", "SHUTOFF")
        self.resize(server, "resize stopped", "small")
        with recorded("confirm resize stopped"):
            server.act("confirm resize", "SHUTOFF")
        server.act("start", "ACTIVE")
        server.boot_id()
        self.assertEqual(("2", 2 << 30), _size(server))

    def test_cold_migration_to_the_same_host(self) -> None:
        server, before = self.booted()
        if DRIVER == IN_TREE:
            note("cold migration", "not supported")
            self.keep(server)
            return
        server.write("kept")
        with recorded("cold migration"):
            server.act("migrate", "VERIFY_RESIZE")
        self.assertNotEqual(before, server.boot_id())
        with recorded("confirm cold migration"):
            server.act("confirm resize", "ACTIVE")
        server.boot_id()
        self.assertEqual("kept", server.read())
        self.keep(server)

    def resize(self, server: Server, operation: str, flavor: str) -> None:
        chosen = self.session.compute.find_flavor(flavor)
        with recorded(operation):
            server.act("resize", "VERIFY_RESIZE", flavor=chosen.id)
        if "stopped" not in operation:
            server.boot_id()


class TestInterfaces(CloudCase):
    def test_attach_and_detach(self) -> None:
        server, before = self.booted()
        network = self.network()
        body = {"interfaceAttachment": {"net_id": network.id, "tag": "second"}}
        with recorded("attach interface"):
            made = server.post("/os-interface", body, "2.49")["interfaceAttachment"]
            mac, (address,) = made["mac_addr"], made["fixed_ips"]
            eventually("the interface", DEADLINE, lambda: mac in _interfaces(server))
        with recorded("attached interface answers"):
            namespace = ("ip", "netns", "exec", f"qdhcp-{network.id}")
            ping = (*namespace, "ping", "-c", "1", "-W", "1", address["ip_address"])
            eventually(
                "an answer",
                DEADLINE,
                lambda: subprocess.run(ping, capture_output=True, check=False).returncode == 0,
            )
        with recorded("tag of the interface"):
            tag = re.compile(
                rf'"{mac}"[^}}]*"tags": \["second"\]|"tags": \["second"\][^}}]*"{mac}"'
            )
            asked = lambda: tag.search(server.ssh(_ASK_FOR_METADATA)) is not None  # noqa: E731
            eventually("the tag in the metadata", DEADLINE, asked)
        server.act("reboot", "ACTIVE", reboot_type="HARD")
        self.assertNotEqual(before, server.boot_id())
        self.assertIn(mac, _interfaces(server))
        with recorded("detach interface"):
            self.session.compute.delete_server_interface(made["port_id"], server=server.id)
            eventually("no interface", DEADLINE, lambda: mac not in _interfaces(server))
        ports = self.session.network.ports
        eventually("no port", DEADLINE, lambda: not list(ports(id=made["port_id"])))
        self.assertEqual([], server.taps(made["port_id"]))
        self.keep(server)

    def test_attach_to_a_stopped_server(self) -> None:
        server = self.use()
        server.act("stop", "SHUTOFF")
        port = self.session.network.create_port(network_id=self.network().id)
        self.addCleanup(self.session.network.delete_port, port.id)
        with recorded("attach interface stopped"):
            server.post("/os-interface", {"interfaceAttachment": {"port_id": port.id}})
        server.act("start", "ACTIVE")
        server.boot_id()
        self.assertIn(port.mac_address, _interfaces(server))
        server.act("stop", "SHUTOFF")
        with recorded("detach interface stopped"):
            self.session.compute.delete_server_interface(port.id, server=server.id)
            unbound = lambda: not self.session.network.get_port(port.id).device_id  # noqa: E731
            eventually("the port unbound", DEADLINE, unbound)
        server.act("start", "ACTIVE")
        server.boot_id()
        self.assertNotIn(port.mac_address, _interfaces(server))
        self.keep(server)

    def test_port_that_neutron_deletes_is_unplugged(self) -> None:
        server = self.use()
        port = self.session.network.create_port(network_id=self.network().id)
        server.post("/os-interface", {"interfaceAttachment": {"port_id": port.id}})
        eventually("the interface", DEADLINE, lambda: port.mac_address in _interfaces(server))
        with recorded("port deleted in neutron"):
            self.session.network.delete_port(port.id)
            gone = lambda: port.mac_address not in _interfaces(server)  # noqa: E731
            eventually("no interface", DEADLINE, gone)
            eventually("no tap", DEADLINE, lambda: not server.taps(port.id))
        self.keep(server)

    def test_security_groups_hold(self) -> None:
        server = self.use()
        for operation, steps in {
            "boot": (),
            "soft reboot": (("reboot", "ACTIVE", {"reboot_type": "SOFT"}),),
            "hard reboot": (("reboot", "ACTIVE", {"reboot_type": "HARD"}),),
            "stop and start": (("stop", "SHUTOFF", {}), ("start", "ACTIVE", {})),
            "suspend": (("suspend", "SUSPENDED", {}), ("resume", "ACTIVE", {})),
        }.items():
            for action, status, arguments in steps:
                server.act(action, status, **arguments)
            server.boot_id()
            with recorded(f"security group after {operation}"):
                self.assertEqual("dropped", self.connect(server))
                with self.rule(_CLOSED_PORT):
                    opened = lambda: self.connect(server) == "answered"  # noqa: E731
                    eventually("the port open", DEADLINE, opened)
                closed = lambda: self.connect(server) == "dropped"  # noqa: E731
                eventually("the port closed", DEADLINE, closed)
        self.keep(server)

    def network(self) -> Any:
        """Makes a network of its own, without a router, that goes with the test."""
        network = self.session.network.create_network(name="second")
        self.addCleanup(self.session.network.delete_network, network.id)
        self.session.network.create_subnet(
            network_id=network.id, ip_version=4, cidr="10.30.0.0/24", gateway_ip=None
        )
        return network

    def connect(self, server: Server) -> str:
        """Tells whether a packet gets to a server: nothing listens there."""
        try:
            socket.create_connection((server.address, _CLOSED_PORT), timeout=3).close()
        except ConnectionRefusedError:
            return "answered"
        except TimeoutError:
            return "dropped"
        return "listens"

    @contextlib.contextmanager
    def rule(self, port: int) -> Iterator[None]:
        """Lets TCP to a port in meanwhile."""
        network = self.session.network
        project = self.session.current_project_id
        (group,) = network.security_groups(name="default", project_id=project)
        rule = network.create_security_group_rule(
            security_group_id=group.id,
            direction="ingress",
            ethertype="IPv4",
            protocol="tcp",
            port_range_min=port,
            port_range_max=port,
        )
        try:
            yield
        finally:
            network.delete_security_group_rule(rule.id)


class TestInside(CloudCase):
    """What a guest does, and what is done inside of it."""

    def test_config_drive(self) -> None:
        with recorded("boot with a config drive"):
            server = self.make(config_drive=True, user_data="IyEvYmluL3NoCmVjaG8gZnJvbSBib290Cg==")
            server.wait("ACTIVE")
        server.boot_id()
        self.assertIn("/config ", server.ssh("cat /proc/mounts"))
        eventually("user data", DEADLINE, lambda: "from boot" in server.console())
        console = server.console()
        for fact in (BANNER, f"GUEST-UUID: {server.id}", "GUEST-KEYS: 1", "label=config-2"):
            self.assertIn(fact, console)
        server.act("reboot", "ACTIVE", reboot_type="HARD")
        server.boot_id()
        self.assertIn("/config ", server.ssh("cat /proc/mounts"))

    def test_diagnostics(self) -> None:
        server = self.use()
        with recorded("diagnostics"):
            found = server.get("/diagnostics", "2.48")
        self.assertEqual(("running", 1), (found["state"], found["num_cpus"]))
        self.assertEqual((1, 1), (found["num_disks"], found["num_nics"]))
        self.assertEqual(server.port.mac_address, found["nic_details"][0]["mac_address"])
        self.assertGreater(found["nic_details"][0]["rx_octets"], 0)
        self.assertGreater(found["disk_details"][0]["read_bytes"], 0)
        self.assertGreater(found["cpu_details"][0]["time"], 0)
        with recorded("diagnostics, old form"):
            old = server.get("/diagnostics", "2.1")
        self.assertGreater(old["vda_read"], 0)
        self.assertEqual(192 * 1024, old["memory"])
        self.keep(server)

    def test_crash_dump(self) -> None:
        server = self.use()
        interrupts = lambda: int(server.ssh("grep NMI: /proc/interrupts").split()[1])  # noqa: E731
        before = interrupts()
        with recorded("crash dump"):
            server.act("trigger crash_dump", "ACTIVE")
            eventually("the interrupt", DEADLINE, lambda: interrupts() > before)
        self.keep(server)

    def test_password(self) -> None:
        server = self.use(image=populate.AGENT_IMAGE)
        with recorded("set password"):
            server.act("change password", "ACTIVE", new_password="0therThanBefore")
        self.assertIn("root:$", server.ssh("cat /etc/passwd"))

    def test_a_guest_powers_itself_off(self) -> None:
        server = self.use()
        with recorded("guest powers itself off"):
            begin = time.monotonic()
            server.ssh("(sleep 1; /etc/guest/down poweroff) >/dev/null 2>&1 &")
            server.wait("SHUTOFF")
        self.assertLess(time.monotonic() - begin, _NOTICED_SECONDS)
        server.act("start", "ACTIVE")
        server.boot_id()
        self.keep(server)

    def test_a_guest_that_reboots_itself_is_not_taken_for_stopped(self) -> None:
        server, before = self.booted()
        with recorded("guest reboots itself"):
            server.ssh("(sleep 1; /etc/guest/down reboot) >/dev/null 2>&1 &")
            eventually("an end", DEADLINE, lambda: not server.ping())
            self.assertNotEqual(before, server.boot_id())
        self.assertEqual("ACTIVE", server.status)
        self.keep(server)


class TestImageCache(CloudCase):
    """The host's copies of images: made ahead of need, removed once nobody uses them."""

    extra = """[image_cache]
manager_interval = 5
remove_unused_original_minimum_age_seconds = 1
remove_unused_resized_minimum_age_seconds = 1
"""

    def test_image_is_cached_ahead_of_need_and_removed_again(self) -> None:
        server = self.use()
        used = self.cached()
        with self.twin() as image, self.aggregate() as aggregate:
            with recorded("image cached ahead of need"):
                self.session.compute.aggregate_precache_images(aggregate.id, [image.id])
                eventually("a copy more", DEADLINE, lambda: self.cached() > used)
            with recorded("unused image removed from the cache"):
                eventually("no copy more", DEADLINE, lambda: self.cached() == used)
        server.act("reboot", "ACTIVE", reboot_type="HARD")
        server.boot_id()
        self.keep(server)

    def cached(self) -> set[str]:
        """Returns the names of the copies that are whole."""
        cache = CLOUD.state / "nova/instances/_base"
        return {path.name for path in cache.iterdir() if path.is_file() and not path.suffix}

    @contextlib.contextmanager
    def twin(self) -> Iterator[Any]:
        """Makes an image of the same content as the servers', meanwhile."""
        image = self.session.create_image(
            f"twin-{uuid.uuid4().hex[:8]}",
            filename=str(guests.build("cloud").disk),
            disk_format="qcow2",
            container_format="bare",
            validate_checksum=False,
            wait=True,
        )
        try:
            yield image
        finally:
            self.session.image.delete_image(image.id)

    @contextlib.contextmanager
    def aggregate(self) -> Iterator[Any]:
        """Makes an aggregate of the one host, meanwhile."""
        (host,) = self.session.compute.hypervisors()
        made = self.session.compute.create_aggregate(name=f"aggregate-{uuid.uuid4().hex[:8]}")
        try:
            self.session.compute.add_host_to_aggregate(made.id, host.name)
            yield made
            self.session.compute.remove_host_from_aggregate(made.id, host.name)
        finally:
            self.session.compute.delete_aggregate(made.id)


class TestBin(CloudCase):
    def test_soft_delete_and_restore(self) -> None:
        server, before = self.booted()
        with recorded("soft delete"):
            self.session.compute.delete_server(server.id)
            server.wait("SOFT_DELETED")
        self.assertFalse(server.ping())
        with recorded("restore"):
            server.act("restore", "ACTIVE")
        self.assertNotEqual(before, server.boot_id())
        self.keep(server)


def _disks(server: Server) -> list[str]:
    return server.ssh("cd /sys/class/block; ls -d vd? 2>/dev/null").split()


def _interfaces(server: Server) -> str:
    return server.ssh("cat /sys/class/net/*/address")


def _size(server: Server) -> tuple[str, int]:
    """Returns processors, and bytes of the disk."""
    processors, sectors = server.ssh(
        "grep -c ^processor /proc/cpuinfo; cat /sys/class/block/vda/size"
    ).split()
    return processors, int(sectors) * 512
