# SPDX-License-Identifier: Apache-2.0
"""Where nova looks for ``[DEFAULT] compute_driver = compute_driver.NovaDriver``."""

from compute_driver.nova.driver import NovaDriver

__all__ = ["NovaDriver"]
