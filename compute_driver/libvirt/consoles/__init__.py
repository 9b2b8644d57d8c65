# SPDX-License-Identifier: Apache-2.0
"""The serial console of a running guest (log and session) and its screen."""
