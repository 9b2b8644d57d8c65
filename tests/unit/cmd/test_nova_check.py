# SPDX-License-Identifier: Apache-2.0
"""``nova check`` reports on an operator's files without nova."""

from __future__ import annotations

from unittest import mock

from oslo_config import cfg

from tests.unit.cmd.base import CommandLineCase


class NovaCheckTest(CommandLineCase):
    def check(self, content: str, status: int) -> list[str]:
        path = self.file("nova.conf", content)
        outcome = self.run_command("nova", "check", "--config-file", path)
        self.assertEqual(status, outcome.status)
        self.assertIn("Nova is not installed here, so nothing checks", outcome.err)
        return outcome.out.replace(path, "FILE").splitlines()

    def test_nothing_to_do(self) -> None:
        lines = self.check("[libvirt]\nvirt_type = kvm\nvolume_clear = zero\n", 0)
        self.assertEqual(["not needed", "works"], [line.partition(":")[0] for line in lines])

    def test_missing_files_are_refused_with_the_places_of_the_search(self) -> None:
        with (
            mock.patch.object(cfg, "find_config_files", return_value=[]),
            mock.patch.object(cfg, "find_config_dirs", return_value=[]),
        ):
            text = self.refused(2, "nova", "check")
        self.assertRegex(text, "~/.nova, ~, /etc/nova and /etc .*accepted: --config-file or")

    def test_one_line_for_each_option(self) -> None:
        content = "[libvirt]\nhw_machine_type = x86_64=foo\nnum_pcie_ports = 28\n"
        lines = self.check(content, 1)
        self.assertEqual(["refused", "warning"], [line.partition(":")[0] for line in lines])

    def test_worst_comes_first(self) -> None:
        content = (
            "[libvirt]\nvirt_type = kvm\nswtpm_enabled = true\ninject_key = true\n"
            "[hypervisor]\nvirt_type = xen\n"
        )
        lines = self.check(content, 1)
        effects = [line.partition(":")[0] for line in lines]
        self.assertEqual(["refused", "refused", "warning", "works"], effects)
        self.assertIn("virt_type in FILE [hypervisor]: 'xen' is not usable", lines[0])

    def test_environment_counts_as_a_file_does(self) -> None:
        with mock.patch.dict("os.environ", OS_LIBVIRT__VIRT_TYPE="lxc", OS_VNC__KEYMAP="en-us"):
            lines = self.check("[libvirt]\nvirt_type = kvm\n", 1)
        self.assertEqual("refused", lines[0].partition(":")[0])
        self.assertIn("[libvirt] virt_type = lxc", lines[0])
        self.assertIn("[vnc] keymap", "".join(lines))

    def test_another_driver_is_named_and_a_password_is_not(self) -> None:
        content = (
            "[DEFAULT]\ncompute_driver = libvirt.LibvirtDriver\n"
            "[libvirt]\nlive_migration_uri = qemu+ssh://nova:hunter2@%s/system\n"
        )
        lines = self.check(content, 1)
        self.assertIn("accepted: compute_driver.NovaDriver", "".join(lines))
        self.assertNotIn("hunter2", "".join(lines))
