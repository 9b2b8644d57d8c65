# SPDX-License-Identifier: Apache-2.0
"""What guests' interfaces are plugged into."""
