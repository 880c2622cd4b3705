# SPDX-License-Identifier: Apache-2.0
"""Which of Winograd's algorithms."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Form:
    """The algorithm along rows, and along columns.

    Args:
        m: Results of a tile: 2 or 4; with strides of 2, 4.
        stride: Inputs from one result to the next: 1 or 2.
    """

    m: int
    stride: int = 1

    @property
    def n(self) -> int:
        """Inputs of a tile, and as many products."""
        return (self.m - 1) * self.stride + 3

    @property
    def filters(self) -> int:
        """Filters that differ."""
        return self.m + 2
