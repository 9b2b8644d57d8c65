# SPDX-License-Identifier: Apache-2.0
"""From a guest to libvirt's domain XML: one small module for each family of elements."""
