# SPDX-License-Identifier: Apache-2.0
"""Virtual environments, installed once for each set of requirements."""

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

#: Of nova-compute, the first being the default; their order is that of preference.
NOVA_RELEASES = ("34.0.0", "33.0.0", "32.0.0")

#: How nova names releases of nova-compute that the others have to be told of.
OLD_RELEASES = {"32.0.0": "flamingo"}

#: What the project's installation is made from.
_PROJECT_FILES = ("setup.cfg", "requirements.txt")


def control(cloud: Layout) -> None:
    """Makes the virtual environment of everything but nova-compute."""
    _link(cloud.control_venv, _venv(cloud, "control", CONTROL))


def compute(cloud: Layout, nova: str) -> Path:
    """Makes nova-compute's, in which this project is installed, too, and returns it.

    :param nova: its release
    """
    project = [(PROJECT / name).read_text() for name in _PROJECT_FILES]
    requirements = (f"nova=={nova}", "--editable", str(PROJECT))
    folder = _venv(cloud, f"nova-{nova}", requirements, *project)
    # So that nova finds what is installed from a checkout.
    link = (folder / "bin/compute-driver", "nova", "link", "--python", folder / "bin/python")
    run(link, cloud.log / f"install-{folder.name}.log", os.environ)
    return folder


def use(cloud: Layout, folder: Path) -> None:
    """Has nova-compute run in a virtual environment from its next start on."""
    _link(cloud.compute_venv, folder)


def _venv(cloud: Layout, name: str, requirements: tuple[str, ...], *more: str) -> Path:
    folder = cloud.venvs / name
    recipe = digest(sys.version, CONSTRAINTS.read_text(), *requirements, *more)
    # Written once it is whole.
    stamp = folder / "recipe"
    if stamp.exists() and stamp.read_text() == recipe:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    cloud.venvs.mkdir(parents=True, exist_ok=True)
    log = cloud.log / f"install-{name}.log"
    run([sys.executable, "-m", "venv", folder], log, os.environ)
    pip = [folder / "bin/pip", "install", "--quiet"]
    # Debian 12's takes thrice as long to find out what is needed.
    run([*pip, "--upgrade", "pip"], log, os.environ)
    run([*pip, "--constraint", CONSTRAINTS, *requirements], log, os.environ)
    stamp.write_text(recipe)
    return folder


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def digest(*parts: str) -> str:
    """Changes with every one of some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
