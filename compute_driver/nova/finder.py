# SPDX-License-Identifier: Apache-2.0
"""Lets nova's interpreter find the shim, which is not in nova's own directory.

Imported at that interpreter's start, by the file that ``compute-driver nova link`` writes.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

SHIM = "nova.virt.compute_driver"


class Finder:
    """Finds one module: the shim beside this package."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return where the shim is; None for any other module."""
        if name != SHIM:
            return None
        file = Path(__file__).parents[2].joinpath(*SHIM.split("."), "__init__.py")
        return importlib.util.spec_from_file_location(name, file)


# After all others: a shim that is installed in nova's own directory wins.
sys.meta_path.append(Finder)
