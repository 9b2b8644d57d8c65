# SPDX-License-Identifier: Apache-2.0
"""Packages whose modules are imported at their first use."""

from __future__ import annotations

import importlib
import sys
import tempfile
import unittest
from pathlib import Path

PACKAGE = "lazy_package"
FILES = {
    "__init__": (
        "from compute_driver.system import lazy\n\n__getattr__ = lazy.modules(__name__)\n"
    ),
    "good": "VALUE = 7\n",
    "bad": "import no_such_module_at_all\n",
}


class LazyTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        package = Path(folder.name, PACKAGE)
        package.mkdir()
        for name, text in FILES.items():
            (package / f"{name}.py").write_text(text)
        sys.path.insert(0, folder.name)
        self.addCleanup(sys.path.remove, folder.name)
        importlib.invalidate_caches()
        self.package = importlib.import_module(PACKAGE)
        for name in (PACKAGE, f"{PACKAGE}.good"):
            self.addCleanup(sys.modules.pop, name, None)

    def test_first_use_imports_the_module(self) -> None:
        self.assertNotIn(f"{PACKAGE}.good", sys.modules)
        self.assertEqual(7, self.package.good.VALUE)
        self.assertIs(sys.modules[f"{PACKAGE}.good"], self.package.good)

    def test_absent_module_is_an_absent_attribute(self) -> None:
        self.assertFalse(hasattr(self.package, "absent"))

    def test_module_that_does_not_load_names_what_it_lacks(self) -> None:
        with self.assertRaisesRegex(ModuleNotFoundError, "no_such_module_at_all"):
            _ = self.package.bad
