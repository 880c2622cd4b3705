# SPDX-License-Identifier: Apache-2.0
"""Convolution by Winograd's algorithm."""
