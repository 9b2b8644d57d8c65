# SPDX-License-Identifier: Apache-2.0
"""What this host can run, and the refusal of guests that it cannot run."""
