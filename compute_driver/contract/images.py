# SPDX-License-Identifier: Apache-2.0
"""The cache of images, and images of guests."""

from __future__ import annotations

import abc
from pathlib import Path

from compute_driver.choices import Quiesce, SnapshotFormat
from compute_driver.contract.progress import Progress, no_progress
from compute_driver.guest import Image
from compute_driver.info import CacheEntry


class Images(abc.ABC):
    """Keeps the images of guests, and makes images of guests."""

    @abc.abstractmethod
    def image_list(self) -> tuple[CacheEntry, ...]:
        """Return the cached images, the latest used first."""

    @abc.abstractmethod
    def image_cache(
        self, image: Image, *, boot: bool = False, progress: Progress = no_progress
    ) -> bool:
        """Fetch an image into the cache, for later guests with an equal image.

        :param boot: whether the image is a kernel or a ramdisk.
        :return: whether the driver fetched the image; False if the cache had it.
        :raises ImageError: if the driver cannot get or use the image.
        """

    @abc.abstractmethod
    def image_prune(self, *, unused: float | None = None) -> tuple[CacheEntry, ...]:
        """Remove the cached images that no guest needs and that were not used for some time.

        :param unused: the time in seconds; by default option image_unused_seconds.
        :return: the removed images.
        :raises HostError: if the driver cannot find out which images a guest needs; nothing is
            removed then.
        """

    @abc.abstractmethod
    def snapshot(
        self,
        uuid: str,
        target: Path,
        *,
        image_format: SnapshotFormat | None = None,
        quiesce: Quiesce = Quiesce.TRY,
        progress: Progress = no_progress,
    ) -> None:
        """Copy a guest's root disk, as it is at one moment, into one image file.

        The guest keeps its state, and a running guest runs on.  The image depends on no other
        file.  If the snapshot fails, there is no image.

        :param target: the file to make, readable by its owner only.
        :param image_format: format of the target; by default by the target's suffix (.qcow2, .raw
            or .img, .vdi, .vmdk), and qcow2 without a suffix.
        :param quiesce: whether the guest's agent freezes the file systems of a running guest at
            this moment: never; try, if an agent answers and can freeze; or require, and make no
            image otherwise.
        :raises InvalidParameter: if the target exists, belongs to a guest, is in no directory, or
            has another suffix and no *image_format* is given.
        :raises SnapshotFailed: if the guest has no root disk, or its emulator fails.
        :raises OperationTimeout: if the copy takes longer than option snapshot_timeout.
        :raises NotEnoughSpace: if there is no room for the image.
        :raises InvalidGuestState: if *quiesce* requires a freeze and the guest is paused or
            suspended, with unwritten data in its memory.
        :raises AgentUnavailable: if *quiesce* requires a freeze and no agent answers.
        :raises AgentFailed: if *quiesce* requires a freeze and the agent cannot freeze or thaw the
            file systems.
        """
