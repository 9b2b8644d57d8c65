# SPDX-License-Identifier: Apache-2.0
"""The command line: verbs by entry points, run by cliff."""
