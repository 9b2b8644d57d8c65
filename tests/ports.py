# SPDX-License-Identifier: Apache-2.0
"""Ports of this host for tests."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Return a port of this host that no program has now."""
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])
