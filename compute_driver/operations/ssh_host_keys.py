# SPDX-License-Identifier: Apache-2.0
"""Learn the public keys of a guest's SSH server from the guest itself, and remember the keys."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial

from compute_driver import exceptions
from compute_driver.consoles import HOST_KEYS_BEGIN, HOST_KEYS_END
from compute_driver.contract.states import Request
from compute_driver.libvirt import agent
from compute_driver.libvirt.consoles import log as console_log
from compute_driver.operations.base.context import Parts
from compute_driver.storage import layout
from compute_driver.system import concurrency, files
from compute_driver.system.filesystem import host_errors

#: A guest with new keys after each boot would let the file grow for ever.
_MOST = 32

_BLOCK = re.compile(f"{HOST_KEYS_BEGIN}(.*?){HOST_KEYS_END}", re.DOTALL)
_KEY = re.compile(r"^\s*([a-z][a-z0-9@.-]+ [A-Za-z0-9+/]{16,}={0,2})(?:\s|$)", re.MULTILINE)


def ssh_host_keys(parts: Parts, uuid: str) -> tuple[str, ...]:
    """Return the keys that a guest tells now and has told before, the newest first.

    :raises: see :meth:`compute_driver.driver.ComputeDriver.ssh_host_keys`.
    """
    parts.require(uuid, Request.READ_SSH_KEYS)
    log = parts.inventory.console_log(uuid)
    console = concurrency.run_blocking(console_log.read_log, log)
    told = [*_by_agent(parts, uuid), *on_console(console)]
    remembered = parts.directory(uuid) / layout.HOST_KEYS
    with host_errors(f"{remembered} cannot be read"):
        before = remembered.read_text().splitlines() if remembered.exists() else []
    known = list(dict.fromkeys([*told, *before]))[:_MOST]
    if known != before:
        with files.new_file(remembered) as path:
            path.write_text("".join(f"{key}\n" for key in known))
    return tuple(known)


def on_console(console: bytes) -> list[str]:
    """Return the keys in the complete lists of a serial console, the newest list first."""
    blocks = _BLOCK.findall(console.decode("ascii", "replace"))
    return [key for block in reversed(blocks) for key in _KEY.findall(block)]


def _by_agent(parts: Parts, uuid: str) -> Iterable[str]:
    try:
        parts.require_agent(uuid, Request.READ_SSH_KEYS)
        keys = partial(agent.ssh_host_keys, timeout=parts.agent_timeout)
        return [key for text in parts.on_domain(uuid, keys) for key in _KEY.findall(text)]
    except (exceptions.AgentUnavailable, exceptions.AgentFailed):
        return []
