# SPDX-License-Identifier: Apache-2.0
"""The sections of the contract that every driver keeps; ``ComputeDriver`` joins the sections."""
