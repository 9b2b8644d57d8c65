# SPDX-License-Identifier: Apache-2.0
"""A whole OpenStack on one machine, on loopback: nova-compute is what it is there for."""
