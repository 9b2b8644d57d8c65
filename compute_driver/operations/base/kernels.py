# SPDX-License-Identifier: Apache-2.0
"""The error of a guest whose kernel QEMU cannot load."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from compute_driver import exceptions
from compute_driver.guest import Guest

#: QEMU's words for a kernel or ramdisk that QEMU cannot load; some emulators give no reason.
_BAD_KERNEL = re.compile("emulator ended: (no reason|.*(kernel|error loading|PVH|ram ?disk))")


@contextlib.contextmanager
def named(guest: Guest) -> Iterator[None]:
    """Name the kernel of a guest whose emulator ends because of the kernel.

    :raises ImageUnacceptable: in place of LibvirtError.
    """
    try:
        yield
    except exceptions.LibvirtError as error:
        if guest.kernel is None or not _BAD_KERNEL.search(str(error)):
            raise
        raise exceptions.ImageUnacceptable(
            f"QEMU cannot load kernel {guest.kernel.kernel.location}: {error}"
        ) from error
