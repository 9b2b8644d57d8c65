# SPDX-License-Identifier: Apache-2.0
"""Section of nova's driver: the power states of instances."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from nova import exception
from nova.compute import power_state
from nova.virt import hardware

from compute_driver import exceptions
from compute_driver.choices import OFF, PowerState, RebootKind
from compute_driver.nova import interfaces, network
from compute_driver.nova.errors import replaced
from compute_driver.nova.section import Section

LOG = logging.getLogger(__name__)

#: Nova's power states.
STATES = {
    PowerState.RUNNING: power_state.RUNNING,
    PowerState.PAUSED: power_state.PAUSED,
    PowerState.SUSPENDED: power_state.SUSPENDED,
    PowerState.STOPPED: power_state.SHUTDOWN,
    PowerState.CRASHED: power_state.CRASHED,
}


class PowerMethods(Section):
    """Changes and returns the power states of instances."""

    def get_info(self, instance: Any, use_cache: bool = True) -> hardware.InstanceInfo:
        return hardware.InstanceInfo(state=STATES[self._driver.state(instance.uuid)])

    def reboot(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        reboot_type: str,
        block_device_info: Mapping[str, Any] | None = None,
        bad_volumes_callback: Any = None,
        accel_info: Any = None,
        share_info: Any = None,
    ) -> None:
        """Reboot an instance; the reboot is hard if the guest does not run or does not answer."""
        running = self._state(instance) is PowerState.RUNNING
        if reboot_type == "SOFT" and running and self._reboot_softly(instance):
            return
        self._update(instance, network_info)
        vifs = instance.get_network_info() if network_info is None else network_info
        self._driver.reboot(
            instance.uuid, kind=RebootKind.HARD, network=self._plugged_again(instance, vifs)
        )

    def _reboot_softly(self, instance: Any) -> bool:
        """Ask an instance to reboot, and tell whether it does so."""
        try:
            self._driver.reboot(instance.uuid, kind=RebootKind.SOFT, fall_back=False)
        except exceptions.OperationTimeout as error:
            LOG.warning("%s: hard reboot", error)
            return False
        return True

    def _plugged_again(
        self, instance: Any, vifs: Sequence[Mapping[str, Any]]
    ) -> contextlib.AbstractContextManager[None] | None:
        """Return the wait for neutron that nova's options ask for in a hard reboot."""
        kinds = self._conf.workarounds.wait_for_vif_plugged_event_during_hard_reboot
        return network.plugged(self.virtapi, instance, vifs, again=kinds) if kinds else None

    def poll_rebooting_instances(self, timeout: float, instances: Any) -> None:
        """Do nothing: a soft reboot that takes too long becomes hard without nova."""

    def power_on(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Mapping[str, Any] | None = None,
        accel_info: Any = None,
        share_info: Any = None,
    ) -> None:
        self._start(instance, network_info)

    def power_off(self, instance: Any, timeout: float = 0, retry_interval: float = 0) -> None:
        self._driver.stop(instance.uuid, timeout=timeout)

    def pause(self, instance: Any) -> None:
        self._driver.pause(instance.uuid)

    def unpause(self, instance: Any) -> None:
        self._driver.resume(instance.uuid)

    def suspend(self, context: Any, instance: Any) -> None:
        self._driver.suspend(instance.uuid)

    def resume(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        block_device_info: Mapping[str, Any] | None = None,
        share_info: Any = None,
    ) -> None:
        self._driver.resume(instance.uuid)

    def resume_state_on_host_boot(
        self,
        context: Any,
        instance: Any,
        network_info: Any,
        share_info: Any,
        block_device_info: Mapping[str, Any] | None = None,
    ) -> None:
        self._start(instance, network_info)

    def trigger_crash_dump(self, instance: Any) -> None:
        with replaced(
            exceptions.InvalidGuestState,
            lambda _text: exception.InstanceNotRunning(instance_id=instance.uuid),
        ):
            self._driver.inject_nmi(instance.uuid)

    def _start(self, instance: Any, network_info: Sequence[Mapping[str, Any]] | None) -> None:
        """Start an instance; an instance that is off becomes what nova knows of it now."""
        if self._state(instance) in OFF:
            self._update(instance, network_info)
        self._driver.start(instance.uuid)

    def _state(self, instance: Any) -> PowerState:
        """Return the power state of an instance; start an instance that libvirt has forgotten."""
        try:
            return self._driver.state(instance.uuid)
        except exceptions.GuestNotFound:
            self._driver.start(instance.uuid)
            return self._driver.state(instance.uuid)

    def _update(self, instance: Any, network_info: Sequence[Mapping[str, Any]] | None) -> None:
        """Give an instance the interfaces, the identity and the annotations of nova's present data.

        An instance whose interfaces change is off afterwards.

        :param network_info: nova's VIFs; None if nova does not send its VIFs.
        """
        interfaces.replace(self._driver, instance, network_info)
        vifs = instance.get_network_info() if network_info is None else network_info
        self._identify(instance, vifs)
