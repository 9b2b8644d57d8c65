# SPDX-License-Identifier: Apache-2.0
"""Small guests for tests, demonstrations and benchmarks, built from Debian packages.

``build()`` makes a kernel with an initrd, a whole-disk image and an ISO image. The script
``rootfs/etc/guest/start`` is all that the guest does and prints. ``debian()`` makes a Debian with
systemd and cloud-init.
"""

from tests.guests.build import GuestImages, build
from tests.guests.catalog import ARCHITECTURES, FLAVOURS
from tests.guests.debian import debian
from tests.guests.errors import GuestBuildError

__all__ = ["ARCHITECTURES", "FLAVOURS", "GuestBuildError", "GuestImages", "build", "debian"]
