# SPDX-License-Identifier: Apache-2.0
"""``spawn``: make a guest from the options of the command line."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import logging
import math
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compute_driver import exceptions
from compute_driver.choices import DiskBus
from compute_driver.cmd import errors, keys, options, show, verb
from compute_driver.cmd.columns import ShowOne
from compute_driver.cmd.spawn_options import GROUPS, HARDWARE
from compute_driver.guest import (
    MAX_USER_DATA_BYTES,
    ConfigDrive,
    Disk,
    Guest,
    Image,
    Interface,
    StaticAddress,
    publishing,
)
from compute_driver.hardware import architecture, properties
from compute_driver.hardware.properties import Wishes

LOG = logging.getLogger(__name__)

_HOSTNAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")


class Spawn(ShowOne):
    """Make a guest and start it."""

    columns = tuple(show.SHOWN)

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument("name", metavar="NAME", help="name of the guest, unique on this host")
        for title, group in GROUPS.items():
            options.add(parser.add_argument_group(title), group)
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        seconds = verb.console_seconds("--timeout", parsed_args.timeout, parsed_args.wait)
        with options.named(), self.progress() as report:
            guest = self._with_own_key(_guest(parsed_args), parsed_args)
            info = self.operate(guest, progress=report)
        if parsed_args.wait is not None:
            self._wait(guest, parsed_args.wait, seconds)
        return self.dict2columns(show.describe(info))

    def _with_own_key(self, guest: Guest, words: argparse.Namespace) -> Guest:
        """Give a guest without another key the driver's own SSH key, for ``compute-driver ssh``."""
        if guest.config_drive is None or words.key:
            return guest
        try:
            own = keys.own_public_key(Path(self.driver.conf.hypervisor.state_path))
        except exceptions.HostError as error:
            LOG.warning("Guest %s gets no SSH key: %s", guest.name, error)
            return guest
        drive = dataclasses.replace(guest.config_drive, public_keys={"compute-driver": own})
        return dataclasses.replace(guest, config_drive=drive)

    def _wait(self, guest: Guest, text: str, timeout: float) -> None:
        try:
            self.driver.console_wait(guest.uuid, text, timeout=timeout)
        except exceptions.OperationTimeout as error:
            raise exceptions.OperationTimeout(f"{error}; guest {guest.name!r} stays") from error
        except (KeyboardInterrupt, exceptions.Interrupted):
            LOG.warning("Guest %s stays", guest.name)
            raise


def _guest(words: argparse.Namespace) -> Guest:
    """Return the guest that the command line describes.

    :raises InvalidParameter: names the option, and the accepted values.
    """
    hardware = _hardware(words)
    bus = hardware.disk_bus
    image = options.image(words)
    interfaces, addresses = _interfaces(words.nic, hardware)
    # Without --vcpus, the topology makes the number of virtual CPUs.
    vcpus = math.prod(hardware.topology.values()) if words.vcpus is None else words.vcpus
    swap_bytes = options.mib("--swap", words.swap)
    ports = [options.published_port("publish", word) for word in words.publish]
    guest = Guest(
        uuid=str(uuid.uuid4()) if words.uuid is None else words.uuid.lower(),
        name=words.name,
        vcpus=vcpus,
        memory_mib=words.memory,
        architecture=hardware.architecture or architecture.of_host(),
        cpu=hardware.cpu(vcpus),
        image=image,
        root=_root(words.disk, image, bus),
        ephemerals=tuple(
            Disk(size_bytes=options.gib("--ephemeral", size), bus=bus) for size in words.ephemeral
        ),
        swap=Disk(size_bytes=swap_bytes, bus=bus) if swap_bytes else None,
        boot=options.direct_boot(words, hardware.cmdline or ""),
        config_drive=_config_drive(words, addresses),
        interfaces=interfaces,
        **hardware.devices(),
    )
    return functools.reduce(publishing, ports, guest)


def _hardware(words: argparse.Namespace) -> Wishes:
    """Return the hardware of the properties, changed by the options."""
    wanted = properties.read_wishes(options.pair("--hw", pair) for pair in words.hw)
    changes = {
        option.field: option.read(option.flag, value)
        for option in HARDWARE
        if option.field is not None and (value := getattr(words, option.name)) is not None
    }
    given = {level: getattr(words, level) for level in ("sockets", "cores", "threads")}
    levels = {level: number for level, number in given.items() if number is not None}
    limits = wanted.topology_limits.items()
    return dataclasses.replace(
        wanted,
        **changes,
        cpu_enable=(*_without(wanted.cpu_enable, words.cpu_disable), *words.cpu_enable),
        cpu_disable=(*_without(wanted.cpu_disable, words.cpu_enable), *words.cpu_disable),
        topology={**wanted.topology, **levels},
        topology_limits={level: limit for level, limit in limits if level not in levels},
    )


def _without(names: Sequence[str], others: Sequence[str]) -> list[str]:
    return [name for name in names if name not in others]


def _root(size_gib: float | None, image: Image | None, bus: DiskBus | None) -> Disk | None:
    if size_gib is None:
        return None if image is None else Disk(bus=bus)
    size_bytes = options.gib("--disk", size_gib)
    if not size_bytes and image is None:
        accepted = "a size in GiB above 0, without an image"
        raise exceptions.InvalidParameter("--disk", size_gib, accepted)
    return Disk(size_bytes=size_bytes, bus=bus)


def _interfaces(
    specs: Sequence[str], hardware: Wishes
) -> tuple[tuple[Interface, ...], dict[str, tuple[StaticAddress, ...]]]:
    """Return the interfaces, and the static addresses by MAC address."""
    if "none" in specs:
        if len(specs) > 1:
            raise exceptions.InvalidParameter("--nic", "none", "none alone")
        return (), {}
    parted = [options.static_addresses(spec) for spec in specs or ("user",)]
    known = f"{options.SETTINGS}; {options.ADDRESSES}; or none alone"
    made = tuple(options.interface(spec, hardware, known) for spec, _addresses in parted)
    pairs = zip(made, parted, strict=True)
    return made, {nic.mac: addresses for nic, (_spec, addresses) in pairs if addresses}


def _config_drive(
    words: argparse.Namespace, addresses: Mapping[str, tuple[StaticAddress, ...]]
) -> ConfigDrive | None:
    content = {
        "--user-data": words.user_data,
        "--key": words.key,
        "--hostname": words.hostname,
        "--meta": words.meta,
        "--dns": words.dns,
        "an address of --nic": list(addresses),
    }
    given = [flag for flag, value in content.items() if value not in (None, [])]
    if words.config_drive is False and given:
        raise errors.UsageError(f"--no-config-drive is not usable with {' and '.join(given)}")
    wanted = words.config_drive
    if wanted is None:  # an image's own system reads the SSH key and the host name there
        wanted = bool(given) or words.image is not None
    if not wanted:
        return None
    return ConfigDrive(
        hostname=_hostname(words),
        user_data=None
        if words.user_data is None
        else keys.read_file("--user-data", words.user_data, MAX_USER_DATA_BYTES),
        public_keys=keys.public_keys(words.key),
        meta=options.pairs("--meta", words.meta),
        addresses=addresses,
        name_servers=tuple(words.dns),
    )


def _hostname(words: argparse.Namespace) -> str:
    if words.hostname is None:
        return re.sub("[^a-z0-9]+", "-", words.name.lower())[:63].strip("-") or "guest"
    if len(words.hostname) > 253 or not _HOSTNAME.fullmatch(words.hostname):
        accepted = "letters, digits and hyphens, in parts of at most 63, separated by dots"
        raise exceptions.InvalidParameter("--hostname", words.hostname, accepted)
    return str(words.hostname)
