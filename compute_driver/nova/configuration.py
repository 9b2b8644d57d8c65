# SPDX-License-Identifier: Apache-2.0
"""Options of this package in nova's configuration files, with defaults from nova's options."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nova.conf
from nova.conf import opts
from oslo_config import cfg

from compute_driver import conf, exceptions
from compute_driver.choices import VirtType
from compute_driver.conf import cpu_map, devices, hypervisor, sources
from compute_driver.consoles import DisplayKind
from compute_driver.hardware import architecture
from compute_driver.nova.options import report
from compute_driver.nova.options.report import Values
from compute_driver.nova.options.rules import Effect
from compute_driver.nova.options.rules import text as rules_text

#: The options of nova behind the defaults of :func:`_processors`.
_PROCESSORS = {
    "kvm_cpu_mode": [("libvirt", "cpu_mode")],
    "tcg_cpu_models": [("libvirt", "cpu_mode")],
    "cpu_models": [("libvirt", "cpu_models")],
}

#: The default number of interfaces that a running instance can get.  Every interface takes a port
#: of PCI Express; a port costs time only while firmware and kernel look for devices.
_HOTPLUG_PORTS = 4


def register() -> cfg.ConfigOpts:
    """Return nova's configuration with group ``[hypervisor]``.

    The group's defaults come from nova's options, as :mod:`compute_driver.nova.options` says.

    :raises cfg.Error: if an option has a bad value; names the option and the accepted values.
    :raises ValueError: likewise, from some types of oslo.config.
    :raises ConfigurationError: if a value of nova is no value of this package's option.
    """
    nova_conf: cfg.ConfigOpts = nova.conf.CONF
    conf.register(nova_conf)
    _set_defaults(nova_conf, _copied(nova_conf) | converted(nova_conf))
    _set_defaults(nova_conf, _processors(nova_conf))
    for option in hypervisor.OPTIONS:  # reading an option refuses a bad value
        nova_conf.hypervisor[option.dest]
    return nova_conf


def values(nova_conf: cfg.ConfigOpts) -> dict[tuple[str, str], str]:
    """Return the values of nova's options in the table, without those that this nova lacks."""
    found: dict[tuple[str, str], str] = {}
    for group, rules in report.TABLE.items():
        for name in rules:
            with contextlib.suppress(cfg.NoSuchOptError):
                found[group, name] = rules_text(_value(nova_conf, group, name))
    return found


def checked(
    paths: Sequence[str], settings: Sequence[sources.Setting]
) -> tuple[Values, dict[tuple[str, str], str]]:
    """Return values as nova reads them, and a line for each option whose value nova refuses.

    :param paths: the configuration files.
    :param settings: the settings of the files and of the environment.
    :return: in the values, references such as ``$state_path`` are replaced; the lines are by group
        and name.
    """
    nova_conf = cfg.ConfigOpts()
    options: dict[tuple[str, str], cfg.Opt] = {}
    for group, listed in opts.list_opts():
        section = str(getattr(group, "name", group))
        rules = report.TABLE.get(section, {})
        # Values refer to options of [DEFAULT].  Other options of nova may be required, or be twice.
        known = [option for option in listed if section == "DEFAULT" or option.dest in rules]
        nova_conf.register_opts(known, None if section == "DEFAULT" else section)
        options |= {(section, option.dest): option for option in known}
    arguments = [f"--config-file={path}" for path in paths]
    nova_conf(arguments, project="nova", default_config_files=[], default_config_dirs=[])
    read, faults = dict(report.of_settings(settings)), {}
    for group, name in read.keys() & options.keys():
        try:
            read[group, name] = rules_text(_value(nova_conf, group, name))
        except (cfg.Error, ValueError) as error:
            faults[group, name] = sources.complaint(group, options[group, name], error, settings)
    conf.register(nova_conf)
    if not faults:
        faults = _faults(nova_conf, _copied(nova_conf) | converted(nova_conf))
        faults |= _faults(nova_conf, _processors(nova_conf))
    return read, faults


def converted(nova_conf: cfg.ConfigOpts) -> dict[str, Any]:
    """Return the defaults that are not simply the value of one option of nova."""
    return _host(nova_conf) | _guests(nova_conf) | _consoles(nova_conf)


def machines(nova_conf: cfg.ConfigOpts) -> dict[str, str]:
    """Return the machine types of option ``[libvirt] hw_machine_type``, by architecture.

    :mod:`compute_driver.nova.options.report` tells about pairs that the driver cannot use.
    """
    pairs = report.machine_types(nova_conf.libvirt.hw_machine_type or ())
    named = ((architecture.find(name), machine) for name, machine in pairs)
    return {facts.name: machine for facts, machine in named if facts is not None}


def _value(nova_conf: cfg.ConfigOpts, group: str, name: str) -> Any:
    return (nova_conf if group == "DEFAULT" else nova_conf[group])[name]


def _copied(nova_conf: cfg.ConfigOpts) -> dict[str, Any]:
    """Return the values of nova's options that are defaults, without values that are refused."""
    found: dict[str, Any] = {}
    for group, rules in report.TABLE.items():
        for name, rule in rules.items():
            if not rule.own:
                continue
            with contextlib.suppress(cfg.NoSuchOptError):
                value = _value(nova_conf, group, name)
                if rule.effect_of(rules_text(value)) is not Effect.REFUSED:
                    found[rule.own] = value
    return found


def _set_defaults(nova_conf: cfg.ConfigOpts, defaults: dict[str, Any]) -> None:
    """Set the defaults of options of group ``[hypervisor]``.

    :raises ConfigurationError: if an option does not take its default; names nova's options.
    """
    faults = _faults(nova_conf, defaults)
    if faults:
        raise exceptions.ConfigurationError("; ".join(faults.values()))


def _faults(nova_conf: cfg.ConfigOpts, defaults: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Set defaults; return a line for each option of nova whose value is no usable default."""
    faults: dict[tuple[str, str], str] = {}
    for own, default in defaults.items():
        try:
            nova_conf.set_default(own, default, group=hypervisor.GROUP.name)
        except ValueError as error:
            origins = _PROCESSORS.get(own) or report.origins(own)
            values = {key: rules_text(_value(nova_conf, *key)) for key in origins}
            for (group, name), value in values.items():
                if value:
                    faults[group, name] = sources.masked(f"[{group}] {name} = {value}: {error}")
    return faults


def _host(nova_conf: cfg.ConfigOpts) -> dict[str, Any]:
    libvirt, cache = nova_conf.libvirt, nova_conf.image_cache
    instances = Path(nova_conf.instances_path)
    return {
        "connection_uri": libvirt.connection_uri or "qemu:///system",
        "state_path": str(Path(nova_conf.state_path) / conf.PROJECT),
        "instances_path": str(instances),
        "image_cache_path": str(instances / cache.subdirectory_name),
        # A negative age means, like 0, that an unused image goes at once.
        "image_unused_seconds": max(0, cache.remove_unused_original_minimum_age_seconds),
        "guest_cpus": nova_conf.vcpu_pin_set or nova_conf.compute.cpu_shared_set,
        # Nova makes several attempts of this length.
        "detach_timeout": libvirt.device_detach_attempts * libvirt.device_detach_timeout,
    }


def _guests(nova_conf: cfg.ConfigOpts) -> dict[str, Any]:
    libvirt = nova_conf.libvirt
    modes = (pair.partition("=") for pair in libvirt.disk_cachemodes)
    return {
        "hotplug_ports": _hotplug_ports(nova_conf),
        # Nova's option may be negative, which means never, and has no limit; libvirt has.
        "memory_stats_seconds": max(0, min(libvirt.mem_stats_period_seconds, hypervisor.MAX_INT)),
        # Nova's option has no limit, but Linux has.
        "nic_max_queues": libvirt.max_queues and min(libvirt.max_queues, devices.MAX_QUEUES),
        "disk_format": _disk_format(nova_conf),
        "preallocate_disks": nova_conf.preallocate_images == "space",
        "disk_cache_modes": {kind: mode for kind, _, mode in modes},
        "disk_discard": libvirt.hw_disk_discard or "unmap",
    }


def _disk_format(nova_conf: cfg.ConfigOpts) -> str:
    kind = nova_conf.libvirt.images_type
    flat = kind in ("raw", "flat") or (kind == "default" and not nova_conf.use_cow_images)
    return "raw" if flat else "qcow2"


def _processors(nova_conf: cfg.ConfigOpts) -> dict[str, Any]:
    """Return the defaults of the processors, for guests under the accelerator of ``virt_type``."""
    mode, models = nova_conf.libvirt.cpu_mode, list(nova_conf.libvirt.cpu_models)
    own = architecture.of_host()
    if mode is None or (mode == "custom" and not models) or own not in architecture.TABLE:
        return {}
    # As for nova's own driver, upper and lower case are the same.
    known = {model.lower(): model for model in cpu_map.models(own)}
    models = [known.get(model.lower(), model) for model in models]
    if mode == "custom":
        return {"cpu_models": models}
    if nova_conf.hypervisor.virt_type == VirtType.QEMU:
        return {"tcg_cpu_models": {own: mode}}
    return {"kvm_cpu_mode": mode}


def _hotplug_ports(nova_conf: cfg.ConfigOpts) -> int:
    """Return the number of free PCI Express ports; nova's option counts all ports, up to 28."""
    return min(nova_conf.libvirt.num_pcie_ports or _HOTPLUG_PORTS, hypervisor.MAX_HOTPLUG_PORTS)


def _consoles(nova_conf: cfg.ConfigOpts) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        f"{kind}_listen": nova_conf[kind].server_listen if nova_conf[kind].enabled else None
        for kind in DisplayKind
    }
    serial = nova_conf.serial_console
    defaults["serial_listen"] = serial.proxyclient_address if serial.enabled else None
    return defaults
