# SPDX-License-Identifier: Apache-2.0
"""The parts that verbs share.

The first use of a module as ``base.MODULE`` imports it: these modules import many others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compute_driver.operations.base import admission, disk_copy, recovery, removal

    __all__ = ["admission", "disk_copy", "recovery", "removal"]
else:
    from compute_driver.system import lazy

    __getattr__ = lazy.modules(__name__)
