# SPDX-License-Identifier: Apache-2.0
"""By which algorithm a product is computed: what each is predicted to cost, and the quickest.

Nothing here writes a kernel: the planner asks which one to write, and who predicts a network's
time asks the same question of the same functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from splitc_targets.kernels.choice import Candidate, Choice, Product, conv_of, written
from splitc_targets.kernels.product import candidates, geometry, tile_plan
from splitc_targets.kernels.product.geometry import PAIR, Conv
from splitc_targets.kernels.strassen import plan as strassen
from splitc_targets.kernels.winograd.plan import filter_size, predicted, supported
from splitc_targets.loops.bfloat16 import BF16
from splitc_targets.machine.machine import Machine


@dataclass(frozen=True)
class Way:
    """A family of kernels that may compute a product of floats.

    Args:
        family: Its name.
        exact: Whether sums of whole numbers are exact.
        candidates: How its kernels may compute a product, the model's choice first; none where
            they do not compute it.
    """

    family: str
    exact: bool
    candidates: Callable[[Product, Machine], Iterator[Candidate]]


def direct(name: str, product: Product, machine: Machine) -> Iterator[Candidate]:
    """The direct algorithm with the tiles and orders near the best."""
    flat, whole = written(product), conv_of(product)
    taps = whole.kernel[0] * whole.kernel[1] * whole.channels
    plain = 4 * taps * whole.out_channels
    vectors = sum(geometry.blocks(flat, geometry.tile_of(flat, machine), machine.lanes))
    packed = 4 * whole.groups * taps * vectors * machine.lanes if whole.w_image == 0 else 0
    work = candidates.direct_cycles(whole, machine)
    cycles = candidates.beside_memory(plain, work, machine)
    for conv in candidates.near(flat, machine):
        choice = Choice(name, conv.tile, bool(conv.blocks_outer))
        yield Candidate(choice, cycles, packed)


def _winograd(m: int, product: Product, machine: Machine) -> Iterator[Candidate]:
    """Winograd's algorithm, which decides chunks and tiles by itself."""
    if isinstance(product, Conv) and supported(product, machine, m):
        size = filter_size(product, machine, m)
        yield Candidate(Choice(f"winograd{m}"), predicted(product, machine, m), 4 * size)


def _strassen(product: Product, machine: Machine) -> Iterator[Candidate]:
    """Strassen's algorithm, which cuts by itself as well."""
    if isinstance(product, Conv) and strassen.supported(product, machine):
        size = strassen.filter_size(product, machine)
        yield Candidate(Choice("strassen"), strassen.predicted(product, machine), 4 * size)


_OF_CONVOLUTIONS = (
    Way("direct", True, partial(direct, "direct")),
    Way("winograd2", False, partial(_winograd, 2)),
    Way("winograd4", False, partial(_winograd, 4)),
    Way("strassen", False, _strassen),
)
_OF_PRODUCTS = (Way("matmul", True, partial(direct, "matmul")),)


def _ways(product: Product, exact: bool) -> list[Way]:
    every = _OF_CONVOLUTIONS if isinstance(product, Conv) else _OF_PRODUCTS
    return [way for way in every if way.exact or not exact]


def all_candidates(product: Product, machine: Machine, *, exact: bool = False) -> list[Candidate]:
    """How a product may be computed, the model's choice first.

    Args:
        product: Without any choice.
        machine: What it runs on.
        exact: Whether sums of whole numbers have to be exact.
    """
    found = [list(way.candidates(product, machine)) for way in _ways(product, exact)]
    best = min((each[0] for each in found if each), key=lambda each: each.cycles)
    return list(dict.fromkeys([best, *(each for some in found for each in some)]))


def quickest(product: Product, machine: Machine, *, exact: bool = False) -> Candidate:
    """The model's choice for a product; arguments as for `all_candidates`."""
    first = (next(way.candidates(product, machine), None) for way in _ways(product, exact))
    return min((each for each in first if each is not None), key=lambda each: each.cycles)


DEEP = 32
"""Input channels from which on products in float16 are worth adding up in two steps."""


def in_byte_tiles(conv: Conv, machine: Machine) -> bool:
    """Whether a product of bytes by constants is quickest by tiles; the convolution in words."""
    row, dot = machine.tiling("int8"), machine.multiplying("int8")
    if row is None or dot is None or not tile_plan.supported(conv, 1):
        return False
    using = machine.using(dot)
    return tile_plan.cycles(conv, row, using) < candidates.direct_cycles(conv, using)


PAIRED = 8
"""Input channels from which on products in bfloat16 pay for rounding the input."""


def in_pairs(conv: Conv, machine: Machine) -> str:
    """The family that computes a product by constants in bfloat16; "" where float32 is quickest.

    Winograd's algorithm with larger tiles, which only float32 is exact enough for, saves more of
    some maps' arithmetic.
    """
    row = machine.multiplying(BF16)
    if row is None or conv.channels % PAIR or conv.channels < PAIRED:
        return ""
    pairs, using, tile = geometry.in_pairs(conv), machine.using(row), machine.tiling(BF16)
    bytes_ = 4 * conv.out_channels * pairs.channels * conv.kernel[0] * conv.kernel[1]
    work = candidates.direct_cycles(pairs, using)
    cycles = {"pairs": candidates.beside_memory(bytes_, work, machine)}
    if tile is not None and tile_plan.supported(conv, PAIR):
        work = tile_plan.cycles(pairs, tile, using)
        cycles["tiles"] = candidates.beside_memory(bytes_, work, machine)
    if supported(conv, using, 2):
        cycles["pairwinograd2"] = predicted(conv, using, 2, PAIR)
        cycles[""] = quickest(conv, machine).cycles
    return min(cycles, key=cycles.__getitem__)
