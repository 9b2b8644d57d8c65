# SPDX-License-Identifier: Apache-2.0
"""The embedded libvirt: daemons of libvirt that the driver runs for its own guests."""
