# SPDX-License-Identifier: Apache-2.0
"""How Winograd's convolution is cut into chunks, and the model of what it costs."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from splitc_targets.kernels.product.candidates import beside_memory
from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.machine import tiles
from splitc_targets.machine.machine import Machine


@dataclass(frozen=True)
class Plan:
    """How a convolution's tiles are cut into chunks and who computes them.

    Args:
        m: Rows and columns of a tile of results.
        down, across: Tiles of one image.
        tiles: Tiles of all images.
        chunks: Chunks of about equally many tiles.
        fused: Whether a core takes a chunk through all stages.
        workers: Cores that share the chunks, or the blocks and chunks.
        rows: Tiles that a product's register block holds.
        vectors: Vectors of output channels of each register block.
        group: Register blocks of a block of output channels, for which a core reads its chunk's
            transformed input once.
        depth: Input channels, up to whole vectors.
        width: Output channels of the widest block.
        border: Elements of a worker's scratch for tiles at the border.
        line: Elements between positions, beyond their rows, so that not all fall on a few
            cache sets.
        pair: Channels of an element of the products' factors: of bfloat16 2, else 1.
    """

    m: int
    down: int
    across: int
    tiles: int
    chunks: int
    fused: bool
    workers: int
    rows: int
    vectors: tuple[int, ...]
    group: int
    depth: int
    width: int
    border: int
    line: int = 16
    pair: int = 1

    @property
    def size(self) -> int:
        """Tiles of the largest chunk."""
        return -(-self.tiles // self.chunks)

    @property
    def blocks(self) -> int:
        """Blocks of output channels."""
        return -(-len(self.vectors) // self.group)

    @property
    def positions(self) -> int:
        """Products per tile and pair of channels."""
        return (self.m + 2) ** 2

    @property
    def v_step(self) -> int:
        """Elements of a position of a chunk's transformed input."""
        return self.size * self.depth + self.line

    @property
    def p_step(self) -> int:
        """Elements of a position of a chunk's products."""
        return self.size * self.width + self.line

    @property
    def v_count(self) -> int:
        """Elements of all transformed input that is kept at a time."""
        return (self.workers if self.fused else self.chunks) * self.positions * self.v_step

    @property
    def factor_bytes(self) -> int:
        """Of an element of transformed input, or of a transformed filter."""
        return 4 // self.pair

    @property
    def p_start(self) -> int:
        """Elements of scratch before the products: transformed input, where it is float32 too."""
        return self.v_count if self.pair == 1 else 0

    @property
    def workspace(self) -> int:
        """Elements of scratch in float32."""
        return self.p_start + self.workers * (self.positions * self.p_step + self.border)


def supported(conv: Conv) -> bool:
    """Whether the algorithm computes this convolution at all."""
    return (
        conv.kernel == (3, 3) and conv.stride == (1, 1) and conv.dilation == (1, 1)
        and conv.groups == 1 and conv.x_channel == 1 and conv.w_image == 0
    )  # fmt: skip


@functools.lru_cache(maxsize=1024)
def plan(conv: Conv, machine: Machine, m: int, pair: int = 1) -> Plan:
    """The chunks, and fused or phased, with the fewest predicted cycles.

    Args:
        conv: As `supported` has it; its channels are whole elements of `pair`.
        machine: As the products' tiles see it.
        m: Rows and columns of a tile of results.
        pair: Channels of an element of the products' factors.
    """
    total = conv.batch * -(-conv.out_height // m) * -(-conv.out_width // m)
    sizes = range(min(total, _SMALLEST), min(total, _LARGEST) + 1)
    made = (
        each
        for chunks in sorted({-(-total // size) for size in sizes})
        for each in _plans(conv, machine, m, pair, chunks)
    )
    return min(made, key=lambda each: cycles(conv, machine, each))


def _plans(conv: Conv, machine: Machine, m: int, pair: int, chunks: int) -> Iterator[Plan]:
    """The plans with so many chunks."""
    lanes = machine.lanes
    down, across = -(-conv.out_height // m), -(-conv.out_width // m)
    total = conv.batch * down * across
    depth = -(-conv.channels // lanes) * lanes
    tile = tiles.choose(machine, -(-total // chunks), conv.out_channels, 4 // pair * depth)
    vectors = tuple(tiles.split(-(-conv.out_channels // lanes), tile.vectors))
    wide = min(len(vectors), max(1, _WIDE // (tile.vectors * lanes)))
    for group, fused in itertools.product(sorted({1, wide}), (True, False)):
        items = chunks if fused else chunks * -(-len(vectors) // group)
        yield Plan(
            m, down, across, total, chunks, fused,
            workers=min(machine.cores, items) if machine.shares(conv.flops) else 1,
            rows=tile.rows, vectors=vectors, group=group, depth=depth,
            width=group * vectors[0] * lanes, border=(m + 2) ** 2 * PART * lanes,
            pair=pair,
        )  # fmt: skip


@dataclass(frozen=True)
class Parts:
    """What a plan's cycles are made of.

    Args:
        products: Cycles of a chunk's products, all blocks.
        input, output: Cycles of all transforms on one core.
        again_bytes: What a core reads again beyond its L2.
    """

    products: float
    input: float
    output: float
    again_bytes: float


def parts(conv: Conv, machine: Machine, plan: Plan) -> Parts:
    """The arithmetic of a plan, and what it reads again."""
    workers, positions, blocks = plan.workers, plan.positions, plan.blocks
    pieces = tiles.even(plan.size, plan.rows)
    step = sum(tiles.cycles(machine, tiles.Tile(r, v)) for v in plan.vectors for r in pieces)
    u_block = plan.factor_bytes * positions * conv.channels * plan.width
    u, v = u_block * blocks, plan.factor_bytes * positions * plan.v_step
    p = 4 * positions * plan.p_step
    if plan.fused:
        turns = -(-plan.chunks // workers)
        users = workers if machine.l2_shared else 1
        again = 0.0 if u + users * (v + p) / 2 <= _held(machine) else u * (turns - 1 / workers)
        if v + p > 0.6 * machine.l2_bytes:
            again += turns * (v * blocks + p)
    else:
        turns = -(-plan.chunks * blocks // workers)
        stays = u_block <= machine.l2_bytes / 2
        again = v * (turns + plan.chunks / workers)
        again = 0.0 if v * plan.chunks <= 0.6 * _held(machine) else again
        again += 0 if stays else u_block * turns * (1 - 1 / plan.chunks)
        if p > 0.5 * machine.l2_bytes:
            again += 2 * p * turns
    steps = positions * conv.channels // plan.pair
    return Parts(steps * step, *_transforms(machine, plan), again)


def cycles(conv: Conv, machine: Machine, plan: Plan) -> float:
    """Predicted cycles: the arithmetic of a core's share, and what it reads again beyond its L2."""
    made, workers = parts(conv, machine, plan), plan.workers
    transforms = made.input + made.output
    if plan.fused:
        share = -(-plan.chunks // workers) * (made.products + transforms / plan.chunks)
    else:
        turns = -(-plan.chunks * plan.blocks // workers)
        share = turns * made.products / plan.blocks + transforms / workers + _BARRIER
    return share + made.again_bytes / machine.beyond_l2


def _held(machine: Machine) -> int:
    """Bytes that stay in the L2, or the cores' common one, however many cores read them."""
    return machine.l2_bytes * (machine.cores if machine.l2_shared else 1)


def _transforms(machine: Machine, plan: Plan) -> tuple[float, float]:
    """Cycles of the input's and the result's transforms: operations, loads and stores."""
    into, out = (144.0, 100.0) if plan.m == 4 else (32.0, 24.0)
    operation = (1.0 if machine.fma else 1.5) / machine.fma_per_cycle
    moved = (2.0 * plan.positions + plan.m**2) / machine.loads_per_cycle
    vectors = plan.depth // machine.lanes, sum(plan.vectors)
    return (
        plan.tiles * vectors[0] * (into * operation + moved),
        plan.tiles * vectors[1] * (out * operation + moved),
    )


def filter_size(conv: Conv, machine: Machine, m: int, pair: int = 1) -> int:
    """Elements of the transformed filters, of so many channels each."""
    made = plan(conv, machine, m, pair)
    return made.positions * conv.channels // pair * sum(made.vectors) * machine.lanes


def predicted(conv: Conv, machine: Machine, m: int, pair: int = 1) -> float:
    """Predicted cycles with m x m tiles, weights arriving from memory meanwhile.

    More than the model says by what it must be quicker: it is less exact than the direct
    algorithm, and needs scratch.
    """
    made = plan(conv, machine, m, pair)
    weight_bytes = made.factor_bytes * made.positions * conv.channels * conv.out_channels
    return _MARGIN * beside_memory(weight_bytes, cycles(conv, machine, made), machine)


PART = 4
"""Vectors of input channels that are transformed together: their tile stays in L1."""

_SMALLEST, _LARGEST = 4, 64
"""Tiles of the chunks that are considered."""

_WIDE = 64
"""Output channels of the widest block that is considered, where registers hold fewer."""

_BARRIER = 10_000
"""Cycles until all cores have begun another stage."""

_MARGIN = 1.1
"""How much faster the model must call it."""
