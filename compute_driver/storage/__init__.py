# SPDX-License-Identifier: Apache-2.0
"""The disks and files of guests: where they are, and how they are made, complete or not at all."""
