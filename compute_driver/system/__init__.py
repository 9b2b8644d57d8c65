# SPDX-License-Identifier: Apache-2.0
"""Threads, locks, programs and files: nothing of virtual machines."""
