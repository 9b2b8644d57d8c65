# SPDX-License-Identifier: Apache-2.0
"""Send a guest an interrupt that it cannot mask, so that the guest writes a crash dump."""

from __future__ import annotations

import re

import libvirt

from compute_driver import exceptions
from compute_driver.contract.states import Request
from compute_driver.operations.base.context import Parts

#: QEMU's words for machines without such interrupts, in libvirt's internal error.
_UNSUPPORTED = re.compile("does not provide NMIs|not currently supported")


def inject_nmi(parts: Parts, uuid: str) -> None:
    """Send a guest's processors a non-maskable interrupt.

    :raises InterruptUnsupported: if its machine has none.
    """
    parts.require(uuid, Request.INTERRUPT)
    parts.require_answer(uuid)
    parts.on_domain(uuid, _inject)


def _inject(domain: libvirt.virDomain) -> None:
    try:
        domain.injectNMI()
    except libvirt.libvirtError as error:
        unknown = error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT
        if unknown or _UNSUPPORTED.search(str(error)):
            raise exceptions.InterruptUnsupported(domain.name()) from error
        raise
