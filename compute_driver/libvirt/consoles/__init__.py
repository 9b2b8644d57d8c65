# SPDX-License-Identifier: Apache-2.0
"""Serial consoles and screens of guests that run."""
