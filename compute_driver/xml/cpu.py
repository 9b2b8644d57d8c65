# SPDX-License-Identifier: Apache-2.0
"""The processor that the guest sees.

Source: libvirt, "Domain XML format", "CPU model and topology" and "CPU Tuning".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from compute_driver.hardware import tuning
from compute_driver.hardware.description import Processor
from compute_driver.limits import CpuLimits
from compute_driver.xml.elements import E, Element


def element(cpu: Processor) -> list[Element]:
    """Return ``<cpu>``, or nothing for QEMU's default.

    Attribute ``check`` is left out: then libvirt demands every feature of the model under KVM,
    and takes the features that the emulator has under TCG.
    """
    if dataclasses.replace(cpu, host_cpus="") == Processor():
        return []
    if not cpu.model:
        made = E.cpu()
    elif cpu.model in tuning.CPU_MODES:
        made = E.cpu(mode=cpu.model)
    else:
        made = E.cpu(E.model(cpu.model, fallback="forbid"), mode="custom", match="exact")
    for topology in cpu.topology:
        counts = dataclasses.asdict(topology).items()
        made.append(E.topology({field: str(count) for field, count in counts}))
    for policy, names in (("require", cpu.enable), ("disable", cpu.disable)):
        made.extend(E.feature(policy=policy, name=name) for name in names)
    return [made]


def count(vcpus: int, cpu: Processor) -> Element:
    """Return ``<vcpu>``."""
    made = E.vcpu(str(vcpus))
    if cpu.host_cpus:
        made.set("cpuset", cpu.host_cpus)
    return made


def tuning_element(limits: CpuLimits | None) -> list[Element]:
    """Return ``<cputune>``, or nothing without limits."""
    if limits is None:
        return []
    values = {"shares": limits.shares, "period": limits.period_us, "quota": limits.quota_us}
    return [E.cputune(*(E(name, str(value)) for name, value in values.items() if value))]


def described(domain: Element, enabled: Collection[str]) -> str:
    """Return the model of a domain's processor and its changes: ``Haswell,+avx512f,-pcid``.

    libvirt knows the model of a running guest's host processor, and the features that emulation
    has left out.

    :param enabled: the features that the guest asked for; the model's own features are not named.
    :return: the CPU mode, if the domain has no model; empty if QEMU chooses.
    """
    cpu = domain.find("cpu")
    if cpu is None:
        return ""
    model = cpu.findtext("model") or cpu.get("mode", "").removeprefix("custom")
    features = cpu.iterfind("feature")
    policies = {feature.get("name", ""): feature.get("policy") for feature in features}
    more = [f"+{name}" for name in dict.fromkeys(enabled) if policies.get(name) == "require"]
    less = [f"-{name}" for name, policy in policies.items() if policy == "disable"]
    return ",".join([model, *more, *less])
