# SPDX-License-Identifier: Apache-2.0
"""``spawn`` makes a guest of the options, and refuses bad options before any change."""

from __future__ import annotations

import os
import uuid
from unittest import mock

from compute_driver import exceptions
from compute_driver.choices import (
    DiskBus,
    DiskFormat,
    Firmware,
    InterfaceKind,
    NicModel,
    VideoModel,
)
from compute_driver.drivers import fake
from compute_driver.guest import GIB, MIB, Guest, Topology
from compute_driver.hardware import architecture
from tests.keys import public_key
from tests.unit.cmd.base import CommandLineCase

SECRET = "c2VjcmV0c2VjcmV0"
PRIVATE_KEY = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{SECRET}\n-----END OPENSSH PRIVATE KEY-----\n"

# Bad options, and a part of the error.
BAD_OPTIONS = {
    ("--vcpus", "0"): "vcpus: 0 is not usable; accepted: a whole number of virtual CPUs, 1 to",
    ("--vcpus", "-1"): "--vcpus: -1 is not usable",
    ("--vcpus", "99999999999"): "vcpus: 99999999999 is not usable",
    ("--vcpus", "two"): "argument --vcpus: 'two' is not usable",
    ("--memory", "0"): "memory: 0 is not usable; accepted: a whole number of MiB",
    ("--memory", "1e3"): "is not usable; accepted: a whole number",
    ("--memory", str(10**12)): "memory: 1000000000000 is not usable",
    ("--disk", "-1"): "--disk: -1 is not usable; accepted: a number of GiB",
    ("--disk", "nan"): "argument --disk: 'nan' is not usable; accepted: a finite number",
    ("--disk", "1e999"): "argument --disk: '1e999' is not usable",
    ("--disk", "big"): "argument --disk: 'big' is not usable; accepted: a finite number",
    ("--ephemeral", "0"): "ephemeral: 0 is not usable; accepted: at least 1 MiB",
    ("--ephemeral", "-0.5"): "ephemeral: -0.5 is not usable",
    ("--swap", "-1"): "--swap: -1 is not usable; accepted: a whole number of MiB, 0 to",
    ("--arch", "vax"): "arch: 'vax' is not usable; accepted: aarch64,",
    ("--machine", "q 35"): "machine: 'q 35' is not usable",
    ("--machine", "q35<x/>"): "machine: 'q35<x/>' is not usable",
    ("--cpu", "a'b"): 'cpu: "a\'b" is not usable',
    ("--firmware", "coreboot"): "firmware: 'coreboot' is not usable; accepted: bios, uefi",
    ("--image-format", "img"): "image-format: 'img' is not usable; accepted: iso, qcow2, raw",
    ("--checksum", "md5"): "checksum: 'md5' is not usable; accepted: sha256:HEX",
    ("--disk-bus", "floppy"): "--disk-bus: 'floppy' is not usable; accepted: ide, sata, scsi",
    ("--publish", "22"): "--publish: '22' is not usable; accepted: [ADDRESS:]HOST_PORT:GUEST_PORT",
    ("--publish", "0:22"): "--publish: 0 is not usable; accepted: a port number, 1 to 65535",
    ("--publish", "::1:2222:22"): "--publish: '::1:2222:22' is not usable",
    ("--publish", "255.255.255.255:1:22"): "--publish: '255.255.255.255' is not usable",
    ("--publish", "224.0.0.1:1:22"): "--publish: '224.0.0.1' is not usable",
    ("--publish", "\uff12:22"): "--publish: '\uff12:22' is not usable",
    ("--publish", "1:22/sctp"): "--publish: 'sctp' is not usable; accepted: tcp, udp",
    ("--publish", "01.2.3.4:1:22"): "--publish: '01.2.3.4' is not usable; accepted: an IPv4",
    ("--nic", "none", "--publish", "1:22"): "accepted: a guest with an interface of kind user",
    ("--publish", "1:22", "--publish", "0.0.0.0:1:23"): "accepted: another port of the host",
    ("--watchdog", "bite"): "watchdog: 'bite' is not usable; accepted: none, pause, poweroff",
    ("--scsi-model", "buslogic"): "scsi-model: 'buslogic' is not usable; accepted: ibmvscsi",
    ("--serial-ports", "5"): "--serial-ports: 5 is not usable; accepted: a whole number of serial",
    ("--os-type", "vms"): "os-type: 'vms' is not usable; accepted: linux, windows",
    ("--video", "3dfx"): "video: '3dfx' is not usable; accepted: bochs, cirrus",
    ("--nic", "bridge"): "nic: 'bridge' is not usable; accepted: bridge=NAME",
    ("--nic", "bridge="): "nic: 'bridge' is not usable; accepted: bridge=NAME",
    ("--nic", "network=a b"): "nic: 'a b' is not usable",
    (
        "--nic",
        "tap",
    ): "nic: 'tap' is not usable; accepted: user, network=NAME, bridge=NAME, ovs=NAME, then",
    ("--nic", "ovs"): "nic: 'ovs' is not usable; accepted: ovs=NAME, the name of a bridge of Open",
    ("--nic", "ovs=br0,mtu=big"): "nic mtu: 'big' is not usable; accepted: a whole number",
    ("--nic", "ovs=br0,mtu=9"): "--nic mtu: 9 is not usable",
    ("--nic", "ovs=br0,queues=9"): "nic queues: 9 is not usable; accepted: at most 1",
    ("--nic", "user,mtu=1400"): "nic mtu: 1400 is not usable; accepted: nothing with kind user",
    ("--nic", "user,speed=9"): "and ,queues=N; ,address=ADDRESS/PREFIX and after the address"
    " ,gateway=ADDRESS",
    ("--nic", "user,model"): "nic: 'model' is not usable; accepted: KEY=VALUE",
    ("--nic", "user,model=ne1"): "nic model: 'ne1' is not usable; accepted: e1000,",
    ("--nic", "user,mac=xx"): "nic: 'xx' is not usable; accepted: a unicast MAC address",
    ("--nic", "user,mac=01:00:00:00:00:00"): "nic: '01:00:00:00:00:00' is not usable",
    ("--nic", "user,address=192.0.2.5"): "nic address: '192.0.2.5' is not usable; accepted: an",
    ("--nic", "user,address=192.0.2.5/33"): "nic address: '192.0.2.5/33' is not usable",
    ("--nic", "user,gateway=192.0.2.1"): "nic gateway: '192.0.2.1' is not usable; accepted: one",
    (
        "--nic",
        "user,address=192.0.2.5/24,gateway=198.51.100.1",
    ): "accepted: the IPv4 address of a router in 192.0.2.0/24",
    ("--nic", "user,address=::5/64,gateway=192.0.2.1"): "accepted: the IPv6 address of a router in",
    ("--no-config-drive", "--nic", "user,address=::5/64"): "not usable with an address of --nic",
    ("--nic", "user,address=192.0.2.0/24"): "nic address: '192.0.2.0/24' is not usable; accepted:"
    " an address in 192.0.2.0/24 other than 192.0.2.0 and 192.0.2.255",
    ("--dns", "example.org"): "--dns: 'example.org' is not usable; accepted: an IPv4",
    ("--dns", "ff02::1"): "--dns: 'ff02::1' is not usable",
    ("--nic", "user,mtu=1400,mtu=1500"): "--nic: 'mtu=1500' is not usable; accepted: mtu once",
    ("--meta", "a=1", "--meta", "a=2"): "--meta: 'a=2' is not usable; accepted: a once",
    ("--wait", ""): "argument --wait: '' is not usable; accepted: one character or more",
    ("--kernel", ""): "--kernel: '' is not usable; accepted: the path of a file, or a URL",
    ("--kernel", "/tmp"): "--kernel: '/tmp' is not usable",
    ("--kernel", __file__, "--ramdisk", ""): "--ramdisk: '' is not usable",
    ("--kernel", f"{__file__}/x"): "/x' is not usable",
    ("--nic", "user", "--nic", "none"): "nic: 'none' is not usable",
    ("--hw", "hw_magic=1"): "property: 'hw_magic' is not usable; accepted: properties such as",
    ("--hw", "HW_disk_buss=ide"): "accepted: properties such as hw_disk_bus, ",
    ("--hw", "hw_disk_bus"): "--hw: 'hw_disk_bus' is not usable; accepted: KEY=VALUE",
    ("--hw", "hw_disk_bus=fdc"): "hw_disk_bus: 'fdc' is not usable",
    ("--hw", "hw_qemu_guest_agent=2"): "hw_qemu_guest_agent: '2' is not usable",
    ("--meta", "=x"): "meta: '=x' is not usable; accepted: KEY=VALUE",
    ("--hostname", "a_b"): "hostname: 'a_b' is not usable",
    ("--hostname", "-a"): "argument --hostname: expected one argument",
    ("--uuid", "42"): "uuid: '42' is not usable; accepted: a UUID in canonical form",
    ("--user-data", "/nonexistent/x"): "user-data: '/nonexistent/x' is not usable;"
    " accepted: a readable file (No such file or directory)",
    ("--user-data", "/"): "a readable file (Is a directory)",
    ("--user-data", "/dev/zero"): "a file of at most 65535 bytes",
    ("--key", "/dev/zero"): "a file of at most 65536 bytes",
    ("--key", "/dev/null"): "key: '/dev/null' is not usable; accepted: a file of public SSH keys",
    ("--ramdisk", "/x"): "ramdisk: '/x' is not usable; accepted: only with --kernel",
    ("--no-config-drive", "--hostname", "x"): "--no-config-drive is not usable with --host",
    ("--timeout", "-1"): "argument --timeout: '-1' is not usable; accepted: seconds, 0 to 2000000",
    ("--timeout", "nan"): "a finite number",
    ("--vcpu", "2"): "unrecognized arguments: --vcpu",
}

BAD_NAMES = ("", " ", "a/b", "../x", "a\nb", "a\x00b", "x" * 300, "-", ".x", " x", "\udcff")


class SpawnCase(CommandLineCase):
    def setUp(self) -> None:
        super().setUp()
        self.image = self.file("disk.qcow2", b"bytes")

    def guest(self, *words: str) -> Guest:
        """Spawn a guest from the image, and return its description."""
        name = f"guest-{uuid.uuid4().hex[:8]}"
        self.done("spawn", name, "--image", self.image, *words)
        return self.driver.show(self.driver.find(name)).guest


class Described(SpawnCase):
    def test_defaults(self) -> None:
        guest = self.guest()
        self.assertEqual((1, 512), (guest.vcpus, guest.memory_mib))
        self.assertEqual(architecture.of_host(), guest.architecture)
        self.assertEqual(0, guest.root.size_bytes)
        self.assertEqual([InterfaceKind.USER], [nic.kind for nic in guest.interfaces])
        self.assertEqual(guest.name, guest.config_drive.hostname)
        self.assertEqual(self.image, guest.image.location)

    def test_everything(self) -> None:
        identity = str(uuid.uuid4())
        kernel, ramdisk = self.file("k", b"kernel"), self.file("r", b"ramdisk")
        guest = self.guest(
            *("--uuid", identity.upper(), "--vcpus", "3", "--memory", "2048", "--arch", "amd64"),
            *("--machine", "pc", "--cpu", "Nehalem", "--firmware", "BIOS", "--video", "vga"),
            *("--disk", "1.5", "--ephemeral", "0.5", "--ephemeral", "2", "--swap", "64"),
            *("--disk-bus", "sata", "--image-format", "qcow2", "--checksum", "md5:" + "0" * 32),
            *("--kernel", kernel, "--ramdisk", ramdisk, "--cmdline", "console=ttyS0 quiet"),
        )
        self.assertEqual(identity, guest.uuid)
        self.assertEqual((3, 2048, "x86_64"), (guest.vcpus, guest.memory_mib, guest.architecture))
        self.assertEqual(("pc", "Nehalem"), (guest.machine, guest.cpu.model))
        self.assertEqual((Firmware.BIOS, VideoModel.VGA), (guest.firmware, guest.video))
        disks = [guest.root, *guest.ephemerals, guest.swap]
        self.assertEqual(
            [1536 * MIB, 512 * MIB, 2 * GIB, 64 * MIB], [disk.size_bytes for disk in disks]
        )
        self.assertEqual({DiskBus.SATA}, {disk.bus for disk in disks})
        self.assertIs(guest.image.format, DiskFormat.QCOW2)
        self.assertEqual(
            (kernel, ramdisk), (guest.boot.kernel.location, guest.boot.ramdisk.location)
        )
        self.assertEqual("console=ttyS0 quiet", guest.boot.cmdline)

    def test_options_win_over_limits(self) -> None:
        limited = self.guest("--hw", "hw_cpu_max_sockets=1", "--sockets", "2", "--vcpus", "2")
        self.assertEqual(Topology(sockets=2), limited.cpu.topology)

    def test_odd_sizes_are_rounded_up_to_whole_mib(self) -> None:
        self.assertEqual(103 * MIB, self.guest("--disk", "0.1").root.size_bytes)

    def test_relative_image_is_made_absolute_and_url_is_not(self) -> None:
        with mock.patch.object(
            fake.FakeDriver, "spawn", autospec=True, side_effect=exceptions.ImageError("x")
        ) as spawn:
            self.run_command("spawn", "a", "--image", os.path.relpath(self.image))
            self.run_command("spawn", "a", "--image", "http://host/disk.qcow2")
        relative, url = (call.args[-1].image.location for call in spawn.mock_calls)
        self.assertEqual(self.image, os.path.normpath(relative))
        self.assertEqual("http://host/disk.qcow2", url)

    def test_without_image(self) -> None:
        self.done("spawn", "a", "--disk", "1")
        self.done("spawn", "b", "--kernel", self.file("k", b"kernel"))
        guests = {info.guest.name: info.guest for info in self.driver.list()}
        self.assertEqual(GIB, guests["a"].root.size_bytes)
        self.assertIsNone(guests["b"].root)

    def test_interfaces(self) -> None:
        guest = self.guest(
            *("--nic", "network=default,model=e1000", "--nic", "bridge=br0,mac=52:54:00:AB:cd:01"),
            *("--nic", "user", "--hw", "hw_vif_model=rtl8139"),
        )
        first, second, third = guest.interfaces
        self.assertEqual((InterfaceKind.NETWORK, "default"), (first.kind, first.source))
        self.assertEqual((InterfaceKind.BRIDGE, "br0"), (second.kind, second.source))
        self.assertEqual("52:54:00:ab:cd:01", second.mac)
        self.assertEqual(
            [NicModel.E1000, NicModel.RTL8139, NicModel.RTL8139],
            [nic.model for nic in guest.interfaces],
        )
        self.assertIsNone(third.source)
        self.assertEqual((), self.guest("--nic", "none").interfaces)

    def test_devices_beyond_disks_and_network_cards(self) -> None:
        guest = self.guest(
            *("--arch", "x86_64", "--cdrom-bus", "SATA", "--scsi-model", "lsilogic"),
            *("--usb-model", "nec-xhci", "--sound", "ich9", "--watchdog", "reset"),
            *("--serial-ports", "2", "--boot-menu", "--os-type", "windows"),
            *("--hw", "hw_sound_model=ac97", "--hw", "hw_rng:rate_bytes=10"),
        )
        self.assertEqual(
            (DiskBus.SATA, "lsilogic", "nec-xhci", "ich9", "reset", 2, True, "windows", 10),
            (
                *(guest.cdrom_bus, guest.scsi_model, guest.usb_model, guest.sound),
                *(guest.watchdog, guest.serial_ports, guest.boot_menu, guest.os_type),
                guest.rng_rate.size_bytes,
            ),
        )

    def test_image_properties_are_defaults_of_options(self) -> None:
        properties = (
            *(
                "--hw",
                "hw_disk_bus=ide",
                "--hw",
                "hw_machine_type=pc",
                "--hw",
                "hw_video_model=vga",
            ),
            *("--hw", "hw_firmware_type=bios", "--hw", "hw_architecture=x86_64"),
            *("--hw", "hw_qemu_guest_agent=no"),
        )
        guest = self.guest(*properties)
        self.assertEqual((DiskBus.IDE, "pc"), (guest.root.bus, guest.machine))
        self.assertEqual((VideoModel.VGA, Firmware.BIOS), (guest.video, guest.firmware))
        self.assertFalse(guest.guest_agent)
        self.assertIs(DiskBus.SCSI, self.guest(*properties, "--disk-bus", "scsi").root.bus)


class ConfigDrive(SpawnCase):
    def test_what_the_guest_is_told(self) -> None:
        key = public_key()
        drive = self.guest(
            *("--user-data", self.file("user", b"#!\xff"), "--hostname", "web.example.org"),
            *("--key", self.file("id.pub", f"# mine\n{key}\n"), "--meta", "a=b=c", "--meta", "d="),
        ).config_drive
        self.assertEqual((b"#!\xff", "web.example.org"), (drive.user_data, drive.hostname))
        self.assertEqual(({"id": key}, {"a": "b=c", "d": ""}), (drive.public_keys, drive.meta))

    def test_made_for_an_image_or_for_data_unless_refused(self) -> None:
        self.assertIsNotNone(self.guest().config_drive)
        self.assertIsNone(self.guest("--no-config-drive").config_drive)
        for name, words, made in (
            ("data", ["--meta", "a=b"], True),
            ("asked", ["--config-drive"], True),
            ("empty", [], False),
        ):
            self.done("spawn", name, "--disk", "1", *words)
            drive = self.driver.show(self.driver.find(name)).guest.config_drive
            self.assertEqual(made, drive is not None, name)

    def test_hostname_is_made_from_the_name(self) -> None:
        for name, hostname in (("My Web_1", "my-web-1"), ("東京", "guest"), ("a" * 80, "a" * 63)):
            self.done("spawn", name, "--image", self.image, "--config-drive")
            guest = self.driver.show(self.driver.find(name)).guest
            self.assertEqual(hostname, guest.config_drive.hostname)

    def test_keys_of_every_kind(self) -> None:
        kinds = ("ssh-rsa", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com")
        path = self.file("keys", "\n".join(public_key(kind, "") for kind in kinds))
        self.assertEqual(3, len(self.guest("--key", path).config_drive.public_keys))

    def test_keys_after_a_byte_order_mark(self) -> None:
        key = public_key()
        path = self.file("id.pub", f"\ufeff{key}\n")
        self.assertEqual({"id": key}, self.guest("--key", path).config_drive.public_keys)

    def test_two_files_of_one_name(self) -> None:
        (self.directory / "other").mkdir()
        first, second = self.file("id.pub", public_key()), self.file("other/id.pub", public_key())
        guest = self.guest("--key", first, "--key", second)
        self.assertEqual(2, len(guest.config_drive.public_keys))

    def test_private_key_is_refused_and_never_shown(self) -> None:
        for content in (
            PRIVATE_KEY,
            f"{public_key()}\n{PRIVATE_KEY}",
            f"ssh-rsa {SECRET}",
            SECRET,
            b"\xff\x00",
        ):
            path = self.file("id", content)
            for debug in ((), ("--debug",)):
                outcome = self.run_command(
                    "spawn", "a", "--image", self.image, "--key", path, *debug
                )
                self.assertEqual(2, outcome.status)
                self.assertIn(
                    f"key: '{path}' is not usable; accepted: a file of public", outcome.err
                )
                self.assertNotIn(SECRET, outcome.err + outcome.out)
        self.assertEqual((), self.driver.list())


class Refused(SpawnCase):
    def test_bad_options(self) -> None:
        for words, expected in BAD_OPTIONS.items():
            with self.subTest(words):
                text = self.refused(2, "spawn", "a", "--image", self.image, *words)
                self.assertIn(expected, text)
        self.assertEqual((), self.driver.list())

    def test_bad_names(self) -> None:
        for name in (*BAD_NAMES, str(uuid.uuid4())):
            with self.subTest(name):
                text = self.refused(2, "spawn", "--image", self.image, "--", name)
                self.assertIn("name: ", text)

    def test_sound_names(self) -> None:
        for name in ("it's", 'say "x"', "a b", "<&>", "x" * 128, "%s", "$(id)"):
            self.done("spawn", name, "--image", self.image)
            self.assertTrue(self.driver.find(name))

    def test_size_is_shown_as_the_user_writes_it(self) -> None:
        self.assertIn("--disk: 0 is not usable", self.refused(2, "spawn", "a", "--disk", "0"))

    def test_swap_of_no_size_is_no_disk(self) -> None:
        self.assertIsNone(self.guest("--swap", "0").swap)

    def test_nothing_to_boot(self) -> None:
        for words in ((), ("--disk", "0"), ("--image", ""), ("--image-format", "raw")):
            with self.subTest(words):
                self.refused(2, "spawn", "a", *words)

    def test_what_the_driver_refuses(self) -> None:
        self.done("spawn", "a", "--image", self.image)
        self.assertIn("there is a guest 'a'", self.refused(1, "spawn", "a", "--image", self.image))
        words = ("spawn", "b", "--image", "/nonexistent/x")
        self.assertIn("--image: '/nonexistent/x' is not usable", self.refused(2, *words))
        text = self.refused(
            2, "spawn", "c", "--image", self.image, "--arch", "s390x", "--disk-bus", "sata"
        )
        self.assertEqual("--disk-bus: 'sata' is not usable; accepted: scsi, virtio", text)
        self.assertEqual(1, len(self.driver.list()))


class Quotas(SpawnCase):
    def test_interface_that_cannot_be_limited_is_refused_by_the_property(self) -> None:
        words = ("spawn", "web", "--disk", "1", "--hw", "quota:vif_inbound_average=10")
        self.assertIn("quota:vif_inbound_*: ", self.refused(2, *words))


class Waiting(SpawnCase):
    def test_returns_when_the_text_is_shown(self) -> None:
        with mock.patch.object(
            self.driver, "console_wait", side_effect=self.driver.console_wait
        ) as wait:
            self.guest("--wait", fake.BANNER)
        self.assertEqual(fake.BANNER, wait.call_args.args[1])

    def test_timeout_leaves_the_guest(self) -> None:
        text = self.refused(
            *(1, "spawn", "a", "--image", self.image, "--wait", "never", "--timeout", "0.05")
        )
        self.assertEqual(
            "the console of guest 'a' did not show 'never' within 0.05 s; guest 'a' stays", text
        )
        self.assertTrue(self.driver.find("a"))

    def test_formats(self) -> None:
        out = self.done("spawn", "a", "--image", self.image, "-f", "value", "-c", "uuid").out
        self.assertEqual(f"{self.driver.find('a')}\n", out)
