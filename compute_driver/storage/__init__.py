# SPDX-License-Identifier: Apache-2.0
"""What guests own on disk: where each file is, and how it is made whole or not at all."""
