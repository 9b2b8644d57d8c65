# SPDX-License-Identifier: Apache-2.0
"""Debian packages: what apt offers, fetched once and unpacked without root."""

import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from urllib.parse import quote

from tests.guests.errors import GuestBuildError
from tests.guests.tools import run


@dataclass(frozen=True)
class Package:
    """One version of a package, for one architecture."""

    name: str
    version: str
    architecture: str
    depends: str = ""

    @property
    def file_name(self) -> str:
        """Name of its file in the cache."""
        return f"{self.name}_{quote(self.version, safe='+~')}_{self.architecture}.deb"


def candidates(names: Iterable[str], architecture: str) -> dict[str, Package]:
    """The versions that apt would install, by package name.

    :param names: package names
    :param architecture: Debian's name of the architecture
    :raises: GuestBuildError when apt's lists lack one
    """
    wanted = [f"{name}:{architecture}" for name in names]
    stanzas = run(["apt-cache", "show", "--no-all-versions", *wanted]).strip().split("\n\n")
    found = {}
    for stanza in stanzas:
        fields = HeaderParser().parsestr(stanza)
        found[fields["Package"]] = Package(
            fields["Package"], fields["Version"], architecture, fields.get("Depends", "")
        )
    return found


def kernel_image(meta: Package) -> Package:
    """The package that holds the kernel for which a metapackage stands.

    :param meta: such as ``linux-image-amd64``
    :raises: GuestBuildError when it depends on no exact kernel
    """
    match = re.search(r"\b(linux-image-[^\s,]+) \(= ([^)]+)\)", meta.depends)
    if match is None:
        raise GuestBuildError(f"{meta.name} {meta.version} names no kernel: {meta.depends!r}")
    return Package(match[1], match[2], meta.architecture)


def fetch(package: Package, folder: Path) -> Path:
    """Downloads a package, unless the folder has it already.

    :param package: what to fetch
    :param folder: where packages are kept
    :return: the package's file
    :raises: GuestBuildError when apt cannot get this version
    """
    target = folder / package.file_name
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        wanted = f"{package.name}:{package.architecture}={package.version}"
        try:
            # As root, apt would download as a user who may not write here.
            run(["apt-get", "-o", "APT::Sandbox::User=root", "download", wanted], Path(scratch))
        except GuestBuildError as error:
            raise GuestBuildError(f"{error} (are apt's lists up to date?)") from error
        (downloaded,) = Path(scratch).glob("*.deb")
        downloaded.replace(target)
    return target


def unpack(deb: Path, folder: Path) -> Path:
    """Unpacks a package's files below a folder of its own, and returns that.

    :param deb: the package's file
    :param folder: parent of the new folder
    :raises: GuestBuildError when the file is broken
    """
    target = folder / deb.stem
    target.mkdir(parents=True)
    run(["dpkg-deb", "--extract", deb, target])
    return target
