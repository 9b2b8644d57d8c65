# SPDX-License-Identifier: Apache-2.0
"""The one error of the guest builder."""


class GuestBuildError(Exception):
    """The builder cannot build a guest; the message says what to do."""
