# SPDX-License-Identifier: Apache-2.0
"""Follows taps that libvirt replaces, as Open vSwitch in user space does not.

The datapath ``netdev`` holds a socket on a tap's index. When a guest is rebooted or resumed,
libvirt makes another tap with the same name, but nova's port stays: no packet would pass. This
program removes such a port and adds it again. Open vSwitch in the kernel does not need this.

The program runs as long as the cloud, with ``OVS_RUNDIR`` set.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_LINK = re.compile(r"(?P<index>\d+): (?P<name>tap[^:@ ]+)[:@]")


def main() -> int:
    seen: dict[str, tuple[int, str]] = {}
    for index, name in links():
        if name in seen and seen[name][0] == index:
            continue
        port = interface(name)
        if port is None:
            continue
        row, works = port
        before = seen.get(name)
        # The port is the same, but its tap is a new one that still exists.
        if before and before[1] == row and works and current(name) == index:
            again(name)
            port = interface(name)
        if port:
            seen[name] = index, port[0]
    return 1


def links() -> Iterator[tuple[int, str]]:
    """Yield index and name of a tap whenever the tap changes."""
    monitor = ("ip", "-oneline", "monitor", "link")
    with subprocess.Popen(monitor, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if link := _LINK.match(line):
                yield int(link["index"]), link["name"]


def interface(name: str) -> tuple[str, bool] | None:
    """Return the ID of a tap's row and whether the port has a number; None without a row."""
    columns = ("--format=json", "--columns=_uuid,ofport", "--if-exists")
    rows = json.loads(vsctl(*columns, "list", "Interface", name) or '{"data": []}')["data"]
    if not rows:
        return None
    (_, row), number = rows[0]
    return row, isinstance(number, int) and number > 0


def again(name: str) -> None:
    """Remove a port, and add it with the same settings."""
    bridge = vsctl("iface-to-br", name).strip()
    settings = [f"external_ids={vsctl('get', 'Interface', name, 'external_ids').strip()}"]
    mtu = vsctl("get", "Interface", name, "mtu_request").strip()
    settings += [f"mtu_request={mtu}"] * (mtu not in ("", "[]"))
    vsctl("del-port", bridge, name)
    index = current(name)
    if index is None:
        return
    vsctl("add-port", bridge, name, "--", "set", "Interface", name, *settings)
    print("added again:", name, flush=True)
    # A guest that has just gone took its tap with it.
    if current(name) != index:
        vsctl("--if-exists", "del-port", bridge, name)


def current(name: str) -> int | None:
    """Return the index of a network interface; None without one."""
    with suppress(OSError):
        return int(Path("/sys/class/net", name, "ifindex").read_text())
    return None


def vsctl(*words: str) -> str:
    command = ("ovs-vsctl", f"--db=unix:{os.environ['OVS_RUNDIR']}/db.sock", "--timeout=10")
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        print(*words, done.stderr.strip(), flush=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
