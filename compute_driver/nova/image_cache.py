# SPDX-License-Identifier: Apache-2.0
"""Section of nova's driver: the images that the host keeps for instances to come."""

from __future__ import annotations

from typing import Any

from nova.image import glance

from compute_driver.guest import Image
from compute_driver.nova import convert, images
from compute_driver.nova.section import Section

#: Glance's formats of kernels and ramdisks.
_BOOT_FORMATS = frozenset({"aki", "ari"})


class ImageCacheMethods(Section):
    """Fills and empties the cache of images."""

    def manage_image_cache(self, context: Any, all_instances: Any) -> None:
        """Remove images that no guest needs for a long time.

        The files of the guests decide, not nova's list of instances.
        """
        if self._conf.image_cache.remove_unused_base_images:
            self._driver.image_prune()

    def cache_image(self, context: Any, image_id: str) -> bool:
        """Fetch an image for instances to come; return false if the cache has the image already."""
        with images.requested_by(context):
            image, boot = describe_image(context, image_id)
            return self._driver.image_cache(image, boot=boot)


def describe_image(context: Any, image_id: str) -> tuple[Image, bool]:
    """Return an image as instances name it, and whether the image is a kernel or a ramdisk.

    :param context: nova's RequestContext.
    :raises ImageNotFound: if Glance has no such image.
    """
    with images.glance_errors(image_id):
        disk_format = glance.API().get(context, image_id)["disk_format"]
    if disk_format in _BOOT_FORMATS:
        return convert.boot_image(image_id), True
    return convert.disk_image(image_id, disk_format), False
