# SPDX-License-Identifier: Apache-2.0
"""One verb a module: short scripts of steps that undo themselves."""
