# SPDX-License-Identifier: Apache-2.0
"""Debian packages: chosen by apt, fetched once and unpacked without root."""

import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from urllib.parse import quote

from tests.guests.apt import Apt
from tests.guests.errors import GuestBuildError
from tests.guests.tools import run


@dataclass(frozen=True)
class Package:
    """One version of a package, and the apt that has it."""

    name: str
    version: str
    apt: Apt
    depends: str = ""

    @property
    def file_name(self) -> str:
        """Name of the package's file in the cache."""
        return f"{self.name}_{quote(self.version, safe='+~')}_{self.apt.architecture}.deb"


def candidates(names: Iterable[str], apt: Apt) -> dict[str, Package]:
    """Return the versions that apt would install, by the names given.

    :param names: package names; a library may have another name, with ``t64``, since Debian made
        times 64 bits wide
    :param apt: which has the packages
    :raises: GuestBuildError when apt's lists lack a package
    """
    spellings = {name: (name, f"{name}t64") for name in names}
    wanted = [spelling for pair in spellings.values() for spelling in pair]
    shown = apt.run("apt-cache", "show", "--no-all-versions", *wanted)
    found = {}
    for stanza in shown.strip().split("\n\n"):
        fields = HeaderParser().parsestr(stanza)
        name = fields["Package"]
        found[name] = Package(name, fields["Version"], apt, fields.get("Depends", ""))
    chosen = {}
    for name, pair in spellings.items():
        try:
            chosen[name] = next(found[spelling] for spelling in pair if spelling in found)
        except StopIteration:
            raise GuestBuildError(f"Debian has no {name} for {apt.architecture}") from None
    return chosen


def kernel_image(meta: Package) -> Package:
    """The package that holds the kernel for which a metapackage stands.

    :param meta: such as ``linux-image-amd64``
    :raises: GuestBuildError when it depends on no exact kernel
    """
    match = re.search(r"\b(linux-image-[^\s,]+) \(= ([^)]+)\)", meta.depends)
    if match is None:
        raise GuestBuildError(f"{meta.name} {meta.version} names no kernel: {meta.depends!r}")
    return Package(match[1], match[2], meta.apt)


def fetch(package: Package, folder: Path) -> Path:
    """Download a package, unless the folder has it already.

    :param package: what to fetch
    :param folder: the cache of packages
    :return: the package's file
    :raises: GuestBuildError when apt cannot get this version
    """
    target = folder / package.file_name
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        wanted = f"{package.name}={package.version}"
        try:
            package.apt.run("apt-get", "download", wanted, cwd=Path(scratch))
        except GuestBuildError:
            # A point release may have replaced this version.
            package.apt.forget()
            raise
        (downloaded,) = Path(scratch).glob("*.deb")
        downloaded.replace(target)
    return target


def unpack(deb: Path, folder: Path) -> Path:
    """Unpack a package's files below a folder of its own, and return the folder.

    :param deb: the package's file
    :param folder: parent of the new folder
    :raises: GuestBuildError when the file is broken
    """
    target = folder / deb.stem
    target.mkdir(parents=True)
    run(["dpkg-deb", "--extract", deb, target])
    return target
