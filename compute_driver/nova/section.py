# SPDX-License-Identifier: Apache-2.0
"""The base of all sections of :class:`compute_driver.nova.driver.NovaDriver`."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Any

from nova.virt import driver

from compute_driver.drivers import loading
from compute_driver.guest import Guest
from compute_driver.hardware import architecture, tuning
from compute_driver.nova import annotation, configuration, identity, processor
from compute_driver.nova.errors import translated


class Section(driver.ComputeDriver):
    """Some of the methods that nova calls.

    Every public method of a section raises nova's errors in place of this package's errors.

    :param virtapi: nova's VirtAPI.
    """

    def __init__(self, virtapi: Any) -> None:
        super().__init__(virtapi)
        self._conf = configuration.register()
        self._driver = loading.load_driver(self._conf)
        loading.import_all()
        self._identity = identity.of_instances(self._conf)
        self._machines = configuration.machines(self._conf)

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, method in list(vars(cls).items()):
            if inspect.isfunction(method) and not name.startswith("_"):
                setattr(cls, name, translated(method))

    def _identified(self, guest: Guest, instance: Any, image: Any, vifs: Any) -> Guest:
        """Return an instance's guest with all that the guest and other programs are told.

        The guest gets the CPU model of nova's options that the flavor asks for; the image's wish
        wins.
        """
        facts = architecture.get(guest.architecture)
        defaults = tuning.CpuDefaults.of(self._conf.hypervisor)
        model = guest.cpu.model or processor.choose_model(
            defaults.models,
            guest.architecture,
            instance.flavor.extra_specs,
            *tuning.default_features(facts, defaults.configured, defaults),
        )
        return dataclasses.replace(
            guest,
            cpu=dataclasses.replace(guest.cpu, model=model),
            identity=self._identity,
            annotations=annotation.of(instance, image, vifs),
        )

    def _with_machine(self, guest: Guest) -> Guest:
        """Return a new guest with the machine type of nova's options; the image's wish wins."""
        return dataclasses.replace(
            guest, machine=guest.machine or self._machines.get(guest.architecture)
        )

    def _identify(self, instance: Any, vifs: Any) -> None:
        """Tell an instance's guest and other programs what nova knows of the instance now."""
        annotations = annotation.of(instance, instance.image_meta, vifs)
        self._driver.identify(instance.uuid, self._identity, annotations)

    def _directory(self, instance: Any) -> Path:
        """Return the directory of an instance's disks."""
        return Path(self._conf.hypervisor.instances_path, instance.uuid)
