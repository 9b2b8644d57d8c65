# SPDX-License-Identifier: Apache-2.0
"""Fetches images, tells their formats by their bytes, and keeps one copy for all guests."""
