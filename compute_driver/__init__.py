# SPDX-License-Identifier: Apache-2.0
"""A compute driver that runs KVM and QEMU guests through libvirt."""
