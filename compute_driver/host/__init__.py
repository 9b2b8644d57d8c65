# SPDX-License-Identifier: Apache-2.0
"""The abilities of this host, and the refusal of guests that this host cannot run."""
