# SPDX-License-Identifier: Apache-2.0
"""What machines there are and what a guest on one of them gets; pure."""
