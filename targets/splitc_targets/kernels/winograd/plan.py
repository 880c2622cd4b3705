# SPDX-License-Identifier: Apache-2.0
"""How Winograd's convolution is cut into chunks, and the model of what it costs."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from splitc_targets.kernels.product.candidates import beside_memory
from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.kernels.winograd.form import Form
from splitc_targets.machine import tiles
from splitc_targets.machine.machine import Machine


@dataclass(frozen=True)
class Work:
    """What an algorithm of three stages asks for: transforms around products at some positions.

    Args:
        m: Rows and columns of a tile of results.
        down, across: Tiles of one image.
        tiles: Tiles of all images.
        positions: Products for each tile.
        filters: Filters that differ, one for each position at most.
        channels: Elements of the factors that a product sums over.
        depth: Channels of a tile's transformed input at one position, up to whole vectors.
        out_channels: Channels of a product.
        border: Elements of a worker's scratch for tiles at the border.
        into, out: Operations, and loads and stores, of a vector of a tile's input, and of its
            products.
        flops: Of the mathematics.
        pair: Channels of an element of the products' factors: of bfloat16 2, else 1.
    """

    m: int
    down: int
    across: int
    tiles: int
    positions: int
    filters: int
    channels: int
    depth: int
    out_channels: int
    border: int
    into: tuple[float, float]
    out: tuple[float, float]
    flops: int
    pair: int = 1


@dataclass(frozen=True)
class Plan:
    """How tiles are cut into chunks and who computes them.

    Args:
        work: What there is to do.
        chunks: Chunks of about equally many tiles.
        fused: Whether a core takes a chunk through all stages.
        workers: Cores that share the chunks, or the blocks and chunks.
        rows: Tiles that a product's register block holds.
        vectors: Vectors of output channels of each register block.
        group: Register blocks of a block of output channels, for which a core reads its chunk's
            transformed input once.
        width: Output channels of the widest block.
        line: Elements between positions, beyond their rows, so that not all fall on a few
            cache sets.
    """

    work: Work
    chunks: int
    fused: bool
    workers: int
    rows: int
    vectors: tuple[int, ...]
    group: int
    width: int
    line: int = 16

    @property
    def size(self) -> int:
        """Tiles of the largest chunk."""
        return -(-self.work.tiles // self.chunks)

    @property
    def blocks(self) -> int:
        """Blocks of output channels."""
        return -(-len(self.vectors) // self.group)

    @property
    def v_step(self) -> int:
        """Elements of a position of a chunk's transformed input."""
        return self.size * self.work.depth + self.line

    @property
    def p_step(self) -> int:
        """Elements of a position of a chunk's products."""
        return self.size * self.width + self.line

    @property
    def v_count(self) -> int:
        """Elements of all transformed input that is kept at a time."""
        return (self.workers if self.fused else self.chunks) * self.work.positions * self.v_step

    @property
    def factor_bytes(self) -> int:
        """Of an element of transformed input, or of a transformed filter."""
        return 4 // self.work.pair

    @property
    def p_start(self) -> int:
        """Elements of scratch before the products: transformed input, where it is float32 too."""
        return self.v_count if self.work.pair == 1 else 0

    @property
    def workspace(self) -> int:
        """Elements of scratch in float32."""
        work = self.work
        return self.p_start + self.workers * (work.positions * self.p_step + work.border)

    def filter_size(self, lanes: int) -> int:
        """Elements of the transformed filters, of so many channels each."""
        return self.work.filters * self.work.channels * sum(self.vectors) * lanes


def supported(conv: Conv, machine: Machine, m: int) -> bool:
    """Whether the algorithm computes this convolution with m x m tiles at all.

    Strides of 2 with 4 x 4 only, and where a multiply-add takes a lane of a register: on x86-64
    it was not tried whether they pay.
    """
    strides = ((1, 1), (2, 2)) if m == 4 and machine.lane_fma else ((1, 1),)
    return (
        conv.kernel == (3, 3) and conv.stride in strides and conv.dilation == (1, 1)
        and conv.groups == 1 and conv.x_channel == 1 and conv.w_image == 0
    )  # fmt: skip


def plan(conv: Conv, machine: Machine, m: int, pair: int = 1) -> Plan:
    """The chunks of Winograd's convolution.

    Args:
        conv: As `supported` has it; its channels are whole elements of `pair`.
        machine: As the products' tiles see it.
        m: Rows and columns of a tile of results.
        pair: Channels of an element of the products' factors.
    """
    down, across = -(-conv.out_height // m), -(-conv.out_width // m)
    form = Form(m, conv.stride[0])
    positions = form.n**2
    moved = 2.0 * positions + m**2
    into, out = _OPERATIONS[form]
    work = Work(
        m, down, across, conv.batch * down * across, positions, form.filters**2,
        conv.channels // pair,
        depth=-(-conv.channels // machine.lanes) * machine.lanes,
        out_channels=conv.out_channels, border=positions * PART * machine.lanes,
        into=(into, moved), out=(out, moved), flops=conv.flops, pair=pair,
    )  # fmt: skip
    return cut(work, machine)


@functools.lru_cache(maxsize=1024)
def cut(work: Work, machine: Machine) -> Plan:
    """The chunks, and fused or phased, with the fewest predicted cycles."""
    sizes = range(min(work.tiles, _SMALLEST), min(work.tiles, _LARGEST) + 1)
    made = (
        each
        for chunks in sorted({-(-work.tiles // size) for size in sizes})
        for each in _plans(work, machine, chunks)
    )
    return min(made, key=lambda each: cycles(machine, each))


def _plans(work: Work, machine: Machine, chunks: int) -> Iterator[Plan]:
    """The plans with so many chunks."""
    lanes, size = machine.lanes, -(-work.tiles // chunks)
    tile = tiles.choose(machine, size, work.out_channels, 4 // work.pair * work.depth)
    vectors = tuple(tiles.split(-(-work.out_channels // lanes), tile.vectors))
    wide = min(len(vectors), max(1, _WIDE // (tile.vectors * lanes)))
    for group, fused in itertools.product(sorted({1, wide}), (True, False)):
        items = chunks if fused else chunks * -(-len(vectors) // group)
        yield Plan(
            work, chunks, fused,
            workers=min(machine.cores, items) if machine.shares(work.flops) else 1,
            rows=tile.rows, vectors=vectors, group=group, width=group * vectors[0] * lanes,
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


def parts(machine: Machine, plan: Plan) -> Parts:
    """The arithmetic of a plan, and what it reads again."""
    work, workers, blocks = plan.work, plan.workers, plan.blocks
    pieces = tiles.even(plan.size, plan.rows)
    step = sum(tiles.cycles(machine, tiles.Tile(r, v)) for v in plan.vectors for r in pieces)
    u_block = 4 * work.filters * work.channels * plan.width
    u, v = u_block * blocks, plan.factor_bytes * work.positions * plan.v_step
    p = 4 * work.positions * plan.p_step
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
    return Parts(
        work.positions * work.channels * step,
        work.tiles * (work.depth // machine.lanes) * _each(machine, *work.into),
        work.tiles * sum(plan.vectors) * _each(machine, *work.out),
        again,
    )


def cycles(machine: Machine, plan: Plan) -> float:
    """Predicted cycles: the arithmetic of a core's share, and what it reads again beyond its L2."""
    made, workers = parts(machine, plan), plan.workers
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


def _each(machine: Machine, operations: float, moved: float) -> float:
    """Cycles of one vector's transform: operations, loads and stores."""
    operation = (1.0 if machine.fma else 1.5) / machine.fma_per_cycle
    return operations * operation + moved / machine.loads_per_cycle


def filter_size(conv: Conv, machine: Machine, m: int, pair: int = 1) -> int:
    """Elements of the transformed filters, of so many channels each."""
    return plan(conv, machine, m, pair).filter_size(machine.lanes)


def predicted(conv: Conv, machine: Machine, m: int, pair: int = 1) -> float:
    """Predicted cycles with m x m tiles, weights arriving from memory meanwhile.

    More than the model says by what it must be quicker: it is less exact than the direct
    algorithm, and needs scratch.
    """
    made = plan(conv, machine, m, pair)
    weight_bytes = 4 * made.work.filters * made.work.channels * conv.out_channels
    return _MARGIN * beside_memory(weight_bytes, cycles(machine, made), machine)


_OPERATIONS = {Form(2): (32.0, 24.0), Form(4): (144.0, 100.0), Form(4, 2): (180.0, 200.0)}
"""Operations of a vector's transforms, of the input and of the results."""

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
