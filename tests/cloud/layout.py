# SPDX-License-Identifier: Apache-2.0
"""The cloud's folders, ports, addresses and secrets."""

from __future__ import annotations

import os
import secrets
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from compute_driver.libvirt.daemon import EmbeddedDaemon
from tests.cloud.errors import CloudError

ADDRESS = "127.0.0.1"

#: The services' usual ports, and other ports where a server of Debian's packages may listen.
PORTS = {
    "keystone": 5000,
    "nova-novncproxy": 6080,
    "nova-spicehtml5proxy": 6082,
    "nova-serialproxy": 6083,
    "openflow": 6633,
    "nova-api": 8774,
    "nova-metadata": 8775,
    "placement": 8778,
    "glance": 9292,
    "neutron-api": 9696,
    "epmd": 14369,
    "rabbitmq": 15673,
    "erlang": 15674,
    "memcached": 21211,
}

#: The network of floating IP addresses, and the bridge by which only this machine reaches it.
EXTERNAL_BRIDGE = "br-ex"
EXTERNAL_GATEWAY = "172.31.240.1"
EXTERNAL_NETWORK = "172.31.240.0/24"

#: Variable in the environment of every process of the cloud; services pass it to their children.
MARK = "COMPUTE_DRIVER_CLOUD_PROCESS"

DEFAULT = "/var/cache/compute-driver-cloud"

#: Seconds without a client after which libvirt ends. nova-compute may be down for some time.
_LIBVIRT_IDLE_SECONDS = 24 * 3600


def default() -> Path:
    """Return ``$COMPUTE_DRIVER_CLOUD``, or ``/var/cache/compute-driver-cloud`` without one.

    Root's home does not do: servers that give up root, such as dnsmasq, cannot read it.
    """
    return Path(os.environ.get("COMPUTE_DRIVER_CLOUD") or DEFAULT).absolute()


@dataclass(frozen=True)
class Layout:
    """The folders below the cloud's own; ``state`` exists only while the cloud is up.

    ROOT/venvs, ROOT/seeds    installed environments and filled databases, kept for the next time
    ROOT/log                  the services' last logs, kept after their end
    ROOT/state                everything else
    """

    root: Path

    def check_access(self) -> None:
        """Refuse a root folder that servers without root cannot read."""
        for folder in (self.root, *self.root.parents):
            if folder.exists() and not folder.stat().st_mode & stat.S_IXOTH:
                raise CloudError(
                    f"not everybody may enter {folder}: set COMPUTE_DRIVER_CLOUD to another place"
                )

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def etc(self) -> Path:
        return self.state / "etc"

    @property
    def run(self) -> Path:
        return self.state / "run"

    @property
    def log(self) -> Path:
        return self.root / "log"

    @property
    def venvs(self) -> Path:
        return self.root / "venvs"

    @property
    def control_venv(self) -> Path:
        """A link to the virtual environment of all services but nova-compute."""
        return self.state / "control-venv"

    @property
    def compute_venv(self) -> Path:
        """A link to the virtual environment of nova-compute."""
        return self.state / "compute-venv"

    @property
    def database_socket(self) -> Path:
        return self.state / "mariadb.sock"

    @property
    def ovs(self) -> Path:
        return self.state / "ovs"

    @property
    def ovs_connection(self) -> str:
        return f"unix:{self.ovs}/db.sock"

    @cached_property
    def libvirt(self) -> EmbeddedDaemon:
        return EmbeddedDaemon(self.state, idle_timeout=_LIBVIRT_IDLE_SECONDS)

    @cached_property
    def password(self) -> str:
        """The password of every account: random, as its owner is root on this machine, and kept."""
        path = self.root / "password"
        if not path.exists():
            self.root.mkdir(parents=True, exist_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_hex(16))
        return path.read_text()

    def environment(self) -> dict[str, str]:
        """Return the environment of the cloud's processes."""
        path = f"{self.control_venv}/bin:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        return {
            "PATH": path,
            "HOME": str(self.state),
            "LC_ALL": "C.UTF-8",
            "OVS_RUNDIR": str(self.ovs),
            MARK: str(self.root),
        }

    def url(self, service: str, path: str = "") -> str:
        return f"http://{ADDRESS}:{PORTS[service]}{path}"

    def credentials(self) -> dict[str, Any]:
        """Return the administrator's parameters for ``openstack.connect``."""
        return {
            "auth_url": self.url("keystone", "/v3"),
            "username": "admin",
            "password": self.password,
            "project_name": "admin",
            "user_domain_id": "default",
            "project_domain_id": "default",
            "region_name": "RegionOne",
            "identity_api_version": "3",
        }
