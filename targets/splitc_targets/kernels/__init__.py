# SPDX-License-Identifier: Apache-2.0
"""Kernels: what each needs to be told, how it packs weights, the loops it writes."""
