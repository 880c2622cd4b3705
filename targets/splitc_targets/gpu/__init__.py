# SPDX-License-Identifier: Apache-2.0
"""Code for graphics processors: kernels, their launches, and what starts them."""
