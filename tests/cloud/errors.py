# SPDX-License-Identifier: Apache-2.0
"""What goes wrong with the cloud."""


class CloudError(Exception):
    """The cloud cannot be had; the text says why."""
