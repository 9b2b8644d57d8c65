# SPDX-License-Identifier: Apache-2.0
"""The table of nova's options is complete, and the options work."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import nova
from nova import exception
from nova.compute import provider_tree
from nova.conf import CONF
from oslo_config import cfg
from oslo_utils import uuidutils

from compute_driver import exceptions
from compute_driver.conf import cpu_map, sources
from compute_driver.hardware import architecture
from compute_driver.nova import configuration, processor
from compute_driver.nova.options import report
from compute_driver.nova.options.rules import Effect, text
from tests.nova.base import NovaCase

#: Files of nova's drivers that this driver takes the place of, and of their libraries.
READERS = (
    *("virt/libvirt/**/*.py", "virt/disk/**/*.py", "virt/driver.py", "virt/hardware.py"),
    *("virt/configdrive.py", "virt/images.py", "virt/imagecache.py", "virt/netutils.py"),
    *("privsep/*.py", "pci/*.py"),
)

#: Own options that nova's options set, with nova's values.
SET: tuple[tuple[str, str, Any, str, Any], ...] = (
    ("libvirt", "virt_type", "qemu", "virt_type", "qemu"),
    ("libvirt", "connection_uri", "qemu:///session", "connection_uri", "qemu:///session"),
    ("libvirt", "cpu_mode", "none", "kvm_cpu_mode", "none"),
    ("libvirt", "cpu_model_extra_flags", ["pcid", "-VMX"], "cpu_features", ["+pcid", "-vmx"]),
    ("libvirt", "disk_cachemodes", ["file=none"], "disk_cache_modes", {"file": "none"}),
    ("libvirt", "hw_disk_discard", "ignore", "disk_discard", "ignore"),
    ("libvirt", "rx_queue_size", 512, "nic_rx_queue_size", 512),
    ("libvirt", "max_queues", 3, "nic_max_queues", 3),
    ("libvirt", "max_queues", 512, "nic_max_queues", 256),
    ("libvirt", "tb_cache_size", 99, "tcg_translation_buffer_mib", 99),
    ("libvirt", "images_type", "flat", "disk_format", "raw"),
    ("libvirt", "wait_soft_reboot_seconds", 7, "soft_reboot_timeout", 7),
    ("libvirt", "device_detach_timeout", 3, "detach_timeout", 24),
    ("libvirt", "virt_type", "lxc", "virt_type", "kvm"),
    ("serial_console", "port_range", "1:2", "serial_port_range", (1, 2)),
    ("spice", "agent_enabled", False, "spice_agent_enabled", False),
    ("spice", "image_compression", "lz", "spice_image_compression", "lz"),
    ("image_cache", "remove_unused_original_minimum_age_seconds", 5, "image_unused_seconds", 5),
    ("image_cache", "remove_unused_original_minimum_age_seconds", -1, "image_unused_seconds", 0),
    ("libvirt", "mem_stats_period_seconds", -1, "memory_stats_seconds", 0),
    ("libvirt", "mem_stats_period_seconds", 7200, "memory_stats_seconds", 7200),
    ("DEFAULT", "use_cow_images", False, "disk_format", "raw"),
    ("DEFAULT", "preallocate_images", "space", "preallocate_disks", True),
    ("DEFAULT", "vcpu_pin_set", "0-1,^1", "guest_cpus", "0"),
    ("compute", "cpu_shared_set", "1,2,3", "guest_cpus", "1-3"),
)


def options(group: str) -> dict[str, cfg.Opt]:
    """Return nova's options of a group."""
    known = CONF._opts if group == "DEFAULT" else CONF._groups[group]._opts
    return {name: entry["opt"] for name, entry in known.items()}


def read_options() -> Iterator[tuple[str, str]]:
    """Yield group and name of the options that nova's own driver reads."""
    directory = Path(nova.__file__).parent
    for path in (path for pattern in READERS for path in directory.glob(pattern)):
        for first, second in re.findall(r"CONF\.(\w+)(?:\.(\w+))?", path.read_text()):
            if first in CONF._groups and second in options(first):
                yield first, second
            elif first in options("DEFAULT"):
                yield "DEFAULT", first


class TableTest(NovaCase):
    def test_every_option_of_the_whole_groups_has_a_rule(self) -> None:
        for group, rules in report.WHOLE.items():
            self.assertEqual(set(), options(group).keys() - rules.keys(), group)

    def test_every_option_that_nova_s_own_driver_reads_has_a_rule(self) -> None:
        found = set(read_options())
        self.assertGreater(len(found), 100)
        missing = {
            (group, name) for group, name in found if name not in report.TABLE.get(group, {})
        }
        self.assertEqual(set(), missing)

    def test_defaults_of_nova_are_accepted(self) -> None:
        for group, rules in report.TABLE.items():
            for name, option in options(group).items() if group in CONF._groups else ():
                if name in rules:
                    effect = rules[name].effect_of(text(option.default))
                    self.assertIn(effect, (Effect.WORKS, Effect.NEEDLESS), f"[{group}] {name}")

    def test_converted_defaults_have_a_rule(self) -> None:
        own = {rule.own for rules in report.TABLE.values() for rule in rules.values()}
        self.assertEqual(set(), configuration.converted(CONF).keys() - own)

    def test_old_names_are_known(self) -> None:
        for group in report.WHOLE:
            for name, option in options(group).items():
                for old in option.deprecated_opts:
                    key = (old.group or group, (old.name or name).replace("-", "_"))
                    self.assertEqual((group, name), report.OLD.get(key), key)


class OptionsTest(NovaCase):
    def set(self, group: str, name: str, value: Any) -> None:
        where = None if group == "DEFAULT" else group
        CONF.set_override(name, value, where)
        self.addCleanup(CONF.clear_override, name, where)

    def test_options_set_the_defaults_of_own_options(self) -> None:
        self.addCleanup(configuration.register)
        CONF.clear_override("virt_type", "hypervisor")
        for group, name, value, own, expected in SET:
            with self.subTest(name), mock.patch.object(CONF, "_namespace", None):
                where = None if group == "DEFAULT" else group
                CONF.set_override(name, value, where)
                try:
                    configuration.register()
                    self.assertEqual(expected, CONF.hypervisor[own])
                finally:
                    CONF.clear_override(name, where)
                    CONF.clear_default(own, "hypervisor")

    def test_models_are_for_guests_under_the_accelerator(self) -> None:
        self.addCleanup(configuration.register)
        self.set("libvirt", "cpu_mode", "custom")
        self.set("libvirt", "cpu_models", ["haswell", "NEHALEM"])
        for virt_type in ("kvm", "qemu"):
            with self.subTest(virt_type):
                CONF.set_override("virt_type", virt_type, "hypervisor")
                self.addCleanup(CONF.clear_override, "virt_type", "hypervisor")
                CONF.clear_default("cpu_models", "hypervisor")
                configuration.register()
                self.assertEqual(["Haswell", "Nehalem"], CONF.hypervisor.cpu_models)
                self.assertEqual({}, CONF.hypervisor.tcg_cpu_models)
        CONF.clear_default("cpu_models", "hypervisor")

    def test_machine_types_are_for_new_instances(self) -> None:
        self.addCleanup(self.driver.__init__, self.virtapi)
        instance = self.instance()
        self.set("libvirt", "hw_machine_type", ["x86_64=pc", "arm64=virt-7.2"])
        self.driver.__init__(self.virtapi)
        for properties, machine in (
            ({"hw_architecture": "x86_64"}, "pc"),
            ({"hw_architecture": "x86_64", "hw_machine_type": "q35"}, "q35"),
            ({"hw_architecture": "aarch64"}, "virt-7.2"),
            ({"hw_architecture": "ppc64le"}, None),
        ):
            with self.subTest(properties):
                self.driver.spawn(
                    self.context, instance, self.image(**properties), [], None, {}, []
                )
                self.assertEqual(machine, self.driver._driver.show(instance.uuid).guest.machine)
                self.driver.destroy(self.context, instance, [])

    def test_machine_types_that_no_guest_can_have_are_refused(self) -> None:
        for pair, accepted in (("q35", "pairs such as"), ("x86_64=isapc", "pc-q35")):
            with self.subTest(pair):
                self.set("libvirt", "hw_machine_type", [pair])
                words = f"hw_machine_type = {pair}: accepted: .*{accepted}"
                with self.assertRaisesRegex(exception.InvalidConfiguration, words):
                    self.driver.init_host("host")

    def test_machine_type_of_an_architecture_without_guests_changes_nothing(self) -> None:
        self.set("libvirt", "hw_machine_type", ["sparc64=sun4u"])
        with self.assertLogs("compute_driver.nova.driver", "WARNING") as logs:
            self.driver.init_host("host")
        (record,) = logs.records
        self.assertIn("no guests of sparc64", record.getMessage())

    def test_values_that_guests_cannot_have_are_refused_by_their_names(self) -> None:
        self.addCleanup(configuration.register)
        path = Path(self.enterContext(tempfile.TemporaryDirectory()), "nova.conf")
        path.write_text("[libvirt]\ndisk_cachemodes = block=bogus\n")
        _, faults = configuration.checked([str(path)], sources.written([str(path)]))
        self.assertEqual([("libvirt", "disk_cachemodes")], list(faults))
        self.set("libvirt", "disk_cachemodes", ["block=bogus"])
        with self.assertRaisesRegex(
            exceptions.ConfigurationError, r"\[libvirt\] disk_cachemodes = block=bogus: "
        ):
            configuration.register()

    def test_processors_that_guests_cannot_have_are_refused_by_their_names(self) -> None:
        path = Path(self.enterContext(tempfile.TemporaryDirectory()), "nova.conf")
        for settings, name in (
            ("[libvirt]\nvirt_type=qemu\ncpu_mode=custom\ncpu_models=bad model\n", "cpu_models"),
            ("[DEFAULT]\nvcpu_pin_set = bogus\n", "vcpu_pin_set"),
        ):
            with self.subTest(settings):
                path.write_text(settings)
                _, faults = configuration.checked([str(path)], sources.written([str(path)]))
                names = [option for _, option in faults]
                self.assertIn(name, names)
                self.assertNotIn("cpu_shared_set", names)

    def test_refusals_show_no_password(self) -> None:
        path = Path(self.enterContext(tempfile.TemporaryDirectory()), "nova.conf")
        path.write_text("[libvirt]\nsmbfs_mount_options = -o password=hunter$nosuch\n")
        _, faults = configuration.checked([str(path)], sources.written([str(path)]))
        ((key, text),) = faults.items()
        self.assertEqual(("libvirt", "smbfs_mount_options"), key)
        self.assertNotIn("hunter", text)

    def test_flavor_with_traits_gets_the_first_model_with_the_features(self) -> None:
        CONF.set_override("cpu_models", ["Nehalem", "Haswell"], "hypervisor")
        self.addCleanup(CONF.clear_override, "cpu_models", "hypervisor")
        known = {"Nehalem": frozenset({"sse4.2"}), "Haswell": frozenset({"sse4.2", "avx2"})}
        with (
            mock.patch.object(cpu_map, "features", return_value=known),
            mock.patch.object(architecture, "of_host", return_value="x86_64"),
        ):
            for trait, model in (("SSE42", "Nehalem"), ("AVX2", "Haswell"), (None, None)):
                with self.subTest(trait):
                    specs = {f"trait:HW_CPU_X86_{trait}": "required"} if trait else {}
                    instance = self.instance(**specs)
                    self.spawn(instance, self.image(hw_architecture="x86_64"))
                    guest = self.driver._driver.show(instance.uuid).guest
                    self.assertEqual(model, guest.cpu.model)
                    self.driver.destroy(self.context, instance, [])
            with self.assertRaises(exception.ComputeResourcesUnavailable):
                self.spawn(
                    self.instance(**{"trait:HW_CPU_X86_AVX512F": "required"}),
                    self.image(hw_architecture="x86_64"),
                )

    def test_features_that_the_operator_changes_count(self) -> None:
        known = {"Nehalem": frozenset({"sse4.2"})}
        with (
            mock.patch.object(cpu_map, "features", return_value=known),
            mock.patch.object(architecture, "of_host", return_value="x86_64"),
        ):
            for trait, more, less, model in (
                ("PCID", ["pcid"], [], "Nehalem"),
                ("PCID", [], [], None),
                ("SSE42", [], ["sse4.2"], None),
            ):
                with self.subTest(trait=trait, more=more, less=less):
                    specs = {f"trait:HW_CPU_X86_{trait}": "required"}
                    if model is None:
                        with self.assertRaises(exceptions.NotOnThisHost):
                            processor.choose_model(["Nehalem"], "x86_64", specs, more, less)
                    else:
                        chosen = processor.choose_model(["Nehalem"], "x86_64", specs, more, less)
                        self.assertEqual(model, chosen)

    def test_image_cache_is_reserved(self) -> None:
        cache = Path(CONF.hypervisor.image_cache_path)
        cache.mkdir(parents=True, exist_ok=True)
        image = cache / "image"
        image.write_bytes(b"x" * 4096)
        self.addCleanup(image.unlink)
        reserved = []
        for wanted in (False, True):
            self.set("workarounds", "reserve_disk_resource_for_image_cache", wanted)
            tree = provider_tree.ProviderTree()
            tree.new_root("node", uuidutils.generate_uuid())
            self.driver.update_provider_tree(tree, "node")
            reserved.append(tree.data("node").inventory["DISK_GB"]["reserved"])
        self.assertEqual(reserved[0] + 1, reserved[1])

    def test_values_are_checked_as_nova_checks_them(self) -> None:
        path = Path(self.enterContext(tempfile.TemporaryDirectory()), "nova.conf")
        path.write_text(
            "[DEFAULT]\nstate_path = /srv\ninstances_path = $state_path/instances\n"
            "[libvirt]\ncpu_mode = bogus\nrx_queue_size = 300\nwait_soft_reboot_seconds = $no\n"
            "cpu_models = a\nunknown = 1\n"
        )
        settings = sources.written([str(path)])
        values, faults = configuration.checked([str(path)], settings)
        self.assertEqual("/srv/instances", values["DEFAULT", "instances_path"])
        self.assertEqual("a", values["libvirt", "cpu_models"])
        self.assertEqual(
            [
                (
                    "cpu_mode in FILE [libvirt]: 'bogus' is not usable; accepted: host-model,"
                    " host-passthrough, custom, none"
                ),
                "rx_queue_size in FILE [libvirt]: '300' is not usable; accepted: 256, 512, 1024",
                (
                    "wait_soft_reboot_seconds in FILE [libvirt]: '$no' is not usable: there is no"
                    " option 'no'"
                ),
            ],
            sorted(fault.replace(str(path), "FILE") for fault in faults.values()),
        )

    def test_start_warns_of_options_without_effect(self) -> None:
        self.set("libvirt", "live_migration_permit_post_copy", True)
        self.set("pci", "device_spec", ['{"vendor_id": "8086"}'])
        with self.assertLogs("compute_driver.nova.driver", "WARNING") as logs:
            self.driver.init_host("host")
        self.assertEqual(
            [
                (
                    "[libvirt] live_migration_permit_post_copy = true: the driver has no live"
                    " migration; accepted: false"
                ),
                (
                    '[pci] device_spec = {"vendor_id": "8086"}: the driver reports no PCI devices,'
                    " and refuses them in flavors; accepted: unset"
                ),
            ],
            [record.getMessage() for record in logs.records],
        )

    def test_start_is_silent_by_default(self) -> None:
        with self.assertNoLogs("compute_driver.nova.driver", "WARNING"):
            self.driver.init_host("host")

    def test_start_is_refused_where_guests_would_lack_something(self) -> None:
        self.set("libvirt", "inject_key", True)
        with self.assertRaisesRegex(exception.InvalidConfiguration, "inject_key = true.*false"):
            self.driver.init_host("host")
