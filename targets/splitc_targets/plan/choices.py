# SPDX-License-Identifier: Apache-2.0
"""What the rules may decide in more than one way, and who decides: the model, or measurements."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeGuard

from splitc_targets.kernels.product import geometry
from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.kernels.product.matmul import Matmul
from splitc_targets.kernels.winograd import kernel as winograd
from splitc_targets.machine.machine import Machine
from splitc_targets.machine.tiles import MOST_ROWS, MOST_VECTORS, Tile

Product = Conv | Matmul
"""What there is a choice for: a convolution, also as a product by a constant, or a product."""

_SINGLE = Tile(1, 1)


@dataclass(frozen=True)
class Choice:
    """How a kernel computes a convolution or a matrix product.

    Args:
        winograd: Rows and columns of Winograd's tiles; 0 for the direct algorithm.
        tile: The direct algorithm's register tile.
        blocks_outer: Whether its outer loop is over blocks of output channels, not pixels.
    """

    winograd: int = 0
    tile: Tile = _SINGLE
    blocks_outer: bool = False

    def __str__(self) -> str:
        if self.winograd:
            return f"winograd {self.winograd}"
        order = "blocks" if self.blocks_outer else "pixels"
        return f"direct {self.tile.rows}x{self.tile.vectors} {order} outer"

    @staticmethod
    def parse(text: str) -> Choice | None:
        """The choice that prints so; None for any other text."""
        found = re.fullmatch(r"winograd ([24])", text)
        if found:
            return Choice(int(found[1]))
        found = re.fullmatch(r"direct (\d{1,2})x(\d{1,2}) (blocks|pixels) outer", text)
        if not found:
            return None
        tile = Tile(int(found[1]), int(found[2]))
        if not (0 < tile.rows <= MOST_ROWS and 0 < tile.vectors <= MOST_VECTORS):
            return None
        return Choice(0, tile, found[3] == "blocks")


class Choices(Protocol):
    """Is asked by the rules how a kernel is to compute."""

    def best(self, product: Product) -> Choice | None:
        """The choice for a kernel as `bare` describes it; None leaves it to the model."""
        ...


class Analytic:
    """Leaves everything to the model."""

    def best(self, product: Product) -> Choice | None:
        """Nothing."""
        return None


ANALYTIC = Analytic()


def conv_of(product: Product) -> Conv:
    """The convolution that a kernel is, or that a matrix product is computed as."""
    return product if isinstance(product, Conv) else product.conv


def written(product: Product) -> Conv:
    """The convolution whose loops the direct algorithm writes."""
    return geometry.flattened(product) if isinstance(product, Conv) else product.conv


def bare(product: Product) -> Product:
    """The kernel without any choice: what all its choices compute."""
    conv = replace(conv_of(product), tile=None, blocks_outer=None)
    if isinstance(product, Matmul):
        return replace(product, conv=replace(conv, w_image=0))
    return conv


def analytic(product: Product, machine: Machine) -> Choice:
    """The model's choice for a bare kernel."""
    conv = conv_of(product)
    m = winograd.fits(conv, machine) if isinstance(product, Conv) else None
    return Choice(m) if m is not None else direct_choice(product, machine)


def direct_choice(product: Product, machine: Machine) -> Choice:
    """The model's choice for a kernel if it has to be direct."""
    flat = written(product)
    return Choice(0, geometry.tile_of(flat, machine), geometry.blocks_outermost(flat, machine))


def winograd_for(choices: Choices, conv: Conv, machine: Machine) -> int | None:
    """The size of Winograd's tiles for a convolution; None for the direct algorithm."""
    choice = choices.best(conv)
    return winograd.fits(conv, machine) if choice is None else choice.winograd or None


def direct_for(choices: Choices, conv: Conv) -> Conv:
    """The convolution with tile and order filled in where they are not the model's."""
    return _filled(conv, choices.best(conv))


def matmul_for(choices: Choices, product: Matmul) -> Matmul:
    """The matrix products with tile and order filled in where they are not the model's."""
    return replace(product, conv=_filled(product.conv, choices.best(product)))


def _filled(conv: Conv, choice: Choice | None) -> Conv:
    if choice is None or choice.winograd:
        return conv
    return replace(conv, tile=choice.tile, blocks_outer=choice.blocks_outer)


def product_of(key: Hashable) -> Product | None:
    """The bare kernel that a step with this key computes, where there is a choice for it."""
    product = key[1] if _is_tuple(key) and key[0] in ("conv", "winograd", "matmul") else None
    return bare(product) if isinstance(product, Conv | Matmul) else None


def chosen(choices: Choices, key: Hashable) -> str:
    """In words, how a step with this key computes, where that is not the model's choice."""
    product = product_of(key)
    choice = choices.best(product) if product is not None else None
    if choice is None or not _is_tuple(key):
        return ""
    return str(choice) if bool(choice.winograd) == (key[0] == "winograd") else ""


def _is_tuple(key: Hashable) -> TypeGuard[tuple[Any, ...]]:
    return isinstance(key, tuple)
