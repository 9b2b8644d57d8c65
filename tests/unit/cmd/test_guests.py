# SPDX-License-Identifier: Apache-2.0
"""Verbs on existing guests."""

from __future__ import annotations

import dataclasses
import os
import uuid
from unittest import mock

from compute_driver.choices import Accelerator, InterfaceKind, PowerState, RebootKind
from compute_driver.cmd import host_show
from compute_driver.drivers import fake
from compute_driver.guest import (
    GIB,
    MIB,
    ConfigDrive,
    Cpu,
    Disk,
    Interface,
    PublishedPort,
    StaticAddress,
    Topology,
    renamed,
)
from compute_driver.hardware import architecture
from compute_driver.info import ArchitectureInfo, Check, Finding, MachineType
from tests.unit.cmd.base import CommandLineCase

# Verbs that take one guest, with the other arguments that they need.
ON_ONE = {
    "destroy": (),
    "start": (),
    "stop": (),
    "pause": (),
    "resume": (),
    "suspend": (),
    "reboot": (),
    "resize": ("--vcpus", "2"),
    "attach interface": ("user",),
    "detach interface": ("52:54:00:00:00:01",),
    "confirm resize": (),
    "revert resize": (),
    "show": (),
    "stats": (),
    "console log": (),
    "console attach": (),
    "screenshot": ("/nonexistent/x.png",),
}


class Power(CommandLineCase):
    def state(self, name: str = "web") -> PowerState:
        return self.driver.show(self.driver.find(name)).state

    def test_verbs_change_the_state(self) -> None:
        self.spawned()
        for words, state in (
            (["pause", "web"], PowerState.PAUSED),
            (["resume", "web"], PowerState.RUNNING),
            (["suspend", "web"], PowerState.SUSPENDED),
            (["start", "web"], PowerState.RUNNING),
            (["stop", "web"], PowerState.STOPPED),
            (["start", "web"], PowerState.RUNNING),
            (["stop", "web", "--timeout", "0"], PowerState.STOPPED),
        ):
            with self.subTest(words):
                self.assertEqual("", self.done(*words).out)
                self.assertIs(self.state(), state)

    def test_display(self) -> None:
        self.spawned()
        self.assertIn("vnc_listen", self.refused(1, "display", "web"))
        self.driver.conf.set_override("vnc_listen", "192.0.2.7", "hypervisor")
        self.spawned("other")
        shown = self.done("display", "other", "--kind", "vnc").json
        self.assertEqual(("vnc", "192.0.2.7"), (shown["kind"], shown["host"]))
        self.assertIn("SPICE", self.refused(1, "display", "other", "--kind", "spice"))

    def test_console_address(self) -> None:
        self.driver.conf.set_override("serial_listen", "192.0.2.7", "hypervisor")
        guest = self.spawned()
        shown = self.done("console", "address", "web").json
        self.assertEqual(self.driver.console_address(guest.uuid).port, shown["port"])
        self.assertEqual("192.0.2.7", shown["host"])

    def test_guest_is_named_by_uuid_in_any_case(self) -> None:
        guest = self.spawned()
        self.done("pause", guest.uuid.upper())
        self.assertIs(self.state(), PowerState.PAUSED)

    def test_options_reach_the_driver(self) -> None:
        guest = self.spawned()
        with mock.patch.object(fake.FakeDriver, "stop", autospec=True, return_value=None) as stop:
            self.done("stop", "web", "--timeout", "1.5")
            self.done("stop", "web")
        self.assertEqual(
            [
                mock.call(self.driver, uuid=guest.uuid, timeout=1.5),
                mock.call(self.driver, uuid=guest.uuid, timeout=None),
            ],
            stop.mock_calls,
        )

    def test_reboot_prints_the_kind(self) -> None:
        self.spawned()
        self.assertEqual("soft\n", self.done("reboot", "web").out)
        self.assertEqual("hard\n", self.done("reboot", "web", "--hard").out)
        with mock.patch.object(
            fake.FakeDriver, "reboot", autospec=True, return_value=RebootKind.HARD
        ) as reboot:
            self.assertEqual("hard\n", self.done("reboot", "web", "--timeout", "3").out)
        self.assertEqual(3, reboot.call_args.kwargs["timeout"])

    def test_reboot_waits_for_what_is_shown_afterwards(self) -> None:
        self.spawned()
        self.done("reboot", "web", "--wait", f"boot 2\r\n{fake.BANNER}")
        self.assertEqual("soft\n", self.done("reboot", "web", "--wait", "boot 3").out)
        outcome = self.run_command(
            *("reboot", "web", "--hard", "--wait", "boot 3", "--wait-timeout", "0.05")
        )
        self.assertEqual((1, "hard\n"), (outcome.status, outcome.out))
        self.assertIn("did not show 'boot 3' within 0.05 s", outcome.err)

    def test_state_that_does_not_allow_it(self) -> None:
        self.spawned()
        self.done("stop", "web")
        self.assertEqual(
            "cannot pause guest 'web': it is stopped; accepted: paused, running",
            self.refused(1, "pause", "web"),
        )

    def test_destroy(self) -> None:
        self.spawned()
        self.done("destroy", "web")
        self.assertEqual((), self.driver.list())

    def test_interfaces_come_and_go(self) -> None:
        guest = self.spawned()
        mac = self.done("attach", "interface", "web", "bridge=br0,mtu=1400").out.strip()
        (_first, second) = self.driver.show(guest.uuid).guest.interfaces
        self.assertEqual((mac, "br0", 1400), (second.mac, second.source, second.mtu))
        self.assertIn("nic: ", self.refused(2, "attach", "interface", "web", "none"))
        text = self.refused(2, "attach", "interface", "web", "user,address=192.0.2.5/24")
        self.assertRegex(text, ",queues=N$")
        self.done("detach", "interface", "web", mac, "--timeout", "1")
        self.assertEqual(guest, self.driver.show(guest.uuid).guest)
        text = self.refused(1, "detach", "interface", "web", mac)
        self.assertEqual(f"guest 'web' has no interface '{mac}'", text)

    def test_resize_on_trial(self) -> None:
        guest = self.spawned(
            vcpus=2, cpu=Cpu(topology=Topology(cores=2)), root=Disk(size_bytes=4 * MIB)
        )
        words = ("--memory", "1024", "--disk", "2", "--ephemeral", "1", "--swap", "64")
        self.done("resize", "web", "--vcpus", "3", *words, "--check-only")
        self.done("resize", "web", "--vcpus", "3", *words, "--no-power-on", "--timeout", "0")
        shown = self.driver.show(guest.uuid)
        self.assertEqual((3, 1024, None), (shown.guest.vcpus, shown.guest.memory_mib, None))
        self.assertEqual(Disk(size_bytes=2 * GIB), shown.guest.root)
        self.assertEqual((Disk(size_bytes=GIB),), shown.guest.ephemerals)
        self.assertEqual(Disk(size_bytes=64 * MIB), shown.guest.swap)
        self.assertIs(self.state(), PowerState.STOPPED)
        self.assertIn("2 vcpus; 512 MiB; root: 4 MiB", self.done("show", "web").out)
        self.done("revert", "resize", "web")
        self.assertEqual(guest, self.driver.show(guest.uuid).guest)
        self.assertIs(self.state(), PowerState.RUNNING)
        self.done("resize", "web", "--swap", "1")
        self.assertIn(
            "it is resized and not yet confirmed; accepted: a guest after 'confirm resize' or"
            " 'revert resize'",
            self.refused(1, "resize", "web", "--swap", "2"),
        )
        self.done("confirm", "resize", "web")
        self.assertIsNone(self.driver.show(guest.uuid).before)
        self.assertIn("size is missing", self.refused(2, "resize", "web"))
        self.assertIn(
            "--disk: '2.00 MiB (2097152 bytes)' is not usable; accepted: 4.00 MiB (4194304 bytes)",
            self.refused(2, "resize", "web", "--disk", "0.001"),
        )
        self.assertEqual(
            "--disk: 0 is not usable; accepted: a size in GiB above 0",
            self.refused(2, "resize", "web", "--disk", "0"),
        )

    def test_resize_under_a_name_that_no_guest_can_have_names_the_remedy(self) -> None:
        guest = self.spawned()
        found = dataclasses.replace(self.driver.show(guest.uuid), guest=renamed(guest, "-web"))
        with mock.patch.object(fake.FakeDriver, "show", return_value=found):
            text = self.refused(1, "resize", guest.uuid, "--vcpus", "3")
        self.assertIn(f"'virsh domrename' gives domain {guest.uuid} another name", text)

    def test_resize_to_the_same_size_is_refused(self) -> None:
        made = self.spawned(
            vcpus=2, cpu=Cpu(topology=Topology(cores=2)), root=Disk(size_bytes=4 * GIB)
        )
        for words in (
            ("--vcpus", "2", "--memory", "512", "--disk", "4", "--swap", "0"),
            ("--vcpus", "2", "--check-only"),
        ):
            text = self.refused(2, "resize", "web", *words)
            self.assertIn("size: '2 vcpus; 512 MiB; root: 4096 MiB, bus default'", text)
            self.assertIn("another size than now", text)
        self.assertEqual(made, self.driver.show(made.uuid).guest)
        self.assertIs(self.state(), PowerState.RUNNING)

    def test_unknown_guest_is_refused_by_every_verb(self) -> None:
        for verb, more in ON_ONE.items():
            for name in ("nobody", str(uuid.uuid4()), "it's", "a\nb", "x" * 300, ""):
                with self.subTest(verb=verb, name=name):
                    text = self.refused(1, *verb.split(), name, *more)
                    self.assertIn("no such guest: ", text)

    def test_missing_and_superfluous_arguments(self) -> None:
        for verb, more in ON_ONE.items():
            with self.subTest(verb):
                if verb != "stats":
                    self.assertIn("required: GUEST", self.refused(2, *verb.split()))
                self.assertIn(
                    "unrecognized arguments: too --bad",
                    self.refused(2, *verb.split(), "web", *more, "too", "--bad"),
                )

    def test_bad_numbers(self) -> None:
        self.spawned()
        for words in (
            ("stop", "web", "--timeout", "soon"),
            ("stop", "web", "--timeout", "nan"),
            ("stop", "web", "--timeout", "-1"),
            ("reboot", "web", "--timeout=-1"),
            ("reboot", "web", "--timeout", "inf"),
            ("reboot", "web", "--wait-timeout", "3"),
            ("reboot", "web", "--hard", "--soft"),
            ("spawn", "other", "--timeout", "3"),
            ("console", "log", "web", "--bytes=-1"),
            ("console", "log", "web", "--bytes", "many"),
        ):
            with self.subTest(words):
                self.refused(2, *words)


class Tables(CommandLineCase):
    def test_list(self) -> None:
        first = self.spawned("web", vcpus=2, memory_mib=256)
        self.spawned("db", architecture="s390x")
        self.assertEqual(
            ["db", "web"], [row["Name"] for row in self.done("list", "-f", "json").json]
        )
        self.assertEqual(
            {
                "UUID": first.uuid,
                "Name": "web",
                "State": "running",
                "State Reason": "",
                "Architecture": first.architecture,
                "Accelerator": "kvm",
                "VCPUs": 2,
                "Memory MiB": 256,
                "Addresses": [],
                "Published": [],
            },
            self.done("list", "-f", "json").json[1],
        )

    def test_formats(self) -> None:
        guest = self.spawned()
        for words in (["list"], ["show", "web"], ["stats"], ["stats", "web"]):
            for kind in ("table", "json", "yaml", "value"):
                with self.subTest(words=words, kind=kind):
                    self.assertIn(guest.uuid, self.done(*words, "-f", kind).out)
            self.refused(2, *words, "-f", "xml")
        self.assertEqual(
            "web running\n", self.done("list", "-f", "value", "-c", "Name", "-c", "State").out
        )

    def test_lists_are_text_in_formats_of_text_and_lists_in_json(self) -> None:
        nic = Interface(published=tuple(PublishedPort(port=n, guest_port=n) for n in (80, 81)))
        self.spawned(interfaces=(nic,))
        ports = ["127.0.0.1:80:80/tcp", "127.0.0.1:81:81/tcp"]
        for words, kind, expected in (
            (("list", "-c", "Published"), "value", f"{ports[0]} {ports[1]}\n"),
            (("list", "-c", "Published"), "csv", f'"Published"\n"{ports[0]} {ports[1]}"\n'),
            (("show", "web", "-c", "published"), "value", f"{ports[0]}\n{ports[1]}\n"),
            (("show", "web", "-c", "published"), "shell", f'published="{ports[0]}\n{ports[1]}"\n'),
        ):
            with self.subTest(words=words, kind=kind):
                self.assertEqual(expected, self.done(*words, "-f", kind).out.replace("\r", ""))
        self.assertEqual(ports, self.done("list", "-f", "json").json[0]["Published"])
        self.assertEqual(ports, self.done("show", "web", "-f", "json").json["published"])
        architectures = self.done("host", "show", "-f", "value", "-c", "architectures").out
        self.assertNotIn("{'", architectures)

    def test_static_addresses_are_shown(self) -> None:
        static = {"52:54:00:00:00:01": (StaticAddress(address="192.0.2.5/24"),)}
        drive = ConfigDrive(hostname="web", addresses=static)
        nics = tuple(Interface(mac=f"52:54:00:00:00:0{n}") for n in (1, 2))
        guest = self.spawned(interfaces=nics, config_drive=drive)
        self.assertEqual(["192.0.2.5/24"], self.done("show", "web", "-f", "json").json["addresses"])
        listed = ("list", "-f", "value", "-c", "Addresses")
        self.assertEqual("192.0.2.5/24\n", self.done(*listed).out)
        self.assertIn("has no address", self.refused(2, "publish", "web", "2222:22"))
        self.done("detach", "interface", guest.uuid, "52:54:00:00:00:01")
        self.assertEqual("\n", self.done(*listed).out)

    def test_unknown_columns_are_refused_before_anything_is_done(self) -> None:
        self.spawned()
        for words in (["list"], ["stats"], ["show", "web"], ["host", "show"], ["spawn", "new"]):
            with self.subTest(words):
                text = self.refused(2, *words, "-c", "Nope", "-c", "name")
                self.assertIn("column: 'Nope' is not usable; accepted: ", text)
        text = self.refused(2, "list", "--sort-column", "Nope")
        self.assertIn("column: 'Nope' is not usable; accepted: ", text)
        self.assertEqual('"Name"\n"web"', self.done("list", "-f", "csv", "-c", "name").out.strip())

    def test_list_of_nothing(self) -> None:
        self.assertEqual([], self.done("list", "-f", "json").json)
        self.assertEqual("", self.done("list").out)
        self.assertIn("Name", self.done("list", "--print-empty").out)

    def test_bad_width_in_the_environment_is_named(self) -> None:
        for name in ("CLIFF_MAX_TERM_WIDTH", "CLIFF_FIT_WIDTH"):
            with mock.patch.dict(os.environ, {name: "wide"}):
                text = self.refused(2, "list")
            self.assertEqual(f"{name}: 'wide' is not usable; accepted: a whole number", text)

    def test_name_of_any_language(self) -> None:
        self.spawned("büro 東京 'x'")
        self.assertEqual("büro 東京 'x'\n", self.done("list", "-f", "value", "-c", "Name").out)
        self.done("pause", "büro 東京 'x'")

    def test_show(self) -> None:
        nic = Interface(kind=InterfaceKind.BRIDGE, source="br0", mac="52:54:00:00:00:01")
        guest = self.spawned(interfaces=(nic,))
        shown = self.done("show", "web", "-f", "json").json
        self.assertEqual(
            (guest.uuid, "web", "running"), (shown["uuid"], shown["name"], shown["state"])
        )
        self.assertIn("simulated", shown["reason"])
        self.assertEqual(["root: 1 MiB, bus default"], shown["disks"])
        self.assertEqual(["bridge=br0,model=default,mac=52:54:00:00:00:01"], shown["interfaces"])

    def test_stats(self) -> None:
        counted = Interface(kind=InterfaceKind.BRIDGE, source="br0", mac="52:54:00:00:00:01")
        self.spawned("web", memory_mib=64, interfaces=(Interface(), counted))
        (row,) = self.done("stats", "web", "-f", "json").json
        self.assertEqual((64, 512, 64), (row["Memory MiB"], row["Read Bytes"], row["Sent Bytes"]))
        self.assertEqual(1, len(self.done("stats", "-f", "json").json))

    def test_what_nobody_counts_is_not_shown_as_nothing(self) -> None:
        self.spawned("web", interfaces=(Interface(),))
        (row,) = self.done("stats", "web", "-f", "json").json
        self.assertEqual((None, None), (row["Received Bytes"], row["Sent Bytes"]))
        self.done("stop", "web")
        (row,) = self.done("stats", "web", "-f", "json").json
        self.assertEqual((0, 0), (row["Received Bytes"], row["Sent Bytes"]))


class Host(CommandLineCase):
    def test_show(self) -> None:
        self.spawned()
        shown = self.done("host", "show", "-f", "json").json
        self.assertEqual("fake", shown["driver"])
        found = {each["architecture"]: each for each in shown["architectures"]}
        self.assertEqual("kvm", found[architecture.of_host()]["accelerator"])
        self.assertIn("hardware-assisted", self.done("host", "show", "-f", "table").out)
        for kind in ("table", "yaml", "value"):
            self.assertIn("fake", self.done("host", "show", "-f", kind).out)

    def test_show_of_further_architectures(self) -> None:
        shown = self.driver.host_show()
        with mock.patch.object(fake.FakeDriver, "host_show", autospec=True) as show:
            show.return_value = shown
            self.done("host", "show", "--arch", "s390x", "--arch", "arm64", "-f", "json")
        show.assert_called_once_with(self.driver, architectures=["s390x", "arm64"])
        self.assertIn("'vax' is not usable", self.refused(2, "host", "show", "--arch", "vax"))

    def test_show_on_a_screen(self) -> None:
        info = ArchitectureInfo(
            architecture="x86_64",
            emulator="/usr/bin/qemu-system-x86_64",
            accelerator=Accelerator.TCG,
            reason="as tested",
            emulator_version="7.2.22",
            machines=(
                MachineType(name="pc-q35-2.4", deprecated=True),
                MachineType(name="pc-q35-7.2", alias="q35", default=True),
            ),
            cpu_models=tuple(f"Skylake-Server-{number}" for number in range(9)),
            firmware=("bios", "uefi"),
        )
        lines = host_show.Architectures((info,)).human_readable().splitlines()
        self.assertEqual(
            [
                "x86_64: tcg, emulation (as tested)",
                "  emulator: /usr/bin/qemu-system-x86_64 7.2.22",
                "  machines: pc-q35-7.2 (q35, default), and 1 more",
                "  CPU models: Skylake-Server-0, Skylake-Server-1, Skylake-Server-2,",
                "    Skylake-Server-3, Skylake-Server-4, Skylake-Server-5, Skylake-Server-6,",
                "    Skylake-Server-7, Skylake-Server-8",
                "  firmware: bios, uefi",
            ],
            lines,
        )

    def test_check_fails_only_on_failures(self) -> None:
        ok = Check(subject="kvm", verdict="ok", detail="fine")
        failure = Check(subject="qemu", verdict="failure", detail="none", remedy="install it")
        self.assertIn("warning", self.done("host", "check").out)
        with mock.patch.object(fake.FakeDriver, "host_check", return_value=(ok, failure)):
            outcome = self.run_command("host", "check", "-f", "json")
        self.assertEqual((1, ""), (outcome.status, outcome.err))
        self.assertEqual(["ok", "failure"], [row["Verdict"] for row in outcome.json])

    def test_audit_fails_while_findings_remain(self) -> None:
        def audit(driver: fake.FakeDriver, *, repair: bool = False) -> tuple[Finding, ...]:
            return (Finding(kind="file", subject="/x", detail="nobody's", repaired=repair),)

        self.assertEqual([], self.done("audit", "-f", "json").json)
        with mock.patch.object(fake.FakeDriver, "audit", audit):
            found = self.run_command("audit", "-f", "json")
            self.assertEqual((1, False), (found.status, found.json[0]["Repaired"]))
            self.assertTrue(self.done("audit", "--repair", "-f", "json").json[0]["Repaired"])
