# SPDX-License-Identifier: Apache-2.0
"""Lets a nova in another environment load this package.

A wheel of this package in nova's own environment needs no link.
"""

from __future__ import annotations

import dataclasses
import json
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
    """The environment of an interpreter.

    :param nova: the version of nova; empty without nova.
    :param directory: the directory of the installed packages.
    :param python: the interpreter's version, major and minor.
    """

    nova: str
    directory: str
    python: list[int]


def link(python: str) -> Path:
    """Make ``nova.virt.compute_driver`` importable for nova's interpreter.

    :param python: absolute path of nova's interpreter.
    :return: the new file.  The file names this package's directories; the interpreter searches
        these directories after its own directories.
    :raises InvalidParameter: if the environment has no nova or another release of nova, or if the
        interpreter has another version than this interpreter.
    :raises HostError: if the interpreter does not start, or the file cannot be written.
    """
    environment = _ask(python)
    release = environment.nova.partition(".")[0]
    if not release.isdecimal() or int(release) not in RELEASES:
        nova = f"nova {environment.nova}" if environment.nova else "no nova"
        accepted = f"the interpreter of an environment with nova {RELEASES[0]} to {RELEASES[-1]}"
        raise exceptions.InvalidParameter("--python", f"{python}, which has {nova}", accepted)
    if environment.python != list(sys.version_info[:2]):
        version = "{}.{}".format(*environment.python)
        accepted = "an interpreter of version {}.{}, for the shared libraries".format(
            *sys.version_info
        )
        raise exceptions.InvalidParameter("--python", f"{python}, version {version}", accepted)
    own = (str(Path(__file__).parents[2]), sysconfig.get_path("purelib"))
    lines = [path for path in dict.fromkeys(own) if path != environment.directory]
    file = Path(environment.directory, _FILE)
    with filesystem.host_errors(f"{file} cannot be written"):
        file.write_text("\n".join([*lines, f"import {finder.__name__}", ""]))
    return file


def unlink(python: str) -> Path | None:
    """Remove the file that :func:`link` has written.

    :return: the removed file; None if there is no such file.
    :raises InvalidParameter: if the program is no Python interpreter.
    :raises HostError: if the interpreter does not start, or the file cannot be removed.
    """
    file = Path(_ask(python).directory, _FILE)
    with filesystem.host_errors(f"{file} cannot be removed"):
        if not file.exists():
            return None
        file.unlink()
    return file


def _ask(python: str) -> _Environment:
    # Isolated: this process's settings and directory do not matter.
    ended = programs.run([python, "-I", "-c", _QUESTION], timeout=60)
    try:
        return _Environment(**json.loads(ended.output))
    except (ValueError, TypeError):
        raise exceptions.InvalidParameter("--python", python, "a Python interpreter") from None
