# SPDX-License-Identifier: Apache-2.0
"""How long things take, side by side with the plainest way to do them; see ``README.rst``."""
