# SPDX-License-Identifier: Apache-2.0
"""The serial console of a running guest (log and session) and its screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compute_driver.libvirt.consoles import log, screen, session

    __all__ = ["log", "screen", "session"]
else:
    from compute_driver.system import lazy

    __getattr__ = lazy.modules(__name__)
