# SPDX-License-Identifier: Apache-2.0
"""The process's own limits and settings, which the command inherits from its caller."""

from __future__ import annotations

import os
import resource

from compute_driver import exceptions
from compute_driver.system import home

#: Open files that an embedded libvirt with a few guests needs, and that libvirt's own units allow.
#: The embedded libvirt inherits the limit of the command that starts it.
_FEW_FILES = 64
_MANY_FILES = 8192


def prepare() -> None:
    """Make files usable for their owner, and for nobody else to write; drop relative directories.

    Files with secrets have modes of their own.  The XDG Base Directory Specification says to ignore
    relative paths, which libraries may take as they are.
    """
    os.umask(os.umask(0) & 0o077 | 0o022)
    for name in ("HOME", *(name for name in os.environ if name.startswith("XDG_"))):
        if name.endswith(("HOME", "_DIR")) and not os.path.isabs(os.environ.get(name, "/")):
            del os.environ[name]


def prepare_for_libvirt() -> None:
    """Use the open files that the system allows, and give libvirt's client a home directory.

    :raises HostError: if the system allows too few open files.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _MANY_FILES if hard == resource.RLIM_INFINITY else min(hard, _MANY_FILES)
    if allowed < _FEW_FILES:
        raise exceptions.HostError(
            f"at most {allowed} files can be open (see 'ulimit -n'); accepted: {_FEW_FILES} or more"
        )
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if home.find_home() is None:
        # The client complains on stderr of a missing HOME, and needs none.
        os.environ["HOME"] = "/"
