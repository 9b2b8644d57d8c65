# SPDX-License-Identifier: Apache-2.0
"""Nova's options that concern drivers, and what this driver does with each of them.

The package does not import nova.
"""
