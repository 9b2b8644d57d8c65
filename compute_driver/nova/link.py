# SPDX-License-Identifier: Apache-2.0
"""Makes this package loadable for a nova that is installed in another environment.

A wheel installed in nova's own environment needs none of this.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import sysconfig
from pathlib import Path

from compute_driver import exceptions
from compute_driver.nova import finder
from compute_driver.system import filesystem, programs

#: Nova's major releases that this package is tested with.
RELEASES = range(32, 35)

_FILE = "compute-driver.pth"

_QUESTION = """
import json, sys, sysconfig
from importlib import metadata
try:
    nova = metadata.version("nova")
except metadata.PackageNotFoundError:
    nova = ""
purelib = sysconfig.get_path("purelib")
print(json.dumps({"nova": nova, "directory": purelib, "python": sys.version_info[:2]}))
"""


@dataclasses.dataclass(frozen=True)
class _Environment:
    """What an interpreter says of its environment.

    :param nova: the version of nova; empty if there is none.
    :param directory: where its packages are installed.
    :param python: the interpreter's own version, major and minor.
    """

    nova: str
    directory: str
    python: list[int]


def link(python: str) -> Path:
    """Make ``nova.virt.compute_driver`` importable for nova's interpreter.

    :param python: path of that interpreter.
    :return: the file that was written; it names this package's directories, which nova looks into
        after all of its own.
    :raises InvalidParameter: if there is no nova, or one that cannot be served.
    :raises HostError: if the interpreter does not start, or the file cannot be written.
    """
    found = _ask(python)
    release = found.nova.partition(".")[0]
    if not release.isdecimal() or int(release) not in RELEASES:
        told = f"{python}, which has {'nova ' + found.nova if found.nova else 'no nova'}"
        accepted = f"the interpreter of an environment with nova {RELEASES[0]} to {RELEASES[-1]}"
        raise exceptions.InvalidParameter("python", told, accepted)
    if found.python != list(sys.version_info[:2]):
        accepted = f"an interpreter of version {sys.version_info[0]}.{sys.version_info[1]}"
        accepted += ", since libraries are shared with it"
        told = f"{python}, version {found.python[0]}.{found.python[1]}"
        raise exceptions.InvalidParameter("python", told, accepted)
    own = (str(Path(__file__).parents[2]), sysconfig.get_path("purelib"))
    lines = [path for path in dict.fromkeys(own) if path != found.directory]
    file = Path(found.directory, _FILE)
    with filesystem.host_errors(f"{file} cannot be written"):
        file.write_text("\n".join([*lines, f"import {finder.__name__}", ""]))
    return file


def unlink(python: str) -> Path | None:
    """Take back what :func:`link` did.

    :return: the file that was removed; None if there was none.
    :raises InvalidParameter: if it is no interpreter.
    :raises HostError: if it does not start, or the file cannot be removed.
    """
    file = Path(_ask(python).directory, _FILE)
    with filesystem.host_errors(f"{file} cannot be removed"):
        if not file.exists():
            return None
        file.unlink()
    return file


def _ask(python: str) -> _Environment:
    # As it is without this process's settings, and wherever it is called.
    ended = programs.run([os.path.abspath(python), "-I", "-c", _QUESTION], timeout=60)
    try:
        return _Environment(**json.loads(ended.output))
    except (ValueError, TypeError):
        raise exceptions.InvalidParameter("python", python, "a Python interpreter") from None
