# SPDX-License-Identifier: Apache-2.0
"""Kernel modules with their dependencies, and the indexes that modprobe reads."""

import lzma
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.guests.errors import GuestBuildError
from tests.guests.initrd import Tree, regular


@dataclass(frozen=True)
class Module:
    """A module's content and the values of its ``.modinfo`` section; see modinfo(8)."""

    name: str
    content: bytes
    depends: tuple[str, ...]
    aliases: tuple[str, ...]


def modules(root: Path, wanted: Iterable[str]) -> Tree:
    """Return modules with the modules they depend on, by their paths in an initrd.

    :param root: an unpacked kernel package
    :param wanted: names of modules; modules built into the kernel have no file and are left out
    :raises: GuestBuildError when the kernel has no such module
    """
    # Debian 13 and later have the folder below /usr.
    (folder,) = root.glob("**/lib/modules/*")
    builtin = {_name(line) for line in (folder / "modules.builtin").read_text().split()}
    files = {_name(path.name): path for path in folder.rglob("*.ko*")}
    chosen: dict[str, Module] = {}

    def add(name: str) -> None:
        if name in chosen or name in builtin:
            return
        if name not in files:
            raise GuestBuildError(f"kernel {folder.name} has no module {name}")
        module = _read(name, files[name])
        for needed in module.depends:
            add(needed)
        chosen[name] = module

    for name in wanted:
        add(_name(name))
    target = f"lib/modules/{folder.name}"
    tree = {f"{target}/{name}.ko": regular(module.content) for name, module in chosen.items()}
    dependencies = "".join(
        f"{name}.ko:{''.join(f' {needed}.ko' for needed in _all_needed(name, chosen))}\n"
        for name in chosen
    )
    aliases = "".join(
        f"alias {alias} {name}\n" for name, module in chosen.items() for alias in module.aliases
    )
    tree[f"{target}/modules.dep"] = regular(dependencies.encode())
    tree[f"{target}/modules.alias"] = regular(aliases.encode())
    return tree


def _name(file_name: str) -> str:
    """Return the name of a module as the kernel writes it."""
    return Path(file_name).name.partition(".")[0].replace("-", "_")


def _read(name: str, path: Path) -> Module:
    content = path.read_bytes()
    if path.suffix == ".xz":
        content = lzma.decompress(content)
    values: dict[str, list[str]] = {"alias": [], "depends": []}
    for key, value in re.findall(rb"\0(alias|depends)=([^\0]*)", content):
        values[key.decode()].append(value.decode())
    depends = tuple(
        _name(needed) for value in values["depends"] for needed in value.split(",") if needed
    )
    return Module(name, content, depends, tuple(values["alias"]))


def _all_needed(name: str, chosen: dict[str, Module]) -> list[str]:
    """Return all modules that a module needs, in depmod(8)'s order: the first to load is last."""
    order: list[str] = []
    for needed in chosen[name].depends:
        if needed in chosen:
            for deeper in (needed, *_all_needed(needed, chosen)):
                if deeper in order:
                    order.remove(deeper)
                order.append(deeper)
    return order
