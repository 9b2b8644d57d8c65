# SPDX-License-Identifier: Apache-2.0
"""Other programs read a guest's annotations in its domain."""

from __future__ import annotations

import libvirt
from lxml import etree

from compute_driver.choices import RebootKind
from compute_driver.guest import Guest
from tests.functional import base, inside

NAMESPACE = "urn:shop"


def note(text: str) -> str:
    return f'<shop:owner xmlns:shop="{NAMESPACE}"><shop:name>{text}</shop:name></shop:owner>'


class TestAnnotations(base.HostTestCase):
    def read(self, made: Guest, flags: int) -> str | None:
        """Return the name in the annotation, as another client of libvirt reads it."""
        with inside.connection(self.driver) as connection:
            domain = connection.lookupByUUIDString(made.uuid)
            xml = etree.fromstring(domain.XMLDesc(flags))
        return xml.findtext(f"metadata/{{{NAMESPACE}}}owner/{{{NAMESPACE}}}name")

    def test_running_guest_has_new_annotations_at_once_and_for_good(self) -> None:
        made = base.guest(boot=base.kernel(), interfaces=(), annotations=(note("Ann"),))
        self.addCleanup(self.driver.destroy, made.uuid)
        self.driver.spawn(made)
        self.driver.identify(made.uuid, made.identity, [note("Bob")])
        for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
            self.assertEqual("Bob", self.read(made, flags))
        self.driver.reboot(made.uuid, kind=RebootKind.HARD)
        self.assertEqual("Bob", self.read(made, 0))
        self.driver.identify(made.uuid, made.identity, [])
        for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
            self.assertIsNone(self.read(made, flags))
