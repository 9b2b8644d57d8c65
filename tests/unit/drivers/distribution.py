# SPDX-License-Identifier: Apache-2.0
"""Makes a small distribution with entry points, like an installed project."""

from __future__ import annotations

from pathlib import Path


def install(directory: Path, name: str, entry_points: str, **modules: str) -> None:
    """Write the files of an installed distribution into a directory on ``sys.path``.

    :param entry_points: content of ``entry_points.txt``.
    :param modules: source by module name.
    """
    info = directory / f"{name}-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)
    for module, source in modules.items():
        (directory / f"{module}.py").write_text(source)
