# SPDX-License-Identifier: Apache-2.0
"""The parts that verbs share.

The first use of ``base.admission``, ``base.recovery`` or ``base.removal``, which import many
modules, imports them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compute_driver.operations.base import admission, recovery, removal

    __all__ = ["admission", "recovery", "removal"]
else:
    from compute_driver.system import lazy

    __getattr__ = lazy.modules(__name__)
