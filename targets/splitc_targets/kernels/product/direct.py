# SPDX-License-Identifier: Apache-2.0
"""Convolution, direct, with results held in registers; 1x1 and matrix products are its case.

Activations are channels-last; weights are packed at compile time, in blocks of output channels:
[group][block][kernel row][kernel column][input channel][block's channels]. A tile of a
few pixels by a few vectors of channels stays in registers over the whole reduction. Columns
at the border get code of their own, so that no padded copy is made and nothing is multiplied
by zeros; kernel rows outside of the map are skipped by the loop's bounds. On cores that are said
to prefetch, each tile of a block asks for its share of the next block's weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from splitc_targets.kernels.product.geometry import (
    Conv,
    Segment,
    blocks,
    blocks_outermost,
    flattened,
    input_size,
    result_size,
    segments,
    tile_of,
)
from splitc_targets.loops import emit, epilogue
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value
from splitc_targets.loops.epilogue import Epilogue
from splitc_targets.loops.fused import without_bias
from splitc_targets.machine.core import MultiplyAdd
from splitc_targets.machine.machine import Machine


def operand_arguments(conv: Conv) -> list[Argument]:
    """Parameters for what the fused expression reads."""
    return epilogue.parameters(conv, conv.batch, conv.out_height, conv.out_width, conv.out_channels)


def pack(weights: np.ndarray[Any, Any], conv: Conv, machine: Machine) -> np.ndarray[Any, Any]:
    """Weights [out channels][channels][rows][columns] in the order the kernel reads them.

    They stay the elements of four bytes that they are.
    """
    tile = tile_of(flattened(conv), machine)
    per_group = conv.out_channels // conv.groups
    wides = [vectors * machine.lanes for vectors in blocks(conv, tile, machine.lanes)]
    _, channels, rows, columns = weights.shape
    packed = np.zeros((conv.groups, rows * columns * channels * sum(wides)), weights.dtype)
    for group in range(conv.groups):
        first, at = group * per_group, 0
        for wide in wides:
            last = min(first + wide, (group + 1) * per_group)
            size = rows * columns * channels * wide
            block = packed[group, at : at + size].reshape(rows, columns, channels, wide)
            block[..., : last - first] = weights[first:last].transpose(2, 3, 1, 0)
            first, at = last, at + size
    return packed.ravel()


def kernel(name: str, conv: Conv, machine: Machine, packed: int) -> Any:
    """The kernel (x, packed weights, operands…, y) as a function of TVM's tensor IR."""
    flat = flattened(conv)
    arguments = [Argument("x", (input_size(flat),)), Argument("w", (packed,))]
    arguments += [*operand_arguments(flat), Argument("y", (result_size(flat),), flat.y_dtype)]

    def write_all(code: Code, *arrays: Array) -> None:
        Writer(code, flat, machine, arrays).tasks()

    return emit.function(name, arguments, write_all)


def write(code: Code, conv: Conv, machine: Machine, arrays: tuple[Array, ...]) -> None:
    """Add the loops of a (flattened) convolution on (x, weights just packed, operands…, y)."""
    Writer(code, conv, replace(machine, prefetch=False), arrays).tasks()


class Writer:
    """Writes one convolution's loops; what is summed, and from what on, may be another's to say."""

    summed = "float32"
    """The type of the sums."""

    def __init__(self, code: Code, conv: Conv, machine: Machine, arrays: tuple[Array, ...]) -> None:
        self.bias: int | None = None
        if self.summed == "float32":
            expression, self.bias = without_bias(conv.expression, conv.operands)
            conv = replace(conv, expression=expression)
        self.code, self.conv, self.machine = code, conv, machine
        self.x, self.w, *extra, y = arrays
        self.epilogue = Epilogue(code, conv, machine.lanes, extra, y, near=conv.near_ends)
        self.tile = tile_of(conv, machine)
        self.blocks = blocks(conv, self.tile, machine.lanes)
        self.taps = conv.kernel[0] * conv.kernel[1] * conv.channels
        self.vector = emit.typed("float32", machine.lanes)
        self.each_step = self._each_step()

    @property
    def depth(self) -> int:
        """Elements of the weights for each output channel."""
        return self.taps

    def tasks(self) -> None:
        """The parallel loop over blocks of channels and stretches of pixels."""
        conv, code = self.conv, self.code
        runs = segments(conv, self.tile.rows)
        chunks = self._chunks(runs)
        lines = conv.batch * conv.out_height
        count = conv.groups * len(self.blocks)
        total = count * lines * chunks
        parallel = total > 1 and self.machine.shares(conv.flops)
        with code.loop("task", total, parallel=parallel) as task:
            if blocks_outermost(conv, self.machine):
                block, place = emit.div(task, lines * chunks), emit.mod(task, lines * chunks)
            else:
                place, block = emit.div(task, count), emit.mod(task, count)
            line, chunk = emit.div(place, chunks), emit.mod(place, chunks)
            self._block(code.bind(block), code.bind(line), code.bind(chunk), runs, chunks)

    def _chunks(self, runs: list[Segment]) -> int:
        """In how many stretches a single long row is cut, so that cores share it evenly."""
        conv = self.conv
        tiles = self._longest(runs).count
        # The tiles at the row's ends are the first and the last stretch's, beside their share.
        if conv.batch * conv.out_height > 1 or tiles < 2 or sum(r.count for r in runs) > 2 * tiles:
            return 1
        row_bytes = 4 * conv.x_pixel * self.tile.rows
        tiles_in_cache = max(1, self.machine.l1_bytes // (2 * max(1, row_bytes)))
        wanted = max(4 * self.machine.cores, tiles // max(1, tiles_in_cache))
        limit = min(tiles, wanted)
        return next((n for n in range(limit, 2 * limit) if tiles % n == 0), limit)

    def _longest(self, runs: list[Segment]) -> Segment:
        """The run whose tiles are shared."""
        return max(runs, key=lambda run: run.count)

    def _block(
        self, block: Index, line: Index, chunk: Index, runs: list[Segment], chunks: int
    ) -> None:
        """One block of channels over one stretch of pixels; the last block may be narrower."""
        per_group = len(self.blocks)
        group = self.code.bind(emit.div(block, per_group))
        within = self.code.bind(emit.mod(block, per_group))
        narrow = self.blocks[-1] != self.blocks[0] or self._ragged()
        if per_group == 1 or not narrow:
            last = per_group == 1
            self._runs(
                group, within, self.blocks[0], last and self._ragged(), line, chunk, runs, chunks
            )
            return
        edge = emit.const(per_group - 1)
        with self.code.when(emit.tirx.LT(emit.index(within), edge)):
            self._runs(group, within, self.blocks[0], False, line, chunk, runs, chunks)
        with self.code.when(emit.tirx.EQ(emit.index(within), edge)):
            self._runs(group, within, self.blocks[-1], self._ragged(), line, chunk, runs, chunks)

    def _ragged(self) -> bool:
        return (self.conv.out_channels // self.conv.groups) % self.machine.lanes != 0

    def _runs(
        self, group: Index, within: Index, vectors: int, ragged: bool,
        line: Index, chunk: Index, runs: list[Segment], chunks: int,
    ) -> None:  # fmt: skip
        code, spot = self.code, self.spot(group, within, vectors, ragged, line)
        longest = self._longest(runs)
        for run in runs:
            if chunks == 1:
                with code.loop("tile", run.count) as t:
                    self._tile(spot, run, run.start + t * run.size)
            elif run is longest:
                share, more = divmod(run.count, chunks)
                if more == 0:
                    with code.loop("tile", share) as t:
                        self._tile(spot, run, run.start + (chunk * share + t) * run.size)
                else:
                    first = code.bind(emit.div(chunk * run.count, chunks))
                    after = code.bind(emit.div((chunk + 1) * run.count, chunks))
                    with code.loop("tile", after - first, start=first) as t:
                        self._tile(spot, run, run.start + t * run.size)
            else:
                whose = 0 if run.start < longest.start else chunks - 1
                here = emit.tirx.EQ(emit.index(chunk), emit.const(whose))
                with code.when(here), code.loop("tile", run.count) as t:
                    self._tile(spot, run, run.start + t * run.size)

    def spot(self, group: Index, within: Index, vectors: int, ragged: bool, line: Index) -> Spot:
        """Where a block of channels over a row lies; of its last vector some may be beyond them."""
        conv, code = self.conv, self.code
        lanes = self.machine.lanes
        per_group = conv.out_channels // conv.groups
        channel = code.bind(group * per_group + within * (self.tile.vectors * lanes))
        weights = code.bind(
            group * (self.depth * lanes * sum(self.blocks))
            + within * (self.depth * self.tile.vectors * lanes)
            + emit.div(line, conv.out_height) * conv.w_image
        )
        used = (
            per_group - (len(self.blocks) - 1) * self.tile.vectors * lanes
            if ragged
            else vectors * lanes
        )
        image = code.bind(emit.div(line, conv.out_height))
        row = code.bind(emit.mod(line, conv.out_height))
        return Spot(group, channel, weights, vectors, used, image, row)

    def _tile(self, spot: Spot, run: Segment, column: Index) -> None:
        """One tile of results: sums in registers, then the fused expression, then the store."""
        conv, code, lanes = self.conv, self.code, self.machine.lanes
        spot = replace(spot, ahead=self.ahead(spot, column))
        with code.scope():
            sums = code.local(run.size * spot.vectors * lanes, self.summed)
            for j in range(spot.vectors):
                first = self.first(spot, j)
                for i in range(run.size):
                    code.store(sums, (i * spot.vectors + j) * lanes, first, lanes)
            top = spot.row * conv.stride[0] - conv.pad[0]
            base = code.bind(
                spot.image * conv.x_image
                + spot.group * (conv.channels * conv.x_channel)
                + top * conv.x_row
                + (column * conv.stride[1] - conv.pad[1]) * conv.x_pixel
            )
            low, high = self._kernel_rows(spot.row)
            with code.loop("kr", high - low, start=low) as kr:
                at = code.bind(base + kr * (conv.dilation[0] * conv.x_row))
                taps = code.bind(
                    spot.weights + kr * (conv.kernel[1] * conv.channels * spot.vectors * lanes)
                )
                self._columns(spot, run, sums, at, taps)
            self.beyond(spot, run, sums, low, high)
            self._store(spot, run, sums, column)

    def ahead(self, spot: Spot, column: Index) -> Index | None:
        """Where a tile's share of the next block's weights begins; None where none is asked for.

        Behind the last block it is what a part's file of weights has next: the next kernel's.
        """
        if not self.each_step:
            return None
        block = self.depth * self.tile.vectors * self.machine.lanes
        line = spot.image * self.conv.out_height + spot.row
        tile = line * self._tiles_of_a_row() + emit.div(column, self.tile.rows)
        share = self.taps * self.each_step
        return self.code.bind(spot.weights + block + tile * share)

    def _tiles_of_a_row(self) -> int:
        return -(-self.conv.out_width // self.tile.rows)

    def _each_step(self) -> int:
        """Elements of the next block's weights that a step of the reduction asks for."""
        conv, machine = self.conv, self.machine
        tiles = conv.batch * conv.out_height * self._tiles_of_a_row()
        several = conv.groups * len(self.blocks) > 1 and tiles >= _TILES_AHEAD
        if not (machine.prefetch and several and blocks_outermost(conv, machine)):
            return 0
        return -(-self.tile.vectors * machine.lanes // tiles)

    def beyond(self, spot: Spot, run: Segment, sums: Array, low: Index, high: Index) -> None:
        """What belongs to the sums from outside of the map: nothing where that is zeros.

        Args:
            spot: The tile.
            run: Its columns; `inside` says which of them have input.
            sums: Of the tile.
            low, high: Kernel rows (from, to) that have input.
        """

    def meet(self, pixel: Value, weights: Value, total: Value) -> Value:
        """A sum with a product added."""
        return emit.fma(pixel, weights, total, self.vector, fused=self.machine.fma)

    def first(self, spot: Spot, j: int) -> Value:
        """What a vector of channels' sums begin with."""
        lanes = self.machine.lanes
        if self.bias is None:
            return emit.number(0.0, lanes)
        used, channel = min(lanes, spot.used - j * lanes), spot.channel + j * lanes
        return self.code.bind(self.epilogue.constant(self.bias, channel, used), "bias")

    def _kernel_rows(self, row: Index) -> tuple[Index, Index]:
        """Kernel rows (from, to) whose input rows lie in the map."""
        conv, code = self.conv, self.code
        rows, d, s = conv.kernel[0], conv.dilation[0], conv.stride[0]
        top, last = -conv.pad[0], (conv.out_height - 1) * s - conv.pad[0] + (rows - 1) * d
        low: Index = 0
        high: Index = rows
        if top < 0:
            low = emit.most(0, emit.div(conv.pad[0] - row * s + d - 1 + d * rows, d) - rows)
            low = code.bind(emit.least(low, rows))
        if last >= conv.height:
            # The first kernel row beyond the map: ceil((height - top) / d).
            high = emit.div(conv.height + conv.pad[0] - row * s + d - 1 + d * rows, d) - rows
            high = code.bind(emit.most(low, emit.least(rows, high)))
        return low, high

    def _columns(self, spot: Spot, run: Segment, sums: Array, at: Index, taps: Index) -> None:
        """The kernel's columns, unrolled where tiles at the border differ in them."""
        conv, code = self.conv, self.code
        whole = all(inside == (0, run.size) for inside in run.inside)
        width = conv.channels * spot.vectors * self.machine.lanes
        unroll = not whole or (conv.channels <= _FEW and conv.channels * conv.kernel[1] <= _UNROLL)
        if not unroll:
            with code.loop("kc", conv.kernel[1]) as kc:
                self._reduce(
                    spot, (0, run.size), sums,
                    code.bind(at + kc * (conv.dilation[1] * conv.x_pixel)),
                    code.bind(taps + kc * width),
                )  # fmt: skip
            return
        for kc, inside in enumerate(run.inside):
            if inside[0] < inside[1]:
                where = at + kc * conv.dilation[1] * conv.x_pixel
                self._reduce(spot, inside, sums, where, taps + kc * width)

    def _reduce(
        self, spot: Spot, inside: tuple[int, int], sums: Array, at: Index, taps: Index
    ) -> None:
        """Multiply-adds over the input channels of one kernel tap."""
        conv, code = self.conv, self.code
        step = self.machine.lanes if self.machine.lane_fma and conv.x_channel == 1 else 1
        if conv.channels <= 4 and step > conv.channels:
            step = 1
        unrolled = conv.channels <= _FEW and conv.channels * conv.kernel[1] <= _UNROLL
        main = conv.channels // step
        if unrolled:
            for c in range(main):
                self._step(spot, inside, sums, at, taps, c * step, step)
        else:
            with code.loop("c", main) as c:
                self._ask(spot, taps, c * step, step)
                self._step(spot, inside, sums, at, taps, c * step, step)
        for c in range(main * step, conv.channels):
            self._step(spot, inside, sums, at, taps, c, 1)

    def _ask(self, spot: Spot, taps: Index, channel: Index, step: int) -> None:
        """Ask for what belongs to `step` input channels of the next block's weights."""
        if spot.ahead is None:
            return
        tap = emit.div(taps - spot.weights, spot.vectors * self.machine.lanes)
        from_ = spot.ahead + (tap + channel) * self.each_step
        for line in range(0, step * self.each_step, _LINE):
            self.code.prefetch(self.w.address(from_ + line))

    def _step(
        self, spot: Spot, inside: tuple[int, int], sums: Array, at: Index, taps: Index,
        channel: Index, step: int,
    ) -> None:  # fmt: skip
        """`step` input channels: weights by vectors, pixels by scalars or lanes."""
        conv, code, lanes = self.conv, self.code, self.machine.lanes
        rows = range(*inside)
        reach = conv.stride[1] * conv.x_pixel
        wide = spot.vectors * lanes
        whole: dict[int, Value] = {}
        if step > 1:
            for i in rows:
                whole[i] = code.bind(self.x.at(at + i * reach + channel, step), "a")
        for u in range(step):
            from_ = taps + (channel + u) * wide
            weights = [
                code.bind(self.w.at(from_ + j * lanes, lanes), "b") for j in range(spot.vectors)
            ]
            for i in rows:
                if step > 1:
                    a = emit.lane(whole[i], u, lanes)
                else:
                    a = self.x.everywhere(at + i * reach + (channel + u) * conv.x_channel, lanes)
                a = code.bind(a, "s")
                for j, b in enumerate(weights):
                    cell = (i * spot.vectors + j) * lanes
                    code.store(sums, cell, self.meet(a, b, sums.at(cell, lanes)), lanes)

    def _store(self, spot: Spot, run: Segment, sums: Array, column: Index) -> None:
        """The end of every result of the tile."""
        conv, code, lanes = self.conv, self.code, self.machine.lanes

        def where(steps: tuple[int, int, int]) -> Index:
            image, row, pixel = steps
            return spot.image * image + spot.row * row + column * pixel

        def place(number: int, i: Index, channel: Index) -> Index:
            operand = conv.operands[number]
            along = channel if operand.kind == "tensor" else 0
            return places[number] + i * operand.pixel + along

        y = code.bind(where((conv.y_image, conv.y_row, conv.y_pixel)) + spot.channel)
        places = self.epilogue.places(where, conv.out_height, conv.out_width)
        for ends, j, count in self.epilogue.shares(spot.vectors, spot.used):
            used = min(count * lanes, spot.used - j * lanes)
            with code.scope():
                ends.store_row(
                    run.size,
                    lambda i, j=j: y + i * conv.y_pixel + j * lanes,
                    lambda i, j=j, n=count: sums.numbers((i * spot.vectors + j) * lanes, lanes, n),
                    ends.constants(spot.channel + j * lanes, used),
                    lambda n, i, j=j: place(n, i, spot.channel + j * lanes),
                    used,
                )  # fmt: skip


class InstructionWriter(Writer):
    """One whose sums and products are those of an instruction.

    Args:
        row: The instruction.
    """

    def __init__(
        self, code: Code, conv: Conv, machine: Machine, arrays: tuple[Array, ...], row: MultiplyAdd
    ) -> None:
        super().__init__(code, conv, machine, arrays)
        self.row = row

    def meet(self, pixel: Value, weights: Value, total: Value) -> Value:
        """A sum with what the instruction multiplies added."""
        return emit.multiply_add(self.row, pixel, weights, total)


@dataclass(frozen=True)
class Spot:
    """Where a tile lies: its group and block of channels, its image and row of the result.

    `ahead` is where its share of the next block's weights begins.
    """

    group: Index
    channel: Index
    weights: Index
    vectors: int
    used: int
    image: Index
    row: Index
    ahead: Index | None = None


_TILES_AHEAD = 4
"""Tiles among which a block's weights are shared from which on asking for the next ones pays.

Fewer use a block no longer than memory takes to bring the next, which follows it anyway.
"""

_LINE = 16
"""Elements of a cache line."""

_UNROLL = 36
"""Steps of the reduction up to which a kernel row is written out (first layers)."""

_FEW = 4
"""Input channels up to which the reduction over them is written out."""
