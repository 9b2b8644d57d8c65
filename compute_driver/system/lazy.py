# SPDX-License-Identifier: Apache-2.0
"""Imports the modules of a package when they are used first.

A command uses few of the modules, and the import of all of them takes longer than the command.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType


def modules(package: str) -> Callable[[str], ModuleType]:
    """Return the function ``__getattr__`` of a package, which imports a module by its name.

    Source: Python, PEP 562.
    """

    def find(name: str) -> ModuleType:
        module = f"{package}.{name}"
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
            raise AttributeError(f"package {package} has no module {name}") from None

    return find
