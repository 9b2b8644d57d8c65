# SPDX-License-Identifier: Apache-2.0
"""A module for each verb with steps of its own, under the name of the verb: a short script."""
