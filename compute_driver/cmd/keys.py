# SPDX-License-Identifier: Apache-2.0
"""Small files for a guest: user data and public SSH keys."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from pathlib import Path

from compute_driver import exceptions

_MAX_KEY_FILE_BYTES = 65536
_LINE = re.compile(r"(?P<kind>[a-z0-9@.-]+) (?P<key>[A-Za-z0-9+/]+={0,2})( .*)?")
_ACCEPTED = "a file of public SSH keys, such as ~/.ssh/id_ed25519.pub"


def read_file(flag: str, path: str, limit: int) -> bytes:
    """Return the bytes of a small file.

    :param flag: the option that names the file.
    :param limit: the largest accepted size in bytes.
    :raises InvalidParameter: if the file is unreadable or larger.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise exceptions.InvalidParameter(flag, path, f"a readable file ({reason})") from error
    if len(data) > limit:
        raise exceptions.InvalidParameter(flag, path, f"a file of at most {limit} bytes")
    return data


def public_keys(paths: Sequence[str]) -> dict[str, str]:
    """Return the public SSH keys of some files, by names made from the names of the files.

    :raises InvalidParameter: if a file holds anything else; the error never shows the content.
    """
    keys: dict[str, str] = {}
    for path in paths:
        text = read_file("--key", path, _MAX_KEY_FILE_BYTES).decode("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines()]
        lines = [line for line in lines if line and not line.startswith("#")]
        if not lines or not all(map(_is_public_key, lines)):
            raise exceptions.InvalidParameter("--key", path, _ACCEPTED)
        for line in lines:
            name = Path(path).stem
            keys[name if name not in keys else f"{name}-{len(keys)}"] = line
    return keys


def _is_public_key(line: str) -> bool:
    """Return whether a line is a public key: its binary part begins with the kind of the key."""
    match = _LINE.fullmatch(line)
    if match is None:
        return False
    kind = match["kind"].encode()
    try:
        return base64.b64decode(match["key"]).startswith(len(kind).to_bytes(4, "big") + kind)
    except binascii.Error:
        return False
