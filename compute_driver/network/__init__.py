# SPDX-License-Identifier: Apache-2.0
"""Plugs guests' interfaces into networks, bridges and switches."""
