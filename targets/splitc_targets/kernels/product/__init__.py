# SPDX-License-Identifier: Apache-2.0
"""Kernels that are sums of products: convolutions and matrix products."""
