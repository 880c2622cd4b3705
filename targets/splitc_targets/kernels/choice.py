# SPDX-License-Identifier: Apache-2.0
"""How one kernel may compute, in words that a file can keep, and what that is predicted to cost."""

from __future__ import annotations

import re
from dataclasses import dataclass

from splitc_targets.kernels.product.geometry import Conv, Matmul, flattened
from splitc_targets.machine.tiles import MOST_ROWS, MOST_VECTORS, Tile

Product = Conv | Matmul
"""What there is a choice for: a convolution, also as a product by a constant, or a product."""

_TEXT = re.compile(r"([a-z]+\d?)(?: (\d{1,2})x(\d{1,2}) (blocks|pixels) outer)?")


@dataclass(frozen=True)
class Choice:
    """How a kernel computes a convolution or a matrix product.

    Args:
        family: The kernels' family, by name.
        tile: The register tile; None where the family decides it by itself.
        blocks_outer: Whether the outer loop is over blocks of output channels, not pixels.
    """

    family: str
    tile: Tile | None = None
    blocks_outer: bool = False

    def __str__(self) -> str:
        if self.tile is None:
            return self.family
        order = "blocks" if self.blocks_outer else "pixels"
        return f"{self.family} {self.tile.rows}x{self.tile.vectors} {order} outer"

    @staticmethod
    def parse(text: str) -> Choice | None:
        """The choice that prints so; None for any other text."""
        found = _TEXT.fullmatch(text)
        if found is None:
            return None
        if found[2] is None:
            return Choice(found[1])
        tile = Tile(int(found[2]), int(found[3]))
        if not (0 < tile.rows <= MOST_ROWS and 0 < tile.vectors <= MOST_VECTORS):
            return None
        return Choice(found[1], tile, found[4] == "blocks")


@dataclass(frozen=True)
class Candidate:
    """A choice and what it is predicted to cost.

    Args:
        choice: The choice.
        cycles: Predicted; families are compared by them.
        constant_bytes: Weights as its kernel reads them.
    """

    choice: Choice
    cycles: float
    constant_bytes: int


def conv_of(product: Product) -> Conv:
    """The convolution that a kernel is, or that a matrix product is computed as."""
    return product if isinstance(product, Conv) else product.conv


def written(product: Product) -> Conv:
    """The convolution whose loops the direct algorithm writes."""
    return flattened(product) if isinstance(product, Conv) else product.conv
