# SPDX-License-Identifier: Apache-2.0
"""Runs commands of this project on a release of Debian, inside a root file system of that release.

``python -m tests.releases debian-13 -- tools/test -e functional`` builds the root file system from
Debian packages, copies the checkout into it, and runs the command there in namespaces of its own.
The cache of the test guests keeps the root file system between runs.
"""
