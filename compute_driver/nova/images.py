# SPDX-License-Identifier: Apache-2.0
"""Reads Glance's images through nova's image API, in the name of the instance's user."""

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
from compute_driver.images import sources
from compute_driver.system import space

#: Nova's request context, and the certificates that nova checks the image's signature with.
_request: contextvars.ContextVar[tuple[Any, Any] | None] = contextvars.ContextVar(
    "request", default=None
)


@contextlib.contextmanager
def requested_by(context: Any, trusted_certs: Any = None) -> Iterator[None]:
    """Read images in the name of a user inside the ``with`` block.

    :param context: nova's RequestContext, which names the user.
    :param trusted_certs: nova's TrustedCerts, if the user named certificates.
    """
    token = _request.set((context, trusted_certs))
    try:
        yield
    finally:
        _request.reset(token)


@contextlib.contextmanager
def glance_errors(image_id: str) -> Iterator[None]:
    """Raise this package's errors in place of the errors of nova's image API.

    :raises ImageNotFound: if Glance has no such image.
    :raises ImageFetchFailed: if the image's checksum is wrong.
    """
    try:
        yield
    except nova.ImageNotFound as error:
        raise exceptions.ImageNotFound(str(error)) from error
    except OSError as error:
        if error.errno != errno.EPIPE:  # Glance's client reports a wrong checksum
            raise
        raise exceptions.ImageFetchFailed(f"image {image_id}: {error.strerror}") from error


class GlanceSource(sources.ImageSource):
    """The source of images with locations ``glance://UUID``."""

    def identify(self, location: str) -> str:
        """Return the location: the bytes of an image never change in Glance."""
        return location

    def fetch(
        self, location: str, target: Path, progress: Progress, *, verified: bool = False
    ) -> None:
        """Let nova download the image.

        Nova checks the signature if nova's options or the user ask for it.  Glance's client checks
        the checksum: ``os_hash_value``, or ``checksum`` if there is no hash.
        """
        request = _request.get()
        image_id = location.partition("://")[2]
        if request is None:
            raise exceptions.ImageFetchFailed(f"image {image_id}: only nova reads from Glance")
        context, trusted_certs = request
        api = glance.API()
        try:
            with glance_errors(image_id):
                size = api.get(context, image_id)["size"]
            with (
                compute_utils.disk_ops_semaphore,
                space.writing(target.parent, size),
                glance_errors(image_id),
            ):
                api.download(context, image_id, dest_path=str(target), trusted_certs=trusted_certs)
            received = target.stat().st_size
            if received != size:
                raise exceptions.ImageFetchFailed(
                    f"image {image_id}: Glance sent {received} of {size} bytes"
                )
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        progress(f"fetching {image_id}", size, size)
