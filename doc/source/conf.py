# SPDX-License-Identifier: Apache-2.0
"""How Sphinx builds the documentation and the manual page."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_extensions"))

project = "compute-driver"
author = "the compute-driver authors"
copyright = author
extensions = ["oslo_config.sphinxext", "properties", "verbs"]

html_theme = "furo"
html_title = project

# What cliff adds to every verb that shows a table is described once.
autoprogram_cliff_application = project
autoprogram_cliff_ignored = [
    "--help",
    "--format",
    "--column",
    "--sort-column",
    "--sort-ascending",
    "--sort-descending",
    "--quote",
    "--noindent",
    "--prefix",
    "--max-width",
    "--fit-width",
    "--print-empty",
    "--variable",
]

man_pages = [("man/compute-driver", project, "run KVM and QEMU guests through libvirt", "", 1)]
# The manual page is checked in, so it must not change with the day.
today = " "
