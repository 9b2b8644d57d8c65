# SPDX-License-Identifier: Apache-2.0
"""Virtual processors are arranged as far as it is said, and by sockets where it is not."""

from __future__ import annotations

import unittest

from compute_driver import exceptions
from compute_driver.guest import Topology
from compute_driver.hardware.topology import fit


class FitTest(unittest.TestCase):
    def test_nothing_said_leaves_it_to_libvirt(self) -> None:
        self.assertIsNone(fit(4, {}))

    def test_what_is_not_said_is_made_of_sockets_then_cores(self) -> None:
        cases: tuple[tuple[int, dict[str, int], dict[str, int], tuple[int, int, int]], ...] = (
            (8, {"sockets": 2, "cores": 2, "threads": 2}, {}, (2, 2, 2)),
            (8, {"cores": 2}, {}, (4, 2, 1)),
            (8, {"threads": 2}, {}, (4, 1, 2)),
            (8, {"sockets": 1}, {}, (1, 8, 1)),
            (6, {}, {"sockets": 2}, (2, 3, 1)),
            (6, {}, {"sockets": 1, "cores": 3}, (1, 3, 2)),
            (7, {}, {"sockets": 4}, (1, 7, 1)),
            (6, {"threads": 2}, {"sockets": 2}, (1, 3, 2)),
        )
        for vcpus, wanted, limits, expected in cases:
            with self.subTest(vcpus=vcpus, wanted=wanted, limits=limits):
                sockets, cores, threads = expected
                topology = Topology(sockets=sockets, cores=cores, threads=threads)
                self.assertEqual(topology, fit(vcpus, wanted, limits))

    def test_what_makes_another_number_is_refused(self) -> None:
        for vcpus, wanted, limits in (
            (4, {"cores": 3}, {}),
            (4, {"sockets": 2, "cores": 2, "threads": 2}, {}),
            (8, {}, {"sockets": 1, "cores": 2, "threads": 2}),
        ):
            with (
                self.subTest(vcpus=vcpus, wanted=wanted, limits=limits),
                self.assertRaisesRegex(exceptions.InvalidParameter, f"make {vcpus} virtual CPUs"),
            ):
                fit(vcpus, wanted, limits)

    def test_numbers_out_of_range_are_refused_by_their_own_names(self) -> None:
        for vcpus, wanted, field in (
            (0, {"cores": 0}, "cores"),
            (4096**3, {"sockets": 4096, "cores": 4096, "threads": 4096}, "vcpus"),
            (5000, {"threads": 5000}, "threads"),
        ):
            with self.subTest(field), self.assertRaises(exceptions.InvalidParameter) as caught:
                fit(vcpus, wanted)
            self.assertEqual(field, caught.exception.field)
