# SPDX-License-Identifier: Apache-2.0
"""What the unit tests share: a configuration of the test's own, and a small guest."""

from __future__ import annotations

import uuid
from typing import Any

from oslo_config import cfg

from compute_driver import conf
from compute_driver.guest import Disk, Guest, Interface
from compute_driver.hardware import architecture


def configuration(**options: Any) -> cfg.ConfigOpts:
    """Return a configuration that reads no file and no environment variable.

    :param options: of group ``[hypervisor]``.
    """
    made = cfg.ConfigOpts()
    conf.register(made)
    made([], default_config_files=[], default_config_dirs=[], use_env=False)
    for name, value in options.items():
        made.set_override(name, value, group="hypervisor")
    return made


def describe(**changes: Any) -> Guest:
    """Return a guest of the host's architecture with an empty disk."""
    identity = str(uuid.uuid4())
    description = {
        "uuid": identity,
        "name": f"guest-{identity[:8]}",
        "architecture": architecture.of_host(),
        "root": Disk(size_bytes=1024**2),
        "interfaces": (Interface(),),
    }
    return Guest(**{**description, **changes})
