# SPDX-License-Identifier: Apache-2.0
"""What this driver does with the options of an operator's nova.conf."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from compute_driver import exceptions
from compute_driver.choices import VirtType
from compute_driver.conf import hypervisor
from compute_driver.conf.sources import Setting, masked
from compute_driver.hardware import architecture, tuning
from compute_driver.nova.options import compute, libvirt
from compute_driver.nova.options.rules import Effect, Rule, text

#: Groups all of whose options have a rule; an option without a rule is unknown.
WHOLE: Mapping[str, Mapping[str, Rule]] = {"libvirt": libvirt.RULES, **compute.WHOLE}

TABLE: Mapping[str, Mapping[str, Rule]] = {**WHOLE, **compute.PARTS}

#: Old names of options, by group and name, with the present group and name.
OLD: Mapping[tuple[str, str], tuple[str, str]] = {
    ("libvirt", "cpu_model"): ("libvirt", "cpu_models"),
    ("libvirt", "iscsi_transport"): ("libvirt", "iscsi_iface"),
    ("libvirt", "iscsi_use_multipath"): ("libvirt", "volume_use_multipath"),
    ("libvirt", "num_iscsi_scan_tries"): ("libvirt", "num_volume_scan_tries"),
    ("libvirt", "remove_unused_resized_minimum_age_seconds"): (
        "image_cache",
        "remove_unused_resized_minimum_age_seconds",
    ),
    ("pci", "passthrough_whitelist"): ("pci", "device_spec"),
    ("DEFAULT", "pci_passthrough_whitelist"): ("pci", "device_spec"),
    ("DEFAULT", "pci_alias"): ("pci", "alias"),
    ("devices", "enabled_vgpu_types"): ("devices", "enabled_mdev_types"),
    ("DEFAULT", "vnc_enabled"): ("vnc", "enabled"),
    **{
        ("DEFAULT", name): ("vnc", name)
        for name in ("novncproxy_base_url", "novncproxy_host", "novncproxy_port")
    },
    ("DEFAULT", "image_cache_manager_interval"): ("image_cache", "manager_interval"),
    ("DEFAULT", "image_cache_subdirectory_name"): ("image_cache", "subdirectory_name"),
    **{
        ("DEFAULT", name): ("image_cache", name)
        for name in ("remove_unused_base_images", "remove_unused_original_minimum_age_seconds")
    },
}

#: The values of options by group and name, as :func:`compute_driver.nova.options.rules.text` writes
#: them.
Values = Mapping[tuple[str, str], str]


@dataclasses.dataclass(frozen=True)
class Line:
    """One line about an option.

    :param effect: the effect of the option's value.
    :param group: the option's group.
    :param name: the option's name.
    :param text: the line.
    """

    effect: Effect
    group: str
    name: str
    text: str


def of_settings(settings: Iterable[Setting]) -> Values:
    """Return the values that files and environment variables set, by the present names.

    :param settings: a later setting takes precedence.
    """
    values: dict[tuple[str, str], str] = {}
    for setting in settings:
        group = "DEFAULT" if setting.group == "default" else setting.group
        key = (group, setting.name)
        values[OLD.get(key, key)] = text(setting.value)
    return values


def lines(values: Values) -> Iterator[Line]:
    """Yield a line for each option with a rule, then for each combination and value that fails.

    :param values: the values of the options that the operator has set, or of all options.
    """
    special = [
        *_combinations(values),
        *_machines(values.get(("libvirt", "hw_machine_type"), "")),
        *_replaced(values),
    ]
    named = {(line.group, line.name) for line in special}
    for (group, name), value in values.items():
        rule = TABLE.get(group, {}).get(name)
        if rule is not None:
            effect = rule.effect_of(value)
            words = rule.about or "this value changes nothing"
            if effect is not rule.effect:
                accepted = ", ".join(word or "unset" for word in rule.accepted)
                words = f"{rule.lack}; accepted: {accepted}"
            if effect is not Effect.WORKS or (group, name) not in named:
                yield Line(effect, group, name, f"[{group}] {name} = {masked(value)}: {words}")
        elif group in WHOLE:
            yield Line(Effect.WARNED, group, name, f"[{group}] {name}: nova has no such option")
    yield from special


def origins(own: str) -> list[tuple[str, str]]:
    """Return group and name of the options of nova that set the default of an own option.

    :param own: the name of an option of group ``[hypervisor]``.
    """
    return [
        (group, name)
        for group, rules in TABLE.items()
        for name, rule in rules.items()
        if rule.own == own
    ]


def machine_types(pairs: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield architecture and machine type of the pairs of option ``[libvirt] hw_machine_type``."""
    for pair in pairs:
        name, _, machine = pair.partition("=")
        yield name.strip(), machine.strip()


def complain(values: Values) -> list[str]:
    """Return the lines of options whose values have no effect.

    :param values: the values of all options.
    :raises ConfigurationError: if nova-compute must not start; names all options and their accepted
        values.
    """
    found = list(lines(values))
    refused = [line.text for line in found if line.effect is Effect.REFUSED]
    if refused:
        raise exceptions.ConfigurationError("; ".join(refused))
    return [line.text for line in found if line.effect is Effect.WARNED]


def _combinations(values: Values) -> Iterator[Line]:
    """Yield the combinations that nova's own driver refuses too."""

    def value(group: str, name: str) -> str:
        return values.get((group, name), "")

    def line(group: str, name: str, accepted: str) -> Line:
        words = f"[{group}] {name} = {value(group, name) or 'unset'}: accepted: {accepted}"
        return Line(Effect.REFUSED, group, name, words)

    custom, models = value("libvirt", "cpu_mode") == "custom", value("libvirt", "cpu_models")
    if custom and not models:
        yield line("libvirt", "cpu_models", "CPU models, as cpu_mode is custom")
    if models and not custom:
        yield line("libvirt", "cpu_mode", "custom, as cpu_models is set")
    reserved = value("DEFAULT", "reserved_host_cpus") not in ("", "0")
    if reserved and value("compute", "cpu_shared_set") and not value("DEFAULT", "vcpu_pin_set"):
        yield line("DEFAULT", "reserved_host_cpus", "0, as [compute] cpu_shared_set is set")


def _machines(value: str) -> Iterator[Line]:
    """Yield the pairs of option ``[libvirt] hw_machine_type`` that the driver cannot use."""
    group, option = "libvirt", "hw_machine_type"
    for name, machine in machine_types(filter(None, value.split(","))):
        facts, pair = architecture.find(name), f"{name}={machine}".rstrip("=")
        if facts is None and machine:
            words = f"the driver has no guests of {name}"
            yield Line(Effect.WARNED, group, option, f"[{group}] {option}: {pair}: {words}")
        elif facts is None or not facts.knows(machine):
            patterns = [] if facts is None else facts.machine_names
            accepted = ", ".join(patterns) or "pairs such as x86_64=q35"
            text = f"[{group}] {option} = {pair}: accepted: {accepted}"
            yield Line(Effect.REFUSED, group, option, text)


def _replaced(values: Values) -> Iterator[Line]:
    """Yield the values that guests get another value for."""
    ports, mode = values.get(("libvirt", "num_pcie_ports")), values.get(("libvirt", "cpu_mode"))
    most = hypervisor.MAX_HOTPLUG_PORTS
    if ports and ports.isdigit() and int(ports) > most:
        text = f"[libvirt] num_pcie_ports = {ports}: guests have at most {most} free ports"
        yield Line(Effect.WARNED, "libvirt", "num_pcie_ports", text)
    facts = architecture.find(architecture.of_host())
    known = () if facts is None else facts.kvm_cpu_modes
    emulated = values.get(("libvirt", "virt_type")) == VirtType.QEMU
    if mode in tuning.CPU_MODES and known and mode not in known and not emulated:
        text = f"[libvirt] cpu_mode = {mode}: guests of this host have {known[0]} under KVM"
        yield Line(Effect.WARNED, "libvirt", "cpu_mode", text)
