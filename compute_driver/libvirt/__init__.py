# SPDX-License-Identifier: Apache-2.0
"""The libvirt side: the gateway to it, its events, domains and host, and the driver."""
