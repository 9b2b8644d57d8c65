# SPDX-License-Identifier: Apache-2.0
"""The base of all sections of :class:`compute_driver.nova.driver.NovaDriver`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from nova.virt import driver

from compute_driver.drivers import loading
from compute_driver.nova import configuration
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

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        for name, method in list(vars(cls).items()):
            if inspect.isfunction(method) and not name.startswith("_"):
                setattr(cls, name, translated(method))

    def _directory(self, instance: Any) -> Path:
        """Return the directory of an instance's disks."""
        return Path(self._conf.hypervisor.instances_path, instance.uuid)
