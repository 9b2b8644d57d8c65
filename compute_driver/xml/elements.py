# SPDX-License-Identifier: Apache-2.0
"""lxml's maker of elements, with types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lxml.builder import ElementMaker
from lxml.etree import _Element as Element

__all__ = ["KIB_PER_MIB", "USER_ALIAS", "YES_NO", "E", "Element", "Maker", "maker"]

#: libvirt's words for present and absent.
YES_NO = {True: "yes", False: "no"}

#: libvirt writes memory in KiB; the driver has memory in MiB.
KIB_PER_MIB = 1024

#: The beginning of the aliases that libvirt leaves to its clients.
USER_ALIAS = "ua-"


class Maker(Protocol):
    """Makes an element by a call of the element's name: ``E.disk(E.source(...), type=...)``.

    Arguments are children, text, or a dictionary of attributes; keywords are attributes, too.
    """

    def __getattr__(self, tag: str) -> Callable[..., Element]: ...

    def __call__(self, tag: str, *children: object, **attributes: str) -> Element:
        """Return an element whose tag is no Python name, or is in a variable."""


def maker(namespace: str, prefix: str) -> Maker:
    """Return a maker of elements in *namespace*, written with *prefix*."""
    made: Maker = ElementMaker(namespace=namespace, nsmap={prefix: namespace})
    return made


#: Makes elements without a namespace, as libvirt's are.
E: Maker = ElementMaker()
