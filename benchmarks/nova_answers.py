# SPDX-License-Identifier: Apache-2.0
"""Answer nova-compute's questions by one driver, and tell the time of each answer.

An interpreter with nova 34 runs this program, which reads the name of a question from each line of
its standard input, and answers by a line of JSON.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import os
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import nova_xml  # before all else of nova

# isort: split
from nova import objects
from nova.virt import driver as nova_driver
from nova.virt import fake, node

from tests import libvirt_calls

Question = Callable[[nova_driver.ComputeDriver, list[objects.Instance]], object]

#: The questions of nova-compute's periodic tasks.
QUESTIONS: Mapping[str, Question] = {
    "list_instance_uuids": lambda driver, _instances: driver.list_instance_uuids(),
    "get_info of each": lambda driver, instances: [driver.get_info(one) for one in instances],
    "get_available_resource": lambda driver, _instances: driver.get_available_resource(
        driver.get_available_nodes()[0]
    ),
}


def in_tree(_uri: str, state: Path) -> nova_driver.ComputeDriver:
    """Return nova's own driver, whose options have been set.

    :param state: an empty directory.
    """
    from nova.virt.libvirt import driver

    (state / "instances").mkdir()
    return driver.LibvirtDriver(fake.FakeVirtAPI())


def this(uri: str, state: Path) -> nova_driver.ComputeDriver:
    """Return this project's driver.

    :param uri: of the libvirt with the guests.
    :param state: a directory whose parent has the guests.
    """
    from compute_driver.nova import configuration
    from compute_driver.nova.driver import NovaDriver

    conf = configuration.register()
    for name, value in {
        "driver": "libvirt",
        "connection_uri": uri,
        "instances_path": str(state.parent / "instances"),
        "image_cache_path": str(state.parent / "images"),
    }.items():
        conf.set_override(name, value, "hypervisor")
    return NovaDriver(fake.FakeVirtAPI())


DRIVERS = {"in-tree": in_tree, "driver": this}


def timed(question: Callable[[], object]) -> dict[str, Any]:
    """Return the seconds and the libvirt calls of a question, and the process's memory in MiB."""
    with libvirt_calls.counted() as calls:
        began = time.perf_counter()
        question()
        seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "calls": calls.total(), "memory_mib": memory // 1024}


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("driver", choices=DRIVERS)
    parser.add_argument("uri", help="of the libvirt with the guests")
    parser.add_argument("state", type=Path, help="the directory with the guests")
    parser.add_argument("uuids", nargs="+", help="of the guests")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    with tempfile.TemporaryDirectory(dir=arguments.state) as name:
        nova_xml.configure(Path(name), arguments.uri)
        node.write_local_node_uuid("00000000-0000-0000-0000-000000000003")
        instances = [nova_xml.describe(uuid, uuid, 64, 1) for uuid in arguments.uuids]
        driver = DRIVERS[arguments.driver](arguments.uri, Path(name))
        with nova_xml.no_database():
            answer(timed(lambda: driver.init_host("benchmark")))
            for line in sys.stdin:
                question = QUESTIONS[line.strip()]
                answer(timed(functools.partial(question, driver, instances)))
    return 0


def answer(told: Mapping[str, object]) -> None:
    """Write one line of JSON."""
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    status = 1
    try:
        status = main()
    except Exception:  # noqa: BLE001 - the process ends anyway
        traceback.print_exc()
    finally:
        # At a plain exit, nova would wait for its threads, which wait for libvirt's events.
        os._exit(status)
