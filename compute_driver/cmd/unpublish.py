# SPDX-License-Identifier: Apache-2.0
"""``unpublish``: close a published port of a guest."""

from __future__ import annotations

from compute_driver.cmd.publish import Publish


class Unpublish(Publish):
    """Close a published port of a guest."""
