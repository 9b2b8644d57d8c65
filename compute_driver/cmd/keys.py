# SPDX-License-Identifier: Apache-2.0
"""Small files for a guest, user data and public SSH keys, and the SSH key of the driver's own."""

from __future__ import annotations

import base64
import binascii
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from compute_driver import exceptions
from compute_driver.system import programs, tools
from compute_driver.system.filesystem import host_errors

#: The largest size of a file of SSH keys.
MAX_FILE_BYTES = 65536
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
        text = read_file("--key", path, MAX_FILE_BYTES).decode("utf-8-sig", "replace")
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


def own_key(state: Path) -> Path:
    """Return the private SSH key of the driver's own; the first call makes the key.

    :param state: the state directory of the driver.
    :raises MissingDependency: if there is no ``ssh-keygen``.
    :raises HostError: if the key cannot be made.
    """
    directory = state / "ssh"
    key = directory / "id_ed25519"
    with host_errors(f"{key} cannot be read"):
        if key.exists():
            return key
    program = tools.require_program("ssh-keygen")
    with host_errors(f"{directory} cannot be made"):
        state.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".ssh.", dir=state))
        try:
            command = [program, "-q", "-t", "ed25519", "-N", "", "-C", "compute-driver"]
            ended = programs.run([*command, "-f", str(made / key.name)], timeout=60)
            if ended.status:
                raise exceptions.ToolFailed(f"{program} cannot make a key: {ended.errors.strip()}")
            for path in made.iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            made.rename(directory)  # both files at once
        except OSError:
            if not key.exists():  # else another command has made the key
                raise
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return key


def own_public_key(state: Path) -> str:
    """Return the public SSH key of the driver's own.

    :param state: see :func:`own_key`.
    :raises HostError: if there is no such key, and none can be made; names the remedy.
    """
    private = own_key(state)
    public = private.with_suffix(".pub")
    with host_errors(f"{public} cannot be read"):
        text = public.read_text(errors="replace").strip() if public.exists() else ""
    if not _is_public_key(text):
        remedy = f"'ssh-keygen -y -f {private}' tells the key that belongs into the file"
        raise exceptions.HostError(f"{public} has no public SSH key; {remedy}")
    return text
