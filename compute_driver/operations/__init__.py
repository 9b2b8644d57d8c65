# SPDX-License-Identifier: Apache-2.0
"""One verb per module, which has the verb's name: a short script of steps."""
