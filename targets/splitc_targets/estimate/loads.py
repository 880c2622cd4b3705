# SPDX-License-Identifier: Apache-2.0
"""What each kernel asks of a machine: cycles of its busiest core, bytes, parallel loops.

The planner's own functions say how a kernel is cut: its tile, its blocks, its chunks, how cores
share them. Constants here are what those leave open. They were fitted to the times of the
kernels of 14 networks on one thread of an AMD EPYC (Zen 5), AVX-512: each is one number for all
kernels of its kind, in cycles, so that it means the same on any core. `splitc profile` measures
kernels, `splitc compile -v` says what each is predicted to take.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from splitc_targets.kernels import ways
from splitc_targets.kernels.product import geometry, tile_plan
from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.kernels.strassen import plan as strassen
from splitc_targets.kernels.window.geometry import LANES, Windows, share, tile_columns
from splitc_targets.kernels.winograd import plan as winograd
from splitc_targets.loops.bfloat16 import BF16
from splitc_targets.machine import tiles
from splitc_targets.machine.core import TileProduct
from splitc_targets.machine.machine import ELEMENTS_WORTH_SHARING, Machine


@dataclass(frozen=True)
class Load:
    """What one call of a kernel asks for.

    Args:
        cycles: Of the core that has most to do.
        near_bytes: What that core reads of its L2 meanwhile, into L1.
        weight_bytes: Constants that it reads, each once.
        again_bytes: What it reads again beyond its L2.
        read_bytes, written_bytes: Tensors.
        cores: That share the work.
        loops: Parallel loops, one after the other.
    """

    cycles: float = 0.0
    near_bytes: float = 0.0
    weight_bytes: float = 0.0
    again_bytes: float = 0.0
    read_bytes: float = 0.0
    written_bytes: float = 0.0
    cores: int = 1
    loops: int = 0


@dataclass(frozen=True)
class Ending:
    """What a kernel does with each of its results before it stores it.

    Args:
        light: Operations that are an instruction or two: additions, bounds.
        heavy: Exponentials and what is made of them.
        beside_bytes: Tensors that are read beside.
    """

    light: int = 0
    heavy: int = 0
    beside_bytes: int = 0


PLAIN = Ending()

HEAVY_CYCLES = 11.0
"""Of one vector's exponential or the like, at two multiply-adds a cycle."""

FUSED_CYCLES = 0.25
"""Of one other operation on a vector of results, beside multiply-adds that hide half of it."""

FEW_CHANNELS, FEW_SLOWER = 4, 1.29
"""First layers: pixels are read one by one where input channels are so few."""

NARROW, NARROW_SLOWER = 2, 1.22
"""Tiles of so few vectors, where operands come from memory: each is read for few products."""

INPUT_SLOWER, OUTPUT_SLOWER = 2.4, 0.83
"""Winograd's transforms, against the planner's count of their operations and loads."""


def _busiest(tasks: int, cores: int) -> float:
    """The share of equal tasks that falls to the core with most of them."""
    return -(-tasks // cores) / tasks if tasks else 1.0


def _ending_cycles(vectors: float, ending: Ending, machine: Machine) -> float:
    """Cycles of what is fused, beyond what the multiply-adds hide."""
    each = HEAVY_CYCLES * ending.heavy + FUSED_CYCLES * ending.light
    return vectors * each * 2.0 / machine.fma_per_cycle


def taps_inside(conv: Conv) -> float:
    """Places of the kernel that a result meets on average: those beyond the map are skipped."""
    found = 1.0
    for axis, (size, out) in enumerate(
        ((conv.height, conv.out_height), (conv.width, conv.out_width))
    ):
        step, apart, pad = conv.stride[axis], conv.dilation[axis], conv.pad[axis]
        inside = 0
        for place in range(conv.kernel[axis]):
            first = max(0, -(-(pad - place * apart) // step))
            last = min(out - 1, (size - 1 + pad - place * apart) // step)
            inside += max(0, last - first + 1)
        found *= inside / out
    return found


def direct(conv: Conv, machine: Machine, ending: Ending = PLAIN) -> Load:
    """The direct convolution, or a product by constants; channels are steps of the reduction."""
    flat = geometry.flattened(conv)
    tile = geometry.tile_of(flat, machine)
    blocks = Counter(geometry.blocks(flat, tile, machine.lanes))
    rows = Counter(tiles.split(flat.out_width, tile.rows))
    lines = flat.batch * flat.out_height * flat.groups
    step = sum(
        many * often * tiles.cycles(machine, tiles.Tile(height, width)) * _narrow(width, machine)
        for width, many in blocks.items()
        for height, often in rows.items()
    )
    cycles = taps_inside(conv) * conv.channels * lines * step
    if conv.channels <= FEW_CHANNELS:
        cycles *= FEW_SLOWER
    weights = 4.0 * conv.kernel[0] * conv.kernel[1] * conv.channels * conv.out_channels
    near = lines * sum(
        many * often * _near_bytes(conv, width * machine.lanes, height, machine)
        for width, many in blocks.items()
        for height, often in rows.items()
    )
    near = max(0.0, near - weights)  # Once they come from farther.
    vectors = sum(width * many for width, many in blocks.items())
    cycles += _ending_cycles(vectors * flat.out_width * lines, ending, machine)
    tasks = sum(blocks.values()) * (lines if lines > 1 else sum(rows.values()))
    cores = min(machine.cores, tasks) if machine.shares(conv.flops) else 1
    pixels = conv.batch * conv.out_height * conv.out_width
    busiest = _busiest(tasks, cores)
    return Load(
        cycles * busiest, near * busiest,
        weight_bytes=weights,
        read_bytes=4 * conv.batch * conv.height * conv.width * conv.channels * conv.groups
        + ending.beside_bytes,
        written_bytes=4 * pixels * conv.out_channels,
        cores=cores, loops=int(cores > 1),
    )  # fmt: skip


def _near_bytes(conv: Conv, channels: int, pixels: int, machine: Machine) -> float:
    """What a tile reads of L2: weights that L1 does not keep from tile to tile, and pixels.

    Args:
        conv: What is computed.
        channels: Output channels of the tile, in whole vectors.
        pixels: Of it.
        machine: What it runs on.
    """
    weights = 4.0 * taps_inside(conv) * conv.channels * channels
    across = pixels * conv.stride[1] + conv.kernel[1] - 1
    read = 4.0 * conv.kernel[0] * across * conv.channels
    return read + (weights if weights > machine.l1_bytes / 2 else 0.0)


def batched(conv: Conv, machine: Machine, ending: Ending = PLAIN) -> Load:
    """Products of two tensors: the right one is packed first, then they are convolutions.

    Args:
        conv: Images are pairs, pixels the left rows.
        machine: What it runs on.
        ending: What is fused behind.
    """
    load = direct(conv, machine, ending)
    packed = 4.0 * conv.batch * conv.channels * conv.out_channels
    vectors = packed / 4 / machine.lanes
    return replace(
        load, cycles=load.cycles + vectors * PACK_CYCLES / load.cores, weight_bytes=0.0,
        read_bytes=load.read_bytes + packed, loops=2 * load.loops,
    )  # fmt: skip


PACK_CYCLES = 4.0
"""Of a vector of the right side of a product, laid anew."""


def attention(scores: Conv, result: Conv, machine: Machine, endings: Sequence[Ending]) -> Load:
    """Two products by one cut of the rows; what lies between them stays in the caches.

    Args:
        scores: The first product: images are pairs, pixels rows, channels of the result keys.
        result: The second, of as many rows.
        machine: What it runs on.
        endings: What is fused behind each.
    """
    products = (geometry.in_pieces(conv, machine) for conv in (scores, result))
    loads = [batched(conv, machine, end) for conv, end in zip(products, endings, strict=True)]
    between = scores.batch * scores.out_width * scores.out_channels / machine.lanes
    powers = POWER_CYCLES * 2.0 / machine.fma_per_cycle * between / loads[0].cores
    pairs, rows, keys = scores.batch, scores.out_width, scores.out_channels
    read = rows * scores.channels + keys * (scores.channels + result.out_channels)
    return replace(
        loads[0], cycles=sum(load.cycles for load in loads) + powers, loops=1,
        read_bytes=4.0 * pairs * read + sum(end.beside_bytes for end in endings),
        written_bytes=4.0 * pairs * rows * result.out_channels,
    )  # fmt: skip


POWER_CYCLES = 8.0
"""Of a vector of scores, made powers of e."""


def _narrow(vectors: int, machine: Machine) -> float:
    """How much slower a tile is than its multiply-adds and loads say."""
    return NARROW_SLOWER if machine.memory_fma and vectors <= NARROW else 1.0


def by_winograd(
    conv: Conv, machine: Machine, m: int, ending: Ending = PLAIN, pair: int = 1
) -> Load:
    """Winograd's convolution with m x m tiles, cut as it is planned; `pair` as plans have it."""
    return _by_stages(conv, machine, winograd.plan(conv, machine, m, pair), ending)


def by_strassen(conv: Conv, machine: Machine, ending: Ending = PLAIN) -> Load:
    """Strassen's product, cut as it is planned."""
    return _by_stages(conv, machine, strassen.plan(conv, machine), ending)


def _by_stages(conv: Conv, machine: Machine, made: winograd.Plan, ending: Ending) -> Load:
    """A convolution by an algorithm of three stages."""
    parts = winograd.parts(machine, made)
    pixels = conv.batch * conv.out_height * conv.out_width
    vectors = -(-conv.out_channels // machine.lanes)
    cycles = (
        parts.products * made.chunks * _narrow(made.vectors[0], machine)
        + INPUT_SLOWER * parts.input
        + OUTPUT_SLOWER * parts.output
        + _ending_cycles(vectors * pixels, ending, machine)
    )
    items = made.chunks * (1 if made.fused else made.blocks)
    busiest = _busiest(items, made.workers)
    return Load(
        cycles * busiest, _stages_near_bytes(machine, made) * busiest,
        weight_bytes=4 * made.filter_size(machine.lanes),
        again_bytes=parts.again_bytes,
        read_bytes=4 * conv.batch * conv.height * conv.width * conv.channels
        + ending.beside_bytes,
        written_bytes=4 * pixels * conv.out_channels,
        cores=made.workers, loops=(1 if made.fused else 2) * (made.workers > 1),
    )  # fmt: skip


def _stages_near_bytes(machine: Machine, made: winograd.Plan) -> float:
    """What all chunks read of L2: filters for their tiles, and what the stages pass on."""
    runs = -(-made.size // made.rows)
    each = 4.0 * made.work.channels * made.vectors[0] * machine.lanes
    filters = each * len(made.vectors) * (runs if each > machine.l1_bytes / 2 else 1)
    tiles_bytes = made.factor_bytes * made.size * made.work.depth * (len(made.vectors) + 2.0)
    products = 8.0 * made.size * sum(made.vectors) * machine.lanes
    return made.chunks * made.work.positions * (filters + tiles_bytes + products)


def by_tiles(conv: Conv, machine: Machine, row: TileProduct, ending: Ending = PLAIN) -> Load:
    """A convolution by products of tiles, in words of four bytes, which count as floats."""
    pixels = conv.batch * conv.out_height * conv.out_width
    cycles = tile_plan.cycles(conv, row, machine)
    vectors = conv.groups * -(-conv.out_channels // conv.groups // machine.lanes)
    cores = min(machine.cores, pixels) if machine.shares(conv.flops) else 1
    cycles += _ending_cycles(vectors * pixels, ending, machine) / cores
    return Load(
        cycles, 0.0,
        weight_bytes=4.0 * conv.kernel[0] * conv.kernel[1] * conv.channels * conv.out_channels,
        read_bytes=4.0 * conv.batch * conv.height * conv.width * conv.channels * conv.groups
        + ending.beside_bytes,
        written_bytes=4.0 * pixels * conv.out_channels,
        cores=cores, loops=(1 + tile_plan.plan(conv).copied) * (cores > 1),
    )  # fmt: skip


def of_bytes(conv: Conv, machine: Machine, ending: Ending = PLAIN) -> Load | None:
    """A convolution of bytes, four channels a step; None where no instruction multiplies them."""
    row = machine.multiplying("int8")
    if row is None:
        return None
    fours = replace(
        conv, channels=-(-conv.channels // row.group),
        x_pixel=-(-conv.x_pixel // row.group), x_row=-(-conv.x_row // row.group),
        x_image=-(-conv.x_image // row.group),
    )  # fmt: skip
    using, tile = machine.using(row), machine.tiling("int8")
    if tile is not None and ways.in_byte_tiles(fours, machine):
        load = by_tiles(fours, using, tile, ending)
    else:
        load = direct(fours, using, ending)
    # Elements of four bytes are counted as floats are; results are bytes.
    return replace(load, written_bytes=load.written_bytes / row.group)


def of_halves(conv: Conv, machine: Machine, ending: Ending = PLAIN) -> Load | None:
    """A convolution of float16; None where no instruction multiplies it."""
    row = machine.multiplying("float16")
    if row is None:
        return None
    load = direct(conv, machine.using(row), ending)
    return replace(
        load, near_bytes=load.near_bytes / 2, weight_bytes=load.weight_bytes / 2,
        read_bytes=load.read_bytes / 2, written_bytes=load.written_bytes / 2,
    )  # fmt: skip


def of_pairs(conv: Conv, machine: Machine, ending: Ending = PLAIN) -> Load | None:
    """A convolution of bfloat16, two channels a step; None where it is not computed so."""
    row, family = machine.multiplying(BF16), ways.in_pairs(conv, machine)
    if row is None or not family:
        return None
    tile = machine.tiling(BF16)
    if family == "tiles" and tile is not None:
        return by_tiles(geometry.in_pairs(conv), machine.using(row), tile, ending)
    if family == "pairwinograd2":
        load = by_winograd(conv, machine.using(row), 2, ending, geometry.PAIR)
        return replace(load, read_bytes=load.read_bytes / geometry.PAIR)
    # Elements of four bytes are counted as floats are.
    return direct(geometry.in_pairs(conv), machine.using(row), ending)


TILE_CYCLES = 14.0
"""Of a tile of windows, beyond its arithmetic, loads and stores."""

LARGEST_CYCLES = 1.5
"""Of the larger of two vectors, which passes on what is not a number."""


def windows_of_bytes(spec: Windows, machine: Machine, ending: Ending = PLAIN) -> Load | None:
    """A depthwise convolution of bytes; None where the machine has no instruction for it."""
    row = machine.multiplying("int8")
    if row is None or row.lanes != LANES:
        return None
    return windows(spec, machine.using(row), ending, taps=True, element_bytes=1, group=row.group)


def windows(
    spec: Windows, machine: Machine, ending: Ending = PLAIN, *, taps: bool,
    element_bytes: int = 4, group: int = 1,
) -> Load:  # fmt: skip
    """A depthwise convolution, or a pooling.

    Args:
        spec: What slides where.
        machine: What it runs on.
        ending: What is fused behind.
        taps: Whether there are weights, a vector of them for each place.
        element_bytes: Of the maps.
        group: Taps of a kernel row that an instruction takes, which zipping their columns takes
            as long as again.
    """
    columns = tile_columns(spec.out_width, spec.stride[1], machine)
    tiles_across = -(-spec.out_width // columns)
    vectors = -(-spec.channels // machine.lanes)
    rows, wide = spec.kernel[0], -(-spec.kernel[1] // group)
    places = (columns - 1) * spec.stride[1] + (wide - 1) * spec.dilation[1] + 1
    met = columns * rows * wide * min(2, group)
    loads = rows * (min(places, columns * wide) + (wide if taps else 0)) + columns
    arithmetic = met * (1.0 if taps else 2.0 * LARGEST_CYCLES) / machine.fma_per_cycle
    if taps and not machine.fma:
        arithmetic *= 2.0
    cycles = max(arithmetic, loads / machine.loads_per_cycle) + TILE_CYCLES
    count = tiles_across * spec.out_height * spec.batch * vectors
    cycles = count * cycles + _ending_cycles(count * columns, ending, machine)
    block, band = share(spec, machine, machine.lanes)
    tasks = spec.batch * -(-spec.out_height // band) * -(-vectors // block)
    cores = min(machine.cores, tasks) if machine.shares(spec.flops) else 1
    pixels = spec.batch * spec.channels
    return Load(
        cycles * _busiest(tasks, cores),
        weight_bytes=4.0 * met / columns * spec.channels if taps else 0.0,
        read_bytes=element_bytes * pixels * spec.height * spec.width + ending.beside_bytes,
        written_bytes=element_bytes * pixels * spec.out_height * spec.out_width,
        cores=cores, loops=int(cores > 1),
    )  # fmt: skip


def passes(
    elements: float, read_bytes: float, written_bytes: float, machine: Machine,
    *, cycles_each: float,
) -> Load:  # fmt: skip
    """A kernel that goes over its elements: maps, copies, normalisations.

    Args:
        elements: That it goes over.
        read_bytes, written_bytes: Its tensors.
        machine: What it runs on.
        cycles_each: Of a vector of them.
    """
    cores = machine.cores if elements > ELEMENTS_WORTH_SHARING else 1
    cycles = math.ceil(elements / machine.lanes) * cycles_each / cores
    return Load(
        cycles, read_bytes=read_bytes, written_bytes=written_bytes,
        cores=cores, loops=int(cores > 1),
    )  # fmt: skip
