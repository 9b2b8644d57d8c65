# SPDX-License-Identifier: Apache-2.0
"""Durations of operations, beside the plainest way to do them; see ``README.rst``."""
