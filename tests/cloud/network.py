# SPDX-License-Identifier: Apache-2.0
"""The cloud's bridges and namespaces in the kernel."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.cloud.errors import CloudError
from tests.cloud.layout import EXTERNAL_BRIDGE, EXTERNAL_GATEWAY, EXTERNAL_NETWORK, Layout
from tests.cloud.processes import end

_BRIDGES = ("br-int", EXTERNAL_BRIDGE)
#: Bridge of neutron's agent.
_TUNNELS = "br-tun"


def make_database(cloud: Layout) -> None:
    """Make Open vSwitch's empty database."""
    cloud.ovs.mkdir(exist_ok=True)
    if (cloud.ovs / "conf.db").exists():
        return
    schema = "/usr/share/openvswitch/vswitch.ovsschema"
    _run("ovsdb-tool", "create", f"{cloud.ovs}/conf.db", schema)


def make_bridges(cloud: Layout) -> None:
    """Make the bridges, and this machine's address in the external network."""
    for bridge in _BRIDGES:
        kind = ("--", "set", "bridge", bridge, "datapath_type=netdev")
        vsctl(cloud, "--may-exist", "add-br", bridge, *kind)
    prefix = EXTERNAL_NETWORK.partition("/")[2]
    _run("ip", "address", "replace", f"{EXTERNAL_GATEWAY}/{prefix}", "dev", EXTERNAL_BRIDGE)
    _run("ip", "link", "set", EXTERNAL_BRIDGE, "up")


def remove_bridges(cloud: Layout) -> None:
    """Remove all bridges while Open vSwitch runs, as Open vSwitch removes the taps."""
    try:
        for bridge in (*_BRIDGES, _TUNNELS):
            vsctl(cloud, "--if-exists", "del-br", bridge)
    except CloudError:
        # Open vSwitch has been killed: its interfaces stay without it.
        for name in interfaces():
            _run("ip", "link", "delete", name)


def interfaces() -> list[str]:
    """Return the interfaces in the kernel that belong to the cloud's bridges."""
    names = (*_BRIDGES, _TUNNELS, "ovs-netdev")
    return [name for name in names if Path("/sys/class/net", name).exists()]


def namespaces(cloud: Layout) -> list[str]:
    """Return the existing namespaces of the cloud's own agents."""
    neutron = cloud.state / "neutron"
    ours = {f"qdhcp-{path.name}" for path in neutron.glob("dhcp/*")}
    ours |= {f"qrouter-{path.stem}" for path in neutron.glob("ns-metadata-proxy/*.conf")}
    listed = {line.split()[0] for line in _run("ip", "netns", "list").splitlines() if line}
    return sorted(ours & listed)


def remove_namespaces(cloud: Layout) -> None:
    """Remove the namespaces with the processes in them."""
    for name in namespaces(cloud):
        end([int(pid) for pid in _run("ip", "netns", "pids", name).split()], 5)
        _run("ip", "netns", "delete", name)


def vsctl(cloud: Layout, *words: str) -> str:
    """Run ``ovs-vsctl`` and return its output."""
    return _run("ovs-vsctl", f"--db={cloud.ovs_connection}", "--timeout=20", *words)


def _run(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CloudError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout
