# SPDX-License-Identifier: Apache-2.0
"""Makes nova's interpreter find the shim outside of nova's own directory.

The file that ``compute-driver nova link`` writes imports this module when the interpreter starts.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

SHIM = "nova.virt.compute_driver"


class Finder:
    """Finds one module, the shim beside this package."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Return the shim's file; None for another module."""
        if name != SHIM:
            return None
        file = Path(__file__).parents[2].joinpath(*SHIM.split("."), "__init__.py")
        return importlib.util.spec_from_file_location(name, file)


# At the end: a shim in nova's own directory comes first.
sys.meta_path.append(Finder)
