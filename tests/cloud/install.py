# SPDX-License-Identifier: Apache-2.0
"""Virtual environments, one installation for each set of requirements."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from pathlib import Path

from tests.cloud.layout import Layout
from tests.cloud.processes import run

CONSTRAINTS = Path(__file__).with_name("constraints.txt")
PROJECT = Path(__file__).parents[2]

CONTROL = (
    "glance==33.0.0",
    "keystone==30.0.0",
    "neutron==29.0.0",
    "nova==34.0.0",
    "openstack-placement==16.0.0",
    "PyMySQL",
    "python-memcached",
    "uWSGI",
)

#: Releases of nova-compute in order of preference; the first one is the default.
NOVA_RELEASES = ("34.0.0", "33.0.0", "32.0.0")

#: Nova's names of old releases, for the option ``upgrade_levels`` of the other services.
OLD_RELEASES = {"32.0.0": "flamingo"}

#: Files that the project's installation depends on.
_PROJECT_FILES = ("setup.cfg", "requirements.txt")


def control(cloud: Layout) -> None:
    """Make the virtual environment of all services but nova-compute."""
    _link(cloud.control_venv, _venv(cloud, "control", CONTROL))


def compute(cloud: Layout, nova: str) -> Path:
    """Make the virtual environment of nova-compute and this project, and return its folder.

    :param nova: release of nova-compute
    """
    project = [(PROJECT / name).read_text() for name in _PROJECT_FILES]
    requirements = (f"nova=={nova}", "--editable", str(PROJECT))
    folder = _venv(cloud, f"nova-{nova}", requirements, *project)
    # Nova finds a driver that is installed from a checkout only by this link.
    link = (folder / "bin/compute-driver", "nova", "link", "--python", folder / "bin/python")
    run(link, cloud.log / f"install-{folder.name}.log", os.environ)
    return folder


def use(cloud: Layout, folder: Path) -> None:
    """Use a virtual environment for the next start of nova-compute."""
    _link(cloud.compute_venv, folder)


def _venv(cloud: Layout, name: str, requirements: tuple[str, ...], *more: str) -> Path:
    folder = cloud.venvs / name
    recipe = digest(sys.version, CONSTRAINTS.read_text(), *requirements, *more)
    # The stamp comes last, so a half-made environment has none.
    stamp = folder / "recipe"
    if stamp.exists() and stamp.read_text() == recipe:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    cloud.venvs.mkdir(parents=True, exist_ok=True)
    log = cloud.log / f"install-{name}.log"
    run([sys.executable, "-m", "venv", folder], log, os.environ)
    # Most modules are never imported.
    pip = [folder / "bin/pip", "install", "--quiet", "--no-compile"]
    # Debian 12's pip takes three times as long to resolve requirements.
    run([*pip, "--upgrade", "pip"], log, os.environ)
    run([*pip, "--constraint", CONSTRAINTS, *requirements], log, os.environ)
    stamp.write_text(recipe)
    return folder


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def digest(*parts: str) -> str:
    """Return a digest of texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
