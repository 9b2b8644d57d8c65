# SPDX-License-Identifier: Apache-2.0
"""Screens of real guests over VNC and SPICE."""

from __future__ import annotations

import io
import socket
import struct
import tempfile
import unittest
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import PIL.Image

from compute_driver import exceptions
from compute_driver.choices import RebootKind, VideoModel
from compute_driver.consoles import DisplayKind
from compute_driver.drivers.libvirt import LibvirtDriver
from compute_driver.info import Display
from compute_driver.libvirt import daemon
from compute_driver.libvirt.daemon import EmbeddedDaemon
from tests import rfb, spice
from tests.functional import base, inside, tiny

#: Seconds that a server may take to answer, on a busy machine.
ANSWER = 60.0


def address(found: Display) -> tuple[str, int]:
    assert found.port is not None
    return found.host, found.port


def greeted_by_spice(found: Display) -> bool:
    """Tell whether a SPICE server answers."""
    with socket.create_connection(address(found), ANSWER) as connection:
        connection.sendall(spice.HELLO)
        return connection.recv(4) == spice.MAGIC


class TestScreen(inside.SharedGuestTestCase):
    """One guest, served by both protocols."""

    options: ClassVar[dict[str, Any]] = {
        "vnc_listen": "127.0.0.1",
        "spice_listen": "127.0.0.1",
        "spice_image_compression": "auto_glz",
        "spice_jpeg_compression": "auto",
        "spice_zlib_compression": "auto",
        "spice_playback_compression": False,
        "spice_streaming_mode": "filter",
    }

    def display(self, kind: DisplayKind = DisplayKind.VNC) -> Display:
        return self.driver.display(self.made.uuid, kind=kind)

    def test_vnc_shows_the_screen_and_passes_keys_on(self) -> None:
        with rfb.Client(address(self.display()), ANSWER) as client:
            picture = PIL.Image.open(io.BytesIO(self.driver.screenshot(self.made.uuid)))
            self.assertEqual(picture.size, (client.width, client.height))
            self.assertIn(self.made.name, client.name)
            pixels = client.picture()
            self.assertGreater(len(set(struct.iter_unpack("I", pixels))), 1, "a blank screen")
            before = len(self.driver.console_log(self.made.uuid))
            client.type("run echo Typed >/dev/console\n")
            self.driver.console_wait(self.made.uuid, "Typed", timeout=ANSWER, skip_bytes=before)
            self.assertNotEqual(pixels, client.picture())

    def test_spice_answers_and_has_its_agent_s_channel(self) -> None:
        self.assertTrue(greeted_by_spice(self.display(DisplayKind.SPICE)))
        ports = self.run_inside("cat /sys/class/virtio-ports/*/name")
        self.assertIn("com.redhat.spice.0", ports)
        self.assertIn("org.qemu.guest_agent.0", ports)

    def test_screen_is_served_again_after_a_suspension_and_a_reboot(self) -> None:
        self.driver.suspend(self.made.uuid)
        with self.assertRaises(exceptions.InvalidGuestState):
            self.display()
        self.driver.resume(self.made.uuid)
        rfb.Client(address(self.display()), ANSWER).close()
        self.driver.pause(self.made.uuid)
        rfb.Client(address(self.display()), ANSWER).close()
        self.driver.resume(self.made.uuid)
        with inside.boots(self.driver, self.made):
            self.driver.reboot(self.made.uuid, kind=RebootKind.HARD)
        rfb.Client(address(self.display()), ANSWER).close()
        self.assertTrue(greeted_by_spice(self.display(DisplayKind.SPICE)))


class TestServing(tiny.TinyTestCase):
    def test_nothing_is_served_by_default(self) -> None:
        made = self.spawn_tiny()
        with self.assertRaisesRegex(exceptions.ConsoleUnavailable, "vnc_listen"):
            self.driver.display(made.uuid)

    def test_change_of_the_configuration_holds_from_the_next_hard_reboot(self) -> None:
        made = self.spawn_tiny()
        driver = self.other_driver(vnc_listen="127.0.0.1")
        with self.assertRaises(exceptions.ConsoleUnavailable):
            driver.display(made.uuid)
        driver.reboot(made.uuid, kind=RebootKind.HARD)
        self.assertEqual("127.0.0.1", driver.display(made.uuid).host)

    def test_every_adapter_is_served_and_photographed(self) -> None:
        driver = self.other_driver(vnc_listen="127.0.0.1", spice_listen="127.0.0.1")
        for video in (None, *VideoModel):
            if video is VideoModel.NONE:
                continue
            with self.subTest(video):
                made = tiny.guest(video=video)
                self.addCleanup(driver.destroy, made.uuid)
                driver.spawn(made)
                self.assertTrue(greeted_by_spice(driver.display(made.uuid, kind=DisplayKind.SPICE)))
                with rfb.Client(address(driver.display(made.uuid)), ANSWER) as client:
                    self.assertGreaterEqual((client.width, client.height), (640, 400))
                self.assertTrue(driver.screenshot(made.uuid).startswith(b"\x89PNG"))
                driver.destroy(made.uuid)

    def test_address_that_the_host_lacks_leaves_nothing(self) -> None:
        driver = self.other_driver(vnc_listen="192.0.2.1")
        with self.assertRaises(exceptions.HostError):
            driver.spawn(tiny.guest())

    def test_encryption_that_libvirt_is_not_set_up_for_leaves_nothing(self) -> None:
        driver = self.other_driver(spice_listen="127.0.0.1", spice_require_secure=True)
        with self.assertRaisesRegex(exceptions.HostError, "TLS"):
            driver.spawn(tiny.guest())

    def test_guest_gets_another_port_when_its_own_is_taken(self) -> None:
        driver = self.other_driver(vnc_listen="127.0.0.1")
        made = self.spawn_tiny()
        driver.reboot(made.uuid, kind=RebootKind.HARD)
        taken = driver.display(made.uuid)
        driver.stop(made.uuid, timeout=0)
        with socket.create_server(address(taken)):
            driver.start(made.uuid)
            self.assertNotEqual(taken.port, driver.display(made.uuid).port)


class TestPassword(unittest.TestCase):
    """A test with its own libvirt, whose configuration has a password for all screens."""

    PASSWORD = "T0pSecrt"

    def test_password_of_libvirt_holds_and_stays_in_its_file(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="cd-", dir="/var/tmp")
        self.addCleanup(folder.cleanup)
        state = Path(folder.name)
        self.addCleanup(EmbeddedDaemon(state).stop)
        original = daemon.configuration

        def configuration(privileged: bool, size: int) -> dict[str, dict[str, daemon.Setting]]:
            files = original(privileged, size)
            return files | {"qemu.conf": files["qemu.conf"] | {"vnc_password": self.PASSWORD}}

        options = {"state_path": folder.name, "vnc_listen": "127.0.0.1"}
        options["serial_listen"] = "127.0.0.1"
        with (
            mock.patch.object(daemon, "configuration", configuration),
            self.assertLogs(level="DEBUG") as logs,
        ):
            driver = LibvirtDriver(base.configuration(**options))
            self.addCleanup(driver.close)
            made = tiny.guest()
            self.addCleanup(driver.destroy, made.uuid)
            driver.spawn(made)
            with self.assertRaisesRegex(ConnectionError, r"wants one of \(2,\)"):
                rfb.Client(address(driver.display(made.uuid)), ANSWER)
        self.assertNotIn(self.PASSWORD, "".join(logs.output))
        holders = [path for path in state.rglob("*") if path.is_file() and self.holds(path)]
        self.assertEqual([state / "libvirt/etc/libvirt/qemu.conf"], holders)

    def holds(self, path: Path) -> bool:
        return self.PASSWORD.encode() in path.read_bytes()
