# SPDX-License-Identifier: Apache-2.0
"""A whole OpenStack on one machine, on loopback, for the tests of nova-compute."""
