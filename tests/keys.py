# SPDX-License-Identifier: Apache-2.0
"""SSH keys for tests that only pass them on."""

from __future__ import annotations

import base64


def public_key(kind: str = "ssh-ed25519", comment: str = " me@here") -> str:
    """Return a line in the format of OpenSSH's ``authorized_keys``."""
    body = len(kind).to_bytes(4, "big") + kind.encode() + b"\0\0\0\x20" + b"k" * 32
    return f"{kind} {base64.b64encode(body).decode()}{comment}"
