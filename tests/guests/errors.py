# SPDX-License-Identifier: Apache-2.0
"""The one error of the guest builder."""


class GuestBuildError(Exception):
    """A guest could not be built; the message says what to do about it."""
