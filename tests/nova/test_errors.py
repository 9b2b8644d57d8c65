# SPDX-License-Identifier: Apache-2.0
"""Nova gets errors that nova handles."""

from __future__ import annotations

import unittest

from nova import exception

from compute_driver import exceptions
from compute_driver.nova import errors


class ErrorsTest(unittest.TestCase):
    def test_nova_gets_errors_that_it_handles(self) -> None:
        for ours, theirs in (
            (exceptions.GuestNotFound("x"), exception.InstanceNotFound),
            (exceptions.LibvirtUnavailable("x"), exception.HypervisorUnavailable),
            (exceptions.NotEnoughSpace("x"), exception.ComputeResourcesUnavailable),
            (exceptions.NoFreePort("x"), exception.SocketPortRangeExhaustedException),
            (exceptions.ImageTooLarge("x"), exception.FlavorDiskTooSmall),
            (exceptions.InvalidParameter("x", 1, "2"), exception.InvalidInput),
            (exceptions.NotOnThisHost("x", 1, "2"), exception.ComputeResourcesUnavailable),
            (exceptions.OperationTimeout("50% of x"), exception.NovaException),
        ):
            found = errors.translate(ours)
            self.assertIs(theirs, type(found))
            self.assertEqual(str(ours), found.format_message())
