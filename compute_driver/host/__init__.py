# SPDX-License-Identifier: Apache-2.0
"""What this host can run, and what it refuses before anything is made."""
