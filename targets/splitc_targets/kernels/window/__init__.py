# SPDX-License-Identifier: Apache-2.0
"""Kernels that go with a window over maps, channel by channel."""
