# SPDX-License-Identifier: Apache-2.0
"""The outcome of one command, run in this process or in another one."""

from __future__ import annotations

import dataclasses
import json
from typing import Any


@dataclasses.dataclass(frozen=True)
class Outcome:
    """Exit status and output of a command."""

    status: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.raw)
