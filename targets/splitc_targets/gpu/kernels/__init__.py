# SPDX-License-Identifier: Apache-2.0
"""Kernels for graphics processors, a file a family: each takes the specs of processors."""
