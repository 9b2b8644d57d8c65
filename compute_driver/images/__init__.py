# SPDX-License-Identifier: Apache-2.0
"""Gets images: from where they are, told apart by their bytes, kept once for all guests."""
