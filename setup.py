# SPDX-License-Identifier: Apache-2.0
"""Builds the package; everything else is in setup.cfg."""

import setuptools

setuptools.setup(setup_requires=["pbr>=6.0.0"], pbr=True)
