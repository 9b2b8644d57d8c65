# SPDX-License-Identifier: Apache-2.0
"""Guests and other programs are told what nova's own driver tells them."""

from __future__ import annotations

import tempfile
import unittest
import uuid
from pathlib import Path
from typing import Any
from unittest import mock

import nova.conf
from lxml import etree
from nova import version
from nova.network import model
from nova.virt import driver
from nova.virt.libvirt import driver as in_tree

from compute_driver import exceptions
from compute_driver.nova import annotation, identity
from tests.nova.base import IMAGE, PORT, NovaCase

#: Releases from 34 on describe an instance apart from the domain.
DESCRIBES = hasattr(driver.ComputeDriver, "get_instance_driver_metadata")


def vifs() -> Any:
    """Return neutron's port with two addresses, as nova has it."""
    fixed = model.FixedIP(address="10.1.2.3"), model.FixedIP(address="fd00::3")
    subnets = [model.Subnet(ips=[address]) for address in fixed]
    network = model.Network(id="network", bridge="br-int", subnets=subnets)
    vif = model.VIF(id=PORT, address="fa:16:3e:00:00:01", network=network, type="ovs", details={})
    return model.NetworkInfo([vif])


def told(element: Any) -> Any:
    """Return what an element says: names, attributes and texts, but not the time of writing."""
    name = etree.QName(element).localname
    text = "" if name == "creationTime" else (element.text or "").strip()
    return name, dict(element.attrib), text, sorted(map(told, element), key=str)


class AnnotationTest(NovaCase):
    def element(self, instance: Any) -> Any:
        (guest,) = (info.guest for info in self.driver._driver.list())
        (text,) = guest.annotations
        return etree.fromstring(text)

    @unittest.skipUnless(DESCRIBES, "this release of nova writes another element")
    def test_element_says_what_the_element_of_the_in_tree_driver_says(self) -> None:
        instance = self.instance(**{"hw:cpu_policy": "shared"})
        instance.system_metadata |= {
            "owner_user_name": "ann",
            "owner_project_name": "shop",
            "image_base_image_ref": IMAGE,
            "image_hw_disk_bus": "virtio",
            "image_min_disk": "1",
        }
        described = in_tree.LibvirtDriver.get_instance_driver_metadata(instance, vifs())
        written = in_tree.LibvirtDriver._get_guest_config_meta(mock.Mock(), described)
        (text,) = annotation.of(instance, instance.image_meta, vifs())
        self.assertEqual(told(written.format_dom()), told(etree.fromstring(text)))

    def test_element_follows_the_name_and_the_ports(self) -> None:
        instance = self.instance()
        self.spawn(instance)
        name = f"{{{annotation.NAMESPACE}}}name"
        self.assertEqual("web", self.element(instance).findtext(name))
        instance.display_name = "shop"
        self.driver.reboot(self.context, instance, [], "HARD")
        self.assertEqual("shop", self.element(instance).findtext(name))
        instance.display_name = "store"
        self.driver.power_off(instance)
        self.driver.power_on(self.context, instance, None)
        self.assertEqual("store", self.element(instance).findtext(name))


class IdentityTest(NovaCase):
    def test_guest_is_told_that_nova_runs_it(self) -> None:
        instance = self.instance()
        self.spawn(instance)
        told = self.driver._driver.show(instance.uuid).guest.identity
        self.assertEqual("OpenStack Nova", told.product)
        self.assertEqual(version.vendor_string(), told.manufacturer)
        self.assertIsNone(told.serial)

    def test_serial_number_is_of_the_configured_kind(self) -> None:
        def serial(kind: str) -> str | None:
            conf.set_override("sysinfo_serial", kind, "libvirt")
            return identity.of_instances(conf).serial

        conf = nova.conf.CONF
        self.addCleanup(conf.clear_override, "sysinfo_serial", "libvirt")
        number = uuid.uuid4()
        with (
            tempfile.NamedTemporaryFile("w") as file,
            mock.patch.object(identity, "_MACHINE_ID", Path(file.name)),
            mock.patch.object(identity, "_PRODUCT_UUID", Path("/nonexistent")),
        ):
            file.write(f"{number.hex}\n")
            file.flush()
            self.assertEqual(str(number), serial("os"))
            self.assertEqual(str(number), serial("auto"))
            self.assertEqual("", serial("none"))
            self.assertIsNone(serial("unique"))
            with self.assertRaises(exceptions.HostError):
                serial("hardware")
            for content in ("", "uninitialized\n"):  # an image that has never booted
                file.truncate(0)
                Path(file.name).write_text(content)
                with self.assertRaisesRegex(exceptions.HostError, "sysinfo_serial .*accepted:"):
                    serial("auto")
            with (
                mock.patch.object(Path, "read_text", side_effect=PermissionError),
                mock.patch.object(
                    nova.privsep.path, "last_bytes", return_value=(f"{number}\n".encode(), 0)
                ),
            ):
                self.assertEqual(str(number), serial("hardware"))
