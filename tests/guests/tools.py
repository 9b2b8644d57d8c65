# SPDX-License-Identifier: Apache-2.0
"""Running Debian's tools."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.guests.errors import GuestBuildError

#: Debian packages of the tools, by the tools' names.
PACKAGES: Mapping[str, str] = {
    "apt-cache": "apt",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "mcopy": "mtools",
    "mkfs.vfat": "dosfstools",
    "mmd": "mtools",
    "qemu-img": "qemu-utils",
    "xorriso": "xorriso",
}

# An ordinary user's PATH lacks the sbin folders. mtools refuses the images of other programs.
_ENVIRONMENT: Mapping[str, str] = {
    "PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin",
    "MTOOLS_SKIP_CHECK": "1",
    "LC_ALL": "C.UTF-8",
    "SOURCE_DATE_EPOCH": "0",
}


def run(arguments: Sequence[str | Path], cwd: Path | None = None) -> str:
    """Run a tool to its end and return its standard output.

    :param arguments: the program and its arguments
    :param cwd: folder to run the tool in
    :raises: GuestBuildError when the tool is missing or fails
    """
    program = Path(arguments[0]).name
    try:
        done = subprocess.run(
            arguments,
            cwd=cwd,
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError as missing:
        raise GuestBuildError(
            f"{program} is needed to build guests: install {PACKAGES.get(program, program)}"
        ) from missing
    except subprocess.CalledProcessError as failed:
        raise GuestBuildError(
            f"{program} failed with status {failed.returncode}: {failed.stderr.strip()}"
        ) from failed
    return done.stdout


def install_debian(
    release: str, folder: Path, sources: Sequence[str | Path], options: Sequence[str] = ()
) -> None:
    """Install the essential packages of a release of Debian into a folder, as root.

    :param release: its code name
    :param sources: addresses of sites, or files of apt's sources
    :param options: more options of mmdebstrap
    :raises: GuestBuildError when the tool is missing or fails
    """
    # Without this, unshare would miss the program, and not name its package.
    run(["mmdebstrap", "--version"])
    # The mounts of the installation go with its namespace, even if the installation is killed. The
    # folder can be made again, so nothing waits for the disk.
    fixed = ("--mode=root", "--format=directory", "--variant=minbase", "--dpkgopt=force-unsafe-io")
    run(["unshare", "--mount", "mmdebstrap", *fixed, *options, release, folder, *sources])
