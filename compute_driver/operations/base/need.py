# SPDX-License-Identifier: Apache-2.0
"""Which parts of a guest an operation needs in order."""

from __future__ import annotations

import enum


class Need(enum.Enum):
    """The parts of a guest that recovery puts in order before an operation on the guest."""

    #: The files and the run, from the power-on to the power-off.
    ALL = enum.auto()
    #: The files: the operation ends the run of the guest, and perhaps begins another.
    FILES = enum.auto()
    #: No part: the operation ends the guest or its run in any case.
    NOTHING = enum.auto()
