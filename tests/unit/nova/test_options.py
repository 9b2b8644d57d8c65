# SPDX-License-Identifier: Apache-2.0
"""What the driver says of the options of an operator's nova.conf."""

from __future__ import annotations

import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from compute_driver import exceptions
from compute_driver.choices import FileSystem
from compute_driver.conf import hypervisor, sources
from compute_driver.hardware import architecture
from compute_driver.nova.options import report
from compute_driver.nova.options.rules import Effect, Rule, text

#: Options of nova's own driver, each with another value than the default.
FULL = """
[DEFAULT]
transport_url = rabbit://nova:secret@broker/
config_drive_format = vfat
pci_alias = {"name": "a1"}
preallocate_images = space
vnc_enabled = off
[libvirt]
cpu_mode = custom
cpu_model = Haswell
disk_cachemodes = network=writeback, file=none
images_type = rbd
inject_partition = -1
iscsi_use_multipath = yes
live_migration_permit_post_copy = true
nonsense = 1
snapshot_compression = False
swtpm_enabled = True
swtpm_user = tss
virt_type = LXC
volume_clear = shred
[compute]
cpu_shared_set = 0-3
vmdk_allowed_types = monolithicSparse, streamOptimized
[pci]
passthrough_whitelist = {"vendor_id": "8086"}
[workarounds]
disable_deep_image_inspection = 1
[glance]
api_servers = http://192.0.2.1
"""

REPORT = """
refused: [DEFAULT] config_drive_format = vfat: config drives are ISO 9660 images; accepted: iso9660
refused: [libvirt] images_type = rbd: disks of guests are qcow2 and raw files; accepted: default,\
 qcow2, raw, flat
refused: [libvirt] inject_partition = -1: the driver writes nothing into guests' disks; accepted: -2
refused: [libvirt] virt_type = LXC: the driver runs KVM and QEMU only; accepted: kvm, qemu
warning: [libvirt] volume_use_multipath = yes: the driver has no volumes, and refuses instances\
 with volumes; accepted: false
warning: [libvirt] live_migration_permit_post_copy = true: the driver has no live migration;\
 accepted: false
warning: [libvirt] nonsense: nova has no such option
warning: [libvirt] swtpm_enabled = True: the driver has no TPM, and refuses instances that ask for\
 one; accepted: false
warning: [pci] device_spec = {"vendor_id": "8086"}: the driver reports no PCI devices, and refuses\
 them in flavors; accepted: unset
warning: [workarounds] disable_deep_image_inspection = 1: the driver inspects every image;\
 accepted: false
"""


def read(content: str) -> dict[tuple[str, str], str]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "nova.conf")
        path.write_text(content)
        return dict(report.of_settings(sources.written([str(path)])))


def rules() -> Iterator[tuple[str, Rule]]:
    for group, rows in report.TABLE.items():
        for name, rule in rows.items():
            yield f"[{group}] {name}", rule


class TableTest(unittest.TestCase):
    def test_own_options_exist(self) -> None:
        own = {option.dest for option in hypervisor.OPTIONS}
        self.assertEqual(set(), {rule.own for _, rule in rules() if rule.own} - own)

    def test_every_rule_has_words_for_every_value(self) -> None:
        for name, rule in rules():
            with self.subTest(name):
                self.assertIn(rule.effect, (Effect.WORKS, Effect.NEEDLESS))
                self.assertTrue(rule.about or rule.accepted)
                self.assertEqual(bool(rule.accepted), bool(rule.lack))


class ReportTest(unittest.TestCase):
    maxDiff = None

    def test_file_full_of_options_gives_one_line_for_each_without_effect(self) -> None:
        lines = list(report.lines(read(FULL)))
        expected = REPORT.replace("\\\n", "").strip().splitlines()
        silent = (Effect.WORKS, Effect.NEEDLESS)
        told = [f"{line.effect}: {line.text}" for line in lines if line.effect not in silent]
        self.assertEqual(expected, sorted(told, key=lambda line: line.startswith("warning")))

    def test_no_line_shows_a_password(self) -> None:
        for name, value, shown in (
            ("connection_uri", "qemu+tls://nova:pw@host/system", "qemu+tls://nova:***@host/system"),
            ("smbfs_mount_options", "-o username=n,password=pw,vers=3", "password=***,vers=3"),
            ("smbfs_mount_options", "-o user=n,PASS=pw", "PASS=***"),
            ("smbfs_mount_options", "-o username=n,password=a&pw,vers=3", "password=***,vers=3"),
            ("ceph_mount_options", "name=n,secret=pw==", "name=n,secret=***"),
            ("live_migration_uri", "qemu+ssh://h/system?passwd=pw&x=1", "?passwd=***&x=1"),
        ):
            with self.subTest(name, value=value):
                (line,) = report.lines({("libvirt", name): value})
                self.assertIn(shown, line.text)
                self.assertNotIn("pw", line.text)

    def test_options_that_work_name_the_own_option(self) -> None:
        told = {(line.group, line.name): line for line in report.lines(read(FULL))}
        for group, name, effect, words in (
            ("DEFAULT", "preallocate_images", Effect.WORKS, "[hypervisor] preallocate_disks"),
            ("compute", "cpu_shared_set", Effect.WORKS, "[hypervisor] guest_cpus"),
            ("libvirt", "cpu_models", Effect.WORKS, "= Haswell: .*cpu_models"),
            ("vnc", "enabled", Effect.WORKS, "vnc_listen"),
            ("libvirt", "volume_clear", Effect.NEEDLESS, "only for images_type lvm"),
            ("libvirt", "snapshot_compression", Effect.NEEDLESS, "changes nothing"),
            ("compute", "vmdk_allowed_types", Effect.NEEDLESS, "changes nothing"),
        ):
            with self.subTest(name):
                self.assertIs(effect, told[group, name].effect)
                self.assertRegex(told[group, name].text, words.replace("[", r"\["))
        self.assertNotIn(("glance", "api_servers"), told)

    def test_every_file_system_of_the_driver_is_accepted(self) -> None:
        for word in FileSystem:
            (line,) = report.lines(read(f"[DEFAULT]\ndefault_ephemeral_format = {word}"))
            self.assertIs(Effect.WORKS, line.effect)
        (line,) = report.lines(read("[DEFAULT]\ndefault_ephemeral_format = btrfs"))
        self.assertIs(Effect.REFUSED, line.effect)
        self.assertTrue(line.text.endswith("accepted: unset, ext2, ext3, ext4, xfs, vfat, ntfs"))

    def test_combinations_that_nova_refuses_are_refused(self) -> None:
        for settings, name in (
            ("[libvirt]\ncpu_mode = custom", "cpu_models = unset"),
            ("[libvirt]\ncpu_models = Haswell", "cpu_mode = unset"),
            (
                "[DEFAULT]\nreserved_host_cpus = 2\n[compute]\ncpu_shared_set = 0",
                "reserved_host_cpus = 2",
            ),
        ):
            with (
                self.subTest(settings),
                self.assertRaisesRegex(exceptions.ConfigurationError, f"{name}: accepted: "),
            ):
                report.complain(read(settings))

    def test_reserved_cpus_go_with_an_old_set_of_cpus(self) -> None:
        settings = (
            "[DEFAULT]\nreserved_host_cpus = 2\nvcpu_pin_set = 1\n[compute]\ncpu_shared_set = 0"
        )
        self.assertEqual(
            [], [line for line in report.complain(read(settings)) if "reserved" in line]
        )

    def test_machine_types(self) -> None:
        for value, effect, words in (
            ("x86_64=q35,arm64=virt", Effect.WORKS, "machine type"),
            ("x86_64=q35,sparc64=sun4u", Effect.WARNED, "sparc64=sun4u: the driver has no guests"),
            ("x86_64 = q35", Effect.WORKS, "machine type"),
            ("x86_64=isapc", Effect.REFUSED, "x86_64=isapc: accepted: .*pc-q35"),
            ("q35", Effect.REFUSED, "q35: accepted: pairs such as x86_64=q35"),
            ("x86_64=", Effect.REFUSED, "x86_64: accepted: .*pc-q35"),
        ):
            with self.subTest(value):
                *_, line = report.lines(read(f"[libvirt]\nhw_machine_type = {value}"))
                self.assertIs(effect, line.effect)
                self.assertRegex(line.text, words)

    def test_values_that_guests_get_another_value_for(self) -> None:
        settings = "[libvirt]\nnum_pcie_ports = 28\ncpu_mode = host-model"
        for host, names in (
            ("x86_64", ["num_pcie_ports"]),
            ("aarch64", ["num_pcie_ports", "cpu_mode"]),
            ("alpha", ["num_pcie_ports"]),
        ):
            with (
                self.subTest(host),
                mock.patch.object(architecture, "of_host", return_value=host),
            ):
                warned = [
                    line for line in report.lines(read(settings)) if line.effect is Effect.WARNED
                ]
                self.assertEqual(names, [line.name for line in warned])

    def test_start_is_refused_with_all_reasons_and_else_has_the_warnings(self) -> None:
        with self.assertRaises(exceptions.ConfigurationError) as caught:
            report.complain(read(FULL))
        for name in ("config_drive_format", "images_type", "inject_partition", "virt_type"):
            self.assertIn(name, str(caught.exception))
        warnings = report.complain({("libvirt", "swtpm_enabled"): text(True)})
        self.assertEqual(1, len(warnings))
        self.assertEqual([], report.complain({("libvirt", "swtpm_enabled"): text(False)}))
