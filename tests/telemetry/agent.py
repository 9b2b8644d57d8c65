# SPDX-License-Identifier: Apache-2.0
"""What Ceilometer's compute agent finds and measures, as JSON.

``python -m tests.telemetry.agent URI``.  Ceilometer imports eventlet, so it has a process of its
own, as on a compute host.
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

import stevedore
from ceilometer import service
from ceilometer.compute.discovery import InstanceDiscovery
from ceilometer.polling.plugin_base import PollsterPermanentError


def measure(uri: str) -> dict[str, Any]:
    """Return the instances in libvirt, and resource and volume of each sample by meter.

    :param uri: libvirt's.
    """
    conf = service.prepare_service(argv=[], config_files=[])
    conf.set_override("libvirt_uri", uri)
    instances = list(InstanceDiscovery(conf).discover(None))
    cache: dict[str, Any] = {}
    measured: dict[str, list[tuple[str, float]]] = {}
    for point in stevedore.ExtensionManager("ceilometer.poll.compute").extensions:
        try:
            samples = list(point.plugin(conf).get_samples(None, cache, instances))
        except PollsterPermanentError:  # a meter that this host does not have
            continue
        if samples:
            measured[point.name] = [(sample.resource_id, sample.volume) for sample in samples]
    return {"instances": [vars(instance) for instance in instances], "meters": measured}


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):  # for Ceilometer's log
        result = measure(sys.argv[1])
    json.dump(result, sys.stdout, default=str)
