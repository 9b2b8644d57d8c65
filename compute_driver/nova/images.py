# SPDX-License-Identifier: Apache-2.0
"""Reads Glance's images through nova's image API, in the name of who asked for the instance."""

from __future__ import annotations

import contextlib
import contextvars
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nova import exception as nova
from nova.compute import utils as compute_utils
from nova.image import glance

from compute_driver import exceptions
from compute_driver.driver import Progress
from compute_driver.guest import Image
from compute_driver.images import sources
from compute_driver.nova import convert
from compute_driver.system import space

#: Nova's request context, and the certificates that the image's signature is held against.
_request: contextvars.ContextVar[tuple[Any, Any] | None] = contextvars.ContextVar(
    "request", default=None
)


#: Glance's words for kernels and ramdisks.
_BOOT = frozenset({"aki", "ari"})


@contextlib.contextmanager
def requested_by(context: Any, trusted_certs: Any = None) -> Iterator[None]:
    """Read images in the name of *context* meanwhile.

    :param context: nova's RequestContext.
    :param trusted_certs: nova's TrustedCerts, if the user named any.
    """
    token = _request.set((context, trusted_certs))
    try:
        yield
    finally:
        _request.reset(token)


def described(context: Any, image_id: str) -> tuple[Image, bool]:
    """Return an image by the words by which instances ask for it, and whether it is a kernel.

    :param context: nova's RequestContext.
    :raises ImageNotFound: if Glance has no such image.
    """
    try:
        disk_format = glance.API().get(context, image_id)["disk_format"]
    except nova.ImageNotFound as error:
        raise exceptions.ImageNotFound(str(error)) from error
    boot = disk_format in _BOOT
    image = convert.boot_image(image_id) if boot else convert.disk_image(image_id, disk_format)
    return image, boot


class GlanceSource(sources.ImageSource):
    """Images by ``glance://UUID``."""

    def identify(self, location: str) -> str:
        """Return the location: what is behind a UUID never changes."""
        return location

    def fetch(
        self, location: str, target: Path, progress: Progress, *, verified: bool = False
    ) -> None:
        """Have nova download the image.

        Nova checks the signature where that is configured or asked for, Glance's client the
        checksum (``os_hash_value``, or else ``checksum``).
        """
        request = _request.get()
        image_id = location.partition("://")[2]
        if request is None:
            raise exceptions.ImageFetchFailed(f"image {image_id}: only nova can read from Glance")
        context, trusted_certs = request
        api = glance.API()
        try:
            size = api.get(context, image_id)["size"]
            with (
                compute_utils.disk_ops_semaphore,
                space.writing(target.parent, size),
                _explained(image_id),
            ):
                api.download(context, image_id, dest_path=str(target), trusted_certs=trusted_certs)
            came = target.stat().st_size
            if came != size:
                raise exceptions.ImageFetchFailed(
                    f"{came} of {size} bytes of image {image_id} came"
                )
        except BaseException as error:
            target.unlink(missing_ok=True)
            if isinstance(error, nova.ImageNotFound):
                raise exceptions.ImageNotFound(str(error)) from error
            raise
        progress(f"fetching {image_id}", size, size)


@contextlib.contextmanager
def _explained(image_id: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.EPIPE:  # how Glance's client tells of a wrong checksum
            raise
        raise exceptions.ImageFetchFailed(f"image {image_id}: {error.strerror}") from error
