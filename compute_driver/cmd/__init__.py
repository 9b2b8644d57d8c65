# SPDX-License-Identifier: Apache-2.0
"""The command line: verbs found by entry points, shown by cliff."""
