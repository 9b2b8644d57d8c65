# SPDX-License-Identifier: Apache-2.0
"""The drivers behind the contract, and how one is found and loaded."""
