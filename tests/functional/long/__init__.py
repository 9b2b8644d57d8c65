# SPDX-License-Identifier: Apache-2.0
"""Tests that are too long for each change: ``tox -e functional-long`` and ``architectures``."""
