# SPDX-License-Identifier: Apache-2.0
"""The machines, and the hardware that a guest on a machine gets; pure."""
