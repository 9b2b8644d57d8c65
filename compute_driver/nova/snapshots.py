# SPDX-License-Identifier: Apache-2.0
"""From an instance's root disk to an image in Glance."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from nova.compute import task_states
from nova.compute import utils as compute_utils
from nova.image import glance
from oslo_config import cfg

from compute_driver.choices import Quiesce, SnapshotFormat
from compute_driver.conf import PROJECT
from compute_driver.driver import ComputeDriver
from compute_driver.system import filesystem

LOG = logging.getLogger(__name__)


def clear(conf: cfg.ConfigOpts) -> None:
    """Remove what a nova-compute of this host that was killed has left of its snapshots."""
    _remove(_home(conf))


def upload(
    guests: ComputeDriver,
    conf: cfg.ConfigOpts,
    context: Any,
    instance: Any,
    image_id: str,
    update_task_state: Callable[..., None],
) -> None:
    """Copy an instance's root disk into an image that Glance has an entry for already.

    Its format is what nova's option ``[libvirt] snapshot_image_format`` says, or else that of
    guests' disks.  What is said of the image comes from nova-api, but for what is only known here.

    :param update_task_state: see nova's ``ComputeDriver.snapshot``; it raises what nova handles if
        the instance is being deleted.
    :raises ImageNotFound: nova's, if somebody deletes the image meanwhile.
    """
    api = glance.API()
    name = api.get(context, image_id)["name"]
    image_format = SnapshotFormat(conf.libvirt.snapshot_image_format or conf.hypervisor.disk_format)
    update_task_state(task_state=task_states.IMAGE_PENDING_UPLOAD)
    with _directory(conf) as directory:
        path = directory / f"{image_id}.{image_format}"
        guests.snapshot(instance.uuid, path, image_format=image_format, quiesce=_wish(instance))
        update_task_state(
            task_state=task_states.IMAGE_UPLOADING, expected_state=task_states.IMAGE_PENDING_UPLOAD
        )
        with path.open("rb") as stream, compute_utils.disk_ops_semaphore:
            api.update(
                context,
                image_id,
                _metadata(instance, name, image_format),
                stream,
                purge_props=False,
            )


def _wish(instance: Any) -> Quiesce:
    """Return whether the instance's image wants file systems to be frozen."""
    required = instance.image_meta.properties.get("os_require_quiesce")
    return Quiesce.REQUIRE if required else Quiesce.TRY


def _metadata(instance: Any, name: str, image_format: SnapshotFormat) -> dict[str, Any]:
    said = {
        "image_location": "snapshot",
        "image_state": "available",
        "owner_id": instance.project_id,
        "kernel_id": instance.kernel_id,
        "ramdisk_id": instance.ramdisk_id,
        "os_type": instance.os_type,
    }
    return {
        "name": name,
        "disk_format": str(image_format),
        "container_format": "bare",  # whatever the instance's own image was wrapped in
        "properties": {key: value for key, value in said.items() if value},
    }


def _home(conf: cfg.ConfigOpts) -> Path:
    """Return where this host's copies wait, usually on the file system of guests' disks.

    Nothing else may be there; on shared storage other hosts have theirs beside it.
    """
    return Path(conf.libvirt.snapshots_directory, f"{PROJECT}-{conf.host}").absolute()


@contextlib.contextmanager
def _directory(conf: cfg.ConfigOpts) -> Iterator[Path]:
    filesystem.make_directory(_home(conf), 0o700)
    directory = Path(tempfile.mkdtemp(dir=_home(conf)))
    try:
        yield directory
    finally:
        _remove(directory)


def _remove(directory: Path) -> None:
    """Remove a directory; what stays fills the disk, so it is told of."""
    shutil.rmtree(directory, onerror=_tell)


def _tell(_function: object, path: str, failure: tuple[Any, ...]) -> None:
    if not isinstance(failure[1], FileNotFoundError):
        LOG.warning("%s cannot be removed: %s", path, failure[1])
