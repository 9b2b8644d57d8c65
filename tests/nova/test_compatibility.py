# SPDX-License-Identifier: Apache-2.0
"""Nova's methods, capabilities, properties and extra specs are the ones that this driver knows."""

from __future__ import annotations

import inspect
import unittest

from nova.api.validation.extra_specs import validators
from nova.objects import image_meta
from nova.virt import driver

from compute_driver import exceptions
from compute_driver.hardware.properties import PROPERTIES
from compute_driver.nova import properties
from compute_driver.nova.driver import NovaDriver


class SignatureTest(unittest.TestCase):
    def test_every_method_takes_what_nova_passes(self) -> None:
        for name, ours in _own_methods():
            theirs = getattr(driver.ComputeDriver, name, None)
            with self.subTest(name):
                assert theirs is not None, "nova knows no such method"
                known = _parameters(theirs)
                taken, later = _parameters(ours)[: len(known)], _parameters(ours)[len(known) :]
                self.assertEqual(known, taken)
                # Parameters of a later release of nova.
                self.assertNotIn(inspect.Parameter.empty, [default for _name, default in later])


class CapabilitiesTest(unittest.TestCase):
    def test_every_trait_of_a_capability_is_set_or_taken_away(self) -> None:
        missing = driver.CAPABILITY_TRAITS_MAP.keys() - NovaDriver.capabilities.keys()
        self.assertEqual({"supports_secure_boot"}, missing)  # a trait of the host


def _own_methods() -> list[tuple[str, object]]:
    """Return the public methods of this project's classes, by name."""
    return [
        (name, method)
        for owner in NovaDriver.__mro__
        if owner.__module__.startswith("compute_driver.")
        for name, method in vars(owner).items()
        if inspect.isfunction(method) and not name.startswith("_")
    ]


def _parameters(method: object) -> list[tuple[str, object]]:
    """Return the names and defaults, which callers may rely on."""
    assert callable(method)
    return [(each.name, each.default) for each in inspect.signature(method).parameters.values()]


class PropertiesTest(unittest.TestCase):
    def test_every_image_property_has_its_place(self) -> None:
        tables = {*PROPERTIES, *properties.CONVERTED, *properties.UNCONCERNED, *properties.REFUSED}
        others = {"hw_numa_cpus", "hw_numa_mem", properties.NO_DEFAULTS}
        self.assertEqual(set(), set(image_meta.ImageMetaProps.fields) - tables - others)

    def test_every_extra_spec_works_or_is_refused_or_no_concern(self) -> None:
        for name in validators.VALIDATORS:
            name = name.replace("{num}", "0").replace("{group}", "1")
            if name in PROPERTIES or name in properties.CONVERTED:
                continue
            with self.subTest(name):
                try:
                    properties.read_wishes({}, {name: "something"})
                except exceptions.InvalidParameter as error:
                    self.assertEqual(name, error.field)
                else:
                    self.assertIsNotNone(properties._pattern(name, properties.UNCONCERNED))
