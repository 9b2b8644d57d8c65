# SPDX-License-Identifier: Apache-2.0
"""Instances are powered on, and interrupted so that they write a crash dump."""

from __future__ import annotations

from typing import Any
from unittest import mock

from nova import exception

from compute_driver import exceptions
from compute_driver.choices import PowerState, RebootKind
from tests.nova.base import NovaCase


class ForgottenTest(NovaCase):
    """libvirt has forgotten the domain of an instance, and the driver's start defines it again."""

    def test_power_on_and_hard_reboot_bring_it_back(self) -> None:
        instance = self.instance()
        self.spawn(instance)
        gone = exceptions.GuestNotFound(instance.uuid)
        for act in (
            lambda: self.driver.power_on(self.context, instance, []),
            lambda: self.driver.reboot(self.context, instance, [], "HARD"),
        ):
            driver = self.driver._driver
            with (
                mock.patch.object(driver, "state", side_effect=[gone, PowerState.RUNNING]),
                mock.patch.object(driver, "start", wraps=driver.start) as start,
            ):
                act()
            start.assert_called_with(instance.uuid)

    def test_instance_that_does_not_exist_is_not_found(self) -> None:
        with self.assertRaises(exception.InstanceNotFound):
            self.driver.power_on(self.context, self.instance(), [])


class SoftRebootTest(NovaCase):
    def test_hard_reboot_in_its_place_takes_nova_s_present_data(self) -> None:
        instance = self.instance()
        self.spawn(instance)
        driver, kinds = self.driver._driver, []
        reboot = driver.reboot

        def only_hard(uuid: str, *, kind: RebootKind, **words: Any) -> RebootKind:
            kinds.append(kind)
            if kind is RebootKind.SOFT:
                self.assertFalse(words["fall_back"])
                raise exceptions.OperationTimeout("the guest does not answer")
            return reboot(uuid, kind=kind, **words)

        instance.display_name = "renamed"
        with (
            mock.patch.object(driver, "reboot", side_effect=only_hard),
            mock.patch.object(self.driver, "_identify", wraps=self.driver._identify) as identify,
        ):
            self.driver.reboot(self.context, instance, [], "SOFT")
        self.assertEqual([RebootKind.SOFT, RebootKind.HARD], kinds)
        identify.assert_called_once()


class CrashTest(NovaCase):
    def test_crash_dump_is_triggered(self) -> None:
        instance = self.instance()
        self.spawn(instance)
        self.driver.trigger_crash_dump(instance)
        self.assertIn(b"NMI", self.driver.get_console_output(self.context, instance))
        self.driver.power_off(instance)
        with self.assertRaises(exception.InstanceNotRunning):
            self.driver.trigger_crash_dump(instance)
        self.driver.destroy(self.context, instance, [])
        with self.assertRaises(exception.InstanceNotFound):
            self.driver.trigger_crash_dump(instance)

    def test_machine_without_interrupts_says_so(self) -> None:
        instance = self.instance()
        self.spawn(instance, self.image(hw_architecture="aarch64"))
        with self.assertRaises(exception.TriggerCrashDumpNotSupported):
            self.driver.trigger_crash_dump(instance)
