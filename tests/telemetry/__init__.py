# SPDX-License-Identifier: Apache-2.0
"""Programs that measure guests, against guests of this driver."""
