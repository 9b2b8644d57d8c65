# SPDX-License-Identifier: Apache-2.0
"""Section of nova's driver: an instance's root disk becomes an image in Glance."""

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
from compute_driver.nova.section import Section
from compute_driver.system import filesystem

LOG = logging.getLogger(__name__)


class SnapshotMethods(Section):
    """Makes snapshots."""

    def snapshot(
        self, context: Any, instance: Any, image_id: str, update_task_state: Callable[..., None]
    ) -> None:
        """Copy an instance's root disk into an image of Glance; the instance continues to run.

        Nova's option ``[libvirt] snapshot_image_format`` names the format.  Without this option the
        image has the format of the guests' disks.  Nova-api has made the image, and its properties
        stay; this method adds the properties that only the host knows.

        :param update_task_state: see nova's ``ComputeDriver.snapshot``; raises an error that nova
            handles if the user deletes the instance.
        :raises ImageNotFound: nova's, if a user deletes the image meanwhile.
        """
        api, libvirt = glance.API(), self._conf.libvirt
        name = api.get(context, image_id)["name"]
        image_format = SnapshotFormat(
            libvirt.snapshot_image_format or self._conf.hypervisor.disk_format
        )
        update_task_state(task_state=task_states.IMAGE_PENDING_UPLOAD)
        with _temporary_directory(self._conf) as directory:
            path = directory / f"{image_id}.{image_format}"
            self._driver.snapshot(
                instance.uuid, path, image_format=image_format, quiesce=_quiesce(instance)
            )
            update_task_state(
                task_state=task_states.IMAGE_UPLOADING,
                expected_state=task_states.IMAGE_PENDING_UPLOAD,
            )
            metadata = _metadata(instance, name, image_format)
            with path.open("rb") as stream, compute_utils.disk_ops_semaphore:
                api.update(context, image_id, metadata, stream, purge_props=False)


def clear(conf: cfg.ConfigOpts) -> None:
    """Remove the files that a killed nova-compute of this host has left of its snapshots."""
    _remove(_home(conf))


def _quiesce(instance: Any) -> Quiesce:
    """Return whether the instance's image requires frozen file systems."""
    required = instance.image_meta.properties.get("os_require_quiesce")
    return Quiesce.REQUIRE if required else Quiesce.TRY


def _metadata(instance: Any, name: str, image_format: SnapshotFormat) -> dict[str, Any]:
    properties = {
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
        "container_format": "bare",  # the instance's own image may have another container
        "properties": {key: value for key, value in properties.items() if value},
    }


def _home(conf: cfg.ConfigOpts) -> Path:
    """Return the directory of this host's copies, usually on the file system of the guests' disks.

    The directory has no other files.  On shared storage every host has its own directory.
    """
    return Path(conf.libvirt.snapshots_directory, f"{PROJECT}-{conf.host}").absolute()


@contextlib.contextmanager
def _temporary_directory(conf: cfg.ConfigOpts) -> Iterator[Path]:
    filesystem.make_directory(_home(conf), 0o700)
    directory = Path(tempfile.mkdtemp(dir=_home(conf)))
    try:
        yield directory
    finally:
        _remove(directory)


def _remove(directory: Path) -> None:
    """Remove a directory; log every file that stays, since it fills the disk."""
    shutil.rmtree(directory, onerror=_log_failure)


def _log_failure(_function: object, path: str, failure: tuple[Any, ...]) -> None:
    if not isinstance(failure[1], FileNotFoundError):
        LOG.warning("%s cannot be removed: %s", path, failure[1])
