# SPDX-License-Identifier: Apache-2.0
"""A domain is defined anew until it has the guest's disks where they are."""

from __future__ import annotations

import unittest
from typing import Any
from unittest import mock

from compute_driver import exceptions
from compute_driver.operations.base import redefining
from compute_driver.operations.base.context import Parts
from compute_driver.system import steps
from tests.unit.base import describe


def layout(place: str) -> mock.Mock:
    """Return the layout of a guest with one disk."""
    return mock.Mock(places={"root": place})


class RedefineTest(unittest.TestCase):
    def setUp(self) -> None:
        super().setUp()
        self.parts: Any = mock.create_autospec(Parts, instance=True)
        self.presents = [None, *(mock.Mock(**{"stored.guest.uuid": "u"}) for _ in range(50))]
        self.parts.present.side_effect = self.presents
        for name in ("require", "warn"):
            patched = mock.patch.object(redefining.changes, name)
            self.addCleanup(patched.stop)
            setattr(self, name, patched.start())
        self.guest = describe()

    def move(self, *places: str) -> None:
        """Let another client move the disk to the next place during each definition."""
        self.parts.blueprint.side_effect = [
            mock.Mock(layout=layout(place), xml=f"<domain>{place}</domain>") for place in places
        ]
        self.parts.plan.side_effect = [layout(place) for place in places[1:]]

    def defined(self) -> list[str]:
        return [call.args[0] for call in self.parts.define.mock_calls]

    def test_domain_is_defined_once_if_no_disk_moves(self) -> None:
        self.move("old", "old")
        seen: list[str] = []
        with steps.announced_to(seen.append):
            blueprint = redefining.redefine(self.parts, self.guest)
        self.assertEqual([blueprint.xml], self.defined())
        self.assertEqual(["domain redefined"], seen)

    def test_domain_follows_a_disk_that_moves_meanwhile(self) -> None:
        self.move("old", "new", "new")
        blueprint = redefining.redefine(self.parts, self.guest)
        self.assertEqual(["<domain>old</domain>", "<domain>new</domain>"], self.defined())
        self.assertEqual({"root": "new"}, blueprint.layout.places)
        given = [call.kwargs["present"] for call in self.parts.blueprint.mock_calls]
        self.assertEqual(self.presents[:2], given)
        self.require.assert_called_once_with(blueprint.layout, self.presents[1], self.guest.name)
        self.warn.assert_called_once_with(self.parts, self.presents[1], blueprint)

    def test_disk_that_moves_again_and_again_ends_the_operation(self) -> None:
        self.move(*(str(number) for number in range(50)))
        with self.assertRaisesRegex(exceptions.GuestBusy, self.guest.name):
            redefining.redefine(self.parts, self.guest)
