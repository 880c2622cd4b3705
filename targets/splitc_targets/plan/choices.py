# SPDX-License-Identifier: Apache-2.0
"""Who decides what can be computed in more than one way: the model, measurements, or a limit."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol, TypeVar

from splitc_targets.kernels import families, ways
from splitc_targets.kernels.choice import Choice, Product, conv_of
from splitc_targets.kernels.product.geometry import Conv, Matmul
from splitc_targets.machine.machine import Machine


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


def bare(product: Product) -> Product:
    """The kernel without any choice: what all its choices compute."""
    conv = replace(conv_of(product), tile=None, blocks_outer=None)
    if isinstance(product, Matmul):
        return replace(product, conv=replace(conv, w_image=0))
    return conv


def decided(choices: Choices, product: Product, machine: Machine, *, exact: bool = False) -> Choice:
    """How a bare kernel is to compute; without a tile where that is the model's to say.

    Args:
        choices: Are asked first.
        product: The kernel.
        machine: What it runs on.
        exact: Whether sums of whole numbers have to be exact: a choice that does not keep
            them so is not followed.
    """
    choice = choices.best(product)
    family = families.named(choice.family) if choice is not None else None
    if choice is not None and family is not None and (family.exact or not exact):
        return choice
    return Choice(ways.quickest(product, machine, exact=exact).choice.family)


def followed(choices: Choices, product: Product | None, choice: Choice | None) -> str:
    """In words, how a step computes a product, where that is not the model's choice."""
    best = choices.best(product) if product is not None else None
    if best is None or choice is None or best.family != choice.family:
        return ""
    return str(best)


_AnyProduct = TypeVar("_AnyProduct", Conv, Matmul)


def filled(product: _AnyProduct, choice: Choice) -> _AnyProduct:
    """The product with a choice's tile and order, where it has any."""
    return product if choice.tile is None else families.with_choice(product, choice)
