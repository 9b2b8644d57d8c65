# SPDX-License-Identifier: Apache-2.0
"""The one error of the cloud."""


class CloudError(Exception):
    """The cloud does not work; the text says why."""
