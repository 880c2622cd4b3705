# SPDX-License-Identifier: Apache-2.0
"""Loops and arithmetic, written in TVM's tensor IR."""
