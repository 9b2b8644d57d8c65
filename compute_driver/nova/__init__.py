# SPDX-License-Identifier: Apache-2.0
"""The adapter to OpenStack Nova: the only part of the package that imports nova."""

#: Scheme of the locations of Glance's images: ``glance://UUID``.
SCHEME = "glance"
