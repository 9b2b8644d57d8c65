# SPDX-License-Identifier: Apache-2.0
"""The guest's root file system in RAM: a compressed cpio archive.

Format: Documentation/driver-api/early-userspace/buffer-format.rst of the Linux kernel.
"""

import gzip
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

ROOTFS = Path(__file__).parent / "rootfs"

_FOLDERS = ("config", "dev", "disk", "proc", "run", "sys", "tmp")
_FOLDERS_OF_ROOT = ("root", "root/.ssh")
#: Links to the folders of the same name below usr, as on any Debian; packages use both paths.
_MERGED = ("bin", "lib", "lib64", "sbin")


@dataclass(frozen=True)
class Entry:
    """A file, folder or symbolic link: its mode, and its content or its target."""

    mode: int
    content: bytes = b""


#: Entries by their path, relative to the root.
Tree = dict[str, Entry]


def regular(content: bytes, permissions: int = 0o644) -> Entry:
    """Return a regular file."""
    return Entry(stat.S_IFREG | permissions, content)


def link(target: str) -> Entry:
    """Return a symbolic link."""
    return Entry(stat.S_IFLNK | 0o777, target.encode())


def files(root: Path, patterns: tuple[str, ...]) -> Tree:
    """Return the files and symbolic links below a folder that match one of the patterns.

    :param root: such as an unpacked package
    :param patterns: of paths relative to the folder
    """
    tree = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if not any(fnmatchcase(name, pattern) for pattern in patterns):
            continue
        if path.is_symlink():
            tree[name] = link(path.readlink().as_posix())
        elif path.is_file():
            tree[name] = regular(path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    return tree


def scripts() -> Tree:
    """Return the guest's own files. Their first line makes them scripts, not their mode on disk."""
    tree = {}
    for path in ROOTFS.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            permissions = 0o755 if content.startswith(b"#!") else 0o644
            tree[path.relative_to(ROOTFS).as_posix()] = regular(content, permissions)
    return tree


def userland(busybox: Path) -> Tree:
    """Return busybox, the few links to it that the guest needs, and the guest's own files.

    :param busybox: the unpacked package of the static busybox
    """
    return {
        **files(busybox, ("*bin/busybox",)),
        "bin/sh": link("busybox"),
        "init": link("bin/busybox"),
        "sbin/modprobe": link("/bin/busybox"),
        **scripts(),
    }


def archive(tree: Mapping[str, Entry]) -> bytes:
    """Return the compressed archive of a tree and the folders above its entries."""
    return gzip.compress(b"".join(_records(_with_folders(_merged(tree)))), mtime=0)


def _merged(tree: Mapping[str, Entry]) -> Tree:
    merged = {name: link(f"usr/{name}") for name in _MERGED}
    for name, entry in tree.items():
        merged[f"usr/{name}" if name.partition("/")[0] in _MERGED else name] = entry
    return merged


def _with_folders(tree: Mapping[str, Entry]) -> Tree:
    """Return the tree with its folders, each folder before its content."""
    folders = {*_FOLDERS, *_FOLDERS_OF_ROOT, "usr", *(f"usr/{name}" for name in _MERGED)}
    for name in tree:
        folders.update(parent.as_posix() for parent in PurePosixPath(name).parents)
    folders.discard(".")
    modes = {name: 0o700 if name in _FOLDERS_OF_ROOT else 0o755 for name in folders}
    made = {name: Entry(stat.S_IFDIR | mode) for name, mode in modes.items()}
    return dict(sorted({**made, **tree}.items()))


def _records(tree: Tree) -> Iterator[bytes]:
    for number, (name, entry) in enumerate(tree.items(), start=1):
        yield _record(number, name, entry)
    yield _record(0, "TRAILER!!!", Entry(0))


def _record(number: int, name: str, entry: Entry) -> bytes:
    encoded = name.encode() + b"\0"
    # ino, mode, uid, gid, nlink, mtime, size, four device numbers, size of the name, check
    values = (number, entry.mode, 0, 0, 1, 0, len(entry.content), 0, 0, 0, 0, len(encoded), 0)
    header = b"070701" + b"".join(b"%08x" % value for value in values)
    return _padded(header + encoded) + _padded(entry.content)


def _padded(part: bytes) -> bytes:
    return part + bytes(-len(part) % 4)
