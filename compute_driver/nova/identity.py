# SPDX-License-Identifier: Apache-2.0
"""The facts of the SMBIOS tables from which an instance's system knows its computer.

cloud-init, Ignition and cloudbase-init find nova's metadata service by these texts.

Source: Nova, "Configuration options", option ``[libvirt] sysinfo_serial``.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import nova.privsep.path
from nova import version

from compute_driver import exceptions
from compute_driver.guest import Identity
from compute_driver.system.filesystem import host_errors

#: systemd's identity of the host's operating system, and the firmware's identity of the hardware,
#: which libvirt reads as well.
_MACHINE_ID = Path("/etc/machine-id")
_PRODUCT_UUID = Path("/sys/class/dmi/id/product_uuid")

#: Bytes of a file in ``/sys``, by its status.
_PAGE = 4096


def of_instances(nova_conf: Any) -> Identity:
    """Return the identity that every instance on this host gets.

    :param nova_conf: nova's configuration.
    :raises HostError: if the host has no serial number of the kind that the option asks for.
    """
    return Identity(
        manufacturer=version.vendor_string(),
        product=version.product_string(),
        version=version.version_string_with_package(),
        serial=_SERIALS[nova_conf.libvirt.sysinfo_serial](),
    )


def _read(path: Path) -> str:
    with host_errors(f"{path}, which option [libvirt] sysinfo_serial names, cannot be read"):
        try:
            text = path.read_text()
        except PermissionError:  # Linux lets only root read the identity of the hardware
            text = nova.privsep.path.last_bytes(str(path), _PAGE)[0].decode()
    try:
        return str(uuid.UUID(text.strip()))
    except ValueError as error:  # systemd writes no number before the first boot of an image
        raise exceptions.HostError(
            f"{path}, which option [libvirt] sysinfo_serial names, has {text.strip()!r}; accepted:"
            " a UUID, or sysinfo_serial = unique"
        ) from error


_SERIALS: Mapping[str, Callable[[], str | None]] = {
    "unique": lambda: None,
    "none": str,
    "os": lambda: _read(_MACHINE_ID),
    "hardware": lambda: _read(_PRODUCT_UUID),
    "auto": lambda: _read(_MACHINE_ID if _MACHINE_ID.exists() else _PRODUCT_UUID),
}
