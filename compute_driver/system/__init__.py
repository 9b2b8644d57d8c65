# SPDX-License-Identifier: Apache-2.0
"""Threads, locks, programs and files.  Nothing here knows virtual machines."""
