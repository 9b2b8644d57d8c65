# SPDX-License-Identifier: Apache-2.0
"""The CPU model of an instance whose flavor requires features of the processor.

This module does not import nova.  Source: Nova, "Configuration options", option ``[libvirt]
cpu_models``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from compute_driver import exceptions
from compute_driver.conf import cpu_map
from compute_driver.hardware import architecture
from compute_driver.nova import placement


def choose_model(
    models: Sequence[str],
    guest_architecture: str,
    extra_specs: Mapping[str, str],
    more: Collection[str] = (),
    less: Collection[str] = (),
) -> str | None:
    """Return the first model that has all features that a flavor requires.

    :param models: the operator's models, for guests of the host's own architecture.
    :param guest_architecture: the guest's architecture.
    :param extra_specs: the flavor's extra specs.
    :param more: the features that the operator adds to all models.
    :param less: the features that the operator removes.
    :return: None if the flavor requires no feature; the first model is the default then.
    :raises NotOnThisHost: if no model has all features; names the models.
    """
    features = placement.required_features(extra_specs)
    if not models or not features or guest_architecture != architecture.of_host():
        return None
    known = cpu_map.features(guest_architecture)
    for model in models:
        if features <= known.get(model, frozenset()).union(more).difference(less):
            return model
    raise exceptions.NotOnThisHost(
        "trait:HW_CPU_X86_...",
        ", ".join(sorted(features)),
        f"the features of CPU models {', '.join(models)}",
    )
