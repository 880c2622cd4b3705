# SPDX-License-Identifier: Apache-2.0
"""Convolution, direct, with results held in registers; 1x1 and matrix products are its case.

Activations are channels-last; weights are packed at compile time, in blocks of output channels:
[group][block][kernel row][kernel column][input channel][block's channels]. A tile of a
few pixels by a few vectors of channels stays in registers over the whole reduction. Columns
at the border get code of their own, so that no padded copy is made and nothing is multiplied
by zeros; kernel rows outside of the map are skipped by the loop's bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from splitc_targets.graph.expression import Arg, Do, Expression, heavy, substitute
from splitc_targets.loops import emit
from splitc_targets.loops.arithmetic import evaluate
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value
from splitc_targets.machine import tiles
from splitc_targets.machine.machine import Machine

_SUM = Arg(0)


@dataclass(frozen=True)
class Operand:
    """What a fused expression reads beside the result: how its index follows the result's.

    Args:
        kind: "channel": a vector over output channels; "tensor": the result's own shape;
            "scalar": one number.
        pixel, row, image: Distances between a tensor's neighbours, in elements; a row or
            image of 0 means that nothing lies between.
        dtype: A tensor's element type: floats or bytes.
    """

    kind: str
    pixel: int = 0
    row: int = 0
    image: int = 0
    dtype: str = "float32"

    def steps(self, height: int, width: int) -> tuple[int, int, int]:
        """Distances between images, rows and pixels of maps of that size."""
        row = self.row or width * self.pixel
        return self.image or height * row, row, self.pixel


@dataclass(frozen=True)
class Conv:
    """A convolution of channels-last maps; sizes are in elements.

    Args:
        batch, height, width: The input's maps.
        channels: Input channels of one group.
        groups: Groups of channels.
        out_height, out_width: The result's map.
        out_channels: Output channels of all groups.
        kernel, stride, dilation: Rows and columns.
        pad: Rows above and columns left of the input; what lies below and right follows.
        x_pixel, x_row, x_image, x_channel: Distances in the input.
        y_pixel, y_row, y_image: Distances in the result.
        w_image: Distance between the weights of images; 0 where all share them.
        expression: What is stored; operand 0 is the sum.
        operands: Its other operands.
        tile: The register tile; None leaves it to the analytic model.
        blocks_outer: Whether blocks of output channels are the outer loop, pixels the inner;
            None leaves it to the caches' sizes.
        y_dtype: The result's element type: floats or bytes.
    """

    batch: int
    height: int
    width: int
    channels: int
    groups: int
    out_height: int
    out_width: int
    out_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    pad: tuple[int, int]
    x_pixel: int
    x_row: int
    x_image: int
    x_channel: int
    y_pixel: int
    y_row: int
    y_image: int
    expression: Expression = _SUM
    operands: tuple[Operand, ...] = ()
    w_image: int = 0
    tile: tiles.Tile | None = None
    blocks_outer: bool | None = None
    y_dtype: str = "float32"

    @property
    def beside_types(self) -> tuple[str, ...]:
        """The element types of the kernel's parameters behind the input and the weights."""
        return (*(operand.dtype for operand in self.operands), self.y_dtype)

    @property
    def flops(self) -> int:
        """Operations of the mathematics, a multiply-add being 2."""
        pixels = self.batch * self.out_height * self.out_width
        return 2 * pixels * self.out_channels * self.channels * self.kernel[0] * self.kernel[1]


@dataclass(frozen=True)
class Segment:
    """A run of equal tiles along a row of the result.

    Args:
        start: First column.
        size: Columns of a tile.
        count: Tiles.
        inside: For each kernel column, the tile's columns (from, to) whose input exists.
    """

    start: int
    size: int
    count: int
    inside: tuple[tuple[int, int], ...]


def flattened(conv: Conv) -> Conv:
    """A 1x1 convolution without stride as one row of all pixels."""
    dense = (
        conv.kernel == (1, 1) and conv.stride == (1, 1) and conv.pad == (0, 0)
        and (conv.height, conv.width) == (conv.out_height, conv.out_width)
        and conv.x_row == conv.width * conv.x_pixel
        and conv.y_row == conv.width * conv.y_pixel
        and (conv.batch == 1 or conv.x_image == conv.height * conv.x_row)
        and (conv.batch == 1 or conv.y_image == conv.height * conv.y_row)
        and (conv.batch == 1 or conv.w_image == 0)
        and all(
            operand.kind != "tensor" or operand.steps(conv.out_height, conv.out_width)
            == Operand("tensor", operand.pixel).steps(conv.out_height, conv.out_width)
            for operand in conv.operands
        )
    )  # fmt: skip
    if not dense:
        return conv
    pixels = conv.batch * conv.height * conv.width
    return _replace(
        conv, batch=1, height=1, width=pixels, out_height=1, out_width=pixels,
        x_row=pixels * conv.x_pixel, y_row=pixels * conv.y_pixel,
        operands=tuple(
            Operand(operand.kind, operand.pixel, dtype=operand.dtype) for operand in conv.operands
        ),
    )  # fmt: skip


def _replace(conv: Conv, **changes: Any) -> Conv:
    return Conv(**{**conv.__dict__, **changes})


def without_bias(
    expression: Expression, operands: Sequence[Operand]
) -> tuple[Expression, int | None]:
    """An expression without the bias that it adds to the sum, and which operand that is.

    Sums that begin with the bias save an addition for every result.
    """
    for number, operand in enumerate(operands):
        bias = Arg(number + 1)
        for added in (Do("add", (_SUM, bias)), Do("add", (bias, _SUM))):
            rest = _swapped(expression, added)
            if operand.kind == "channel" and rest != expression and not _reads_sum(rest):
                return substitute(rest, lambda index: _SUM if index < 0 else Arg(index)), number
    return expression, None


def _swapped(expression: Expression, added: Expression) -> Expression:
    """The expression with an operand -1 for `added`."""
    if expression == added:
        return Arg(-1)
    if not isinstance(expression, Do):
        return expression
    return Do(expression.op, tuple(_swapped(arg, added) for arg in expression.args))


def _reads_sum(expression: Expression) -> bool:
    if isinstance(expression, Do):
        return any(map(_reads_sum, expression.args))
    return expression == _SUM


def blocks(conv: Conv, tile: tiles.Tile, lanes: int) -> list[int]:
    """Vectors of each block of output channels of one group."""
    return tiles.split(-(-(conv.out_channels // conv.groups) // lanes), tile.vectors)


def tile_of(conv: Conv, machine: Machine) -> tiles.Tile:
    """The register tile for a convolution (flattened where it can be)."""
    if conv.tile is not None:
        return conv.tile
    per_group = conv.out_channels // conv.groups
    step = 4 * conv.x_pixel * conv.stride[1]
    return tiles.choose(machine, conv.out_width, per_group, step)


def blocks_outermost(conv: Conv, machine: Machine) -> bool:
    """Whether a (flattened) convolution's blocks of channels are outermost, else its pixels.

    Weights are read again for every stretch of pixels where pixels are outermost: that is for
    weights that stay in L2, and not where a core's pixels stay there beside a block's.
    """
    if conv.blocks_outer is not None:
        return conv.blocks_outer
    taps = conv.kernel[0] * conv.kernel[1] * conv.channels
    wide = sum(blocks(conv, tile_of(conv, machine), machine.lanes)) * machine.lanes
    weights_stay = 4 * taps * wide * conv.groups <= machine.l2_bytes // 2
    pixels = 4 * conv.batch * conv.height * conv.width * conv.channels * conv.groups
    return not weights_stay or pixels // machine.cores <= machine.l2_bytes // 2


def pack(weights: np.ndarray[Any, Any], conv: Conv, machine: Machine) -> np.ndarray[Any, Any]:
    """Weights [out channels][channels][rows][columns] in the order the kernel reads them."""
    tile = tile_of(flattened(conv), machine)
    per_group = conv.out_channels // conv.groups
    pieces: list[np.ndarray[Any, Any]] = []
    for group in range(conv.groups):
        first = group * per_group
        for vectors in blocks(conv, tile, machine.lanes):
            wide = vectors * machine.lanes
            last = min(first + wide, (group + 1) * per_group)
            block = weights[first:last].transpose(2, 3, 1, 0)
            missing = wide - (last - first)
            pieces.append(np.pad(block, ((0, 0), (0, 0), (0, 0), (0, missing))).ravel())
            first = last
    return np.ascontiguousarray(np.concatenate(pieces), dtype=np.float32)


def segments(conv: Conv, rows: int) -> list[Segment]:
    """The tiles of a row of the result, equal neighbours together."""
    found: list[Segment] = []
    start = 0
    for size in tiles.split(conv.out_width, rows):
        inside = tuple(_inside(conv, start, size, column) for column in range(conv.kernel[1]))
        last = found[-1] if found else None
        if last is not None and (last.size, last.inside) == (size, inside):
            found[-1] = Segment(last.start, size, last.count + 1, inside)
        else:
            found.append(Segment(start, size, 1, inside))
        start += size
    return found


def _inside(conv: Conv, start: int, size: int, column: int) -> tuple[int, int]:
    """The columns of a tile whose input under a kernel column lies in the map."""
    shift = column * conv.dilation[1] - conv.pad[1]
    good = [i for i in range(size) if 0 <= (start + i) * conv.stride[1] + shift < conv.width]
    return (good[0], good[-1] + 1) if good else (0, 0)


def kernel(name: str, conv: Conv, machine: Machine, packed: int) -> Any:
    """The kernel (x, packed weights, operands…, y) as a function of TVM's tensor IR."""
    flat = flattened(conv)
    arguments = [Argument("x", (input_size(flat),)), Argument("w", (packed,))]
    arguments += [*operand_arguments(flat), Argument("y", (result_size(flat),), flat.y_dtype)]

    def write_all(code: Code, *arrays: Array) -> None:
        write(code, flat, machine, arrays)

    return emit.function(name, arguments, write_all)


def input_size(conv: Conv) -> int:
    """Elements from the input's first to its last."""
    size = (conv.batch - 1) * conv.x_image + (conv.height - 1) * conv.x_row
    size += (conv.width - 1) * conv.x_pixel
    return size + (conv.channels * conv.groups - 1) * conv.x_channel + 1


def operand_arguments(conv: Conv) -> list[Argument]:
    """Parameters for what the fused expression reads."""
    arguments: list[Argument] = []
    for number, operand in enumerate(conv.operands):
        size = {"channel": conv.out_channels, "scalar": 1}.get(operand.kind)
        if size is None:
            image, row, pixel = operand.steps(conv.out_height, conv.out_width)
            size = _span(conv, pixel, row, image)
        arguments.append(Argument(f"e{number}", (size,), operand.dtype))
    return arguments


def result_size(conv: Conv) -> int:
    """Elements from the result's first to its last."""
    return _span(conv, conv.y_pixel, conv.y_row, conv.y_image)


def _span(conv: Conv, pixel: int, row: int, image: int) -> int:
    size = (conv.batch - 1) * image + (conv.out_height - 1) * row
    return size + (conv.out_width - 1) * pixel + conv.out_channels


def write(code: Code, conv: Conv, machine: Machine, arrays: tuple[Array, ...]) -> None:
    """Add the loops of a (flattened) convolution on (x, packed weights, operands…, y)."""
    Writer(code, conv, machine, arrays).tasks()


class Writer:
    """Writes one convolution's loops; what is summed, and from what on, may be another's to say."""

    summed = "float32"
    """The type of the sums."""

    def __init__(self, code: Code, conv: Conv, machine: Machine, arrays: tuple[Array, ...]) -> None:
        self.bias: int | None = None
        if self.summed == "float32":
            expression, self.bias = without_bias(conv.expression, conv.operands)
            conv = _replace(conv, expression=expression)
        self.code, self.conv, self.machine = code, conv, machine
        self.x, self.w, *self.extra = arrays[:-1]
        self.y = arrays[-1]
        self.tile = tile_of(conv, machine)
        self.blocks = blocks(conv, self.tile, machine.lanes)
        self.taps = conv.kernel[0] * conv.kernel[1] * conv.channels
        self.vector = emit.typed("float32", machine.lanes)

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
        parallel = total > 1 and conv.flops > WORTH_SHARING and self.machine.cores > 1
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
        if len(runs) > 2 or conv.batch * conv.out_height > 1 or runs[0].count < 2:
            return 1
        if len(runs) == 2 and runs[1].count > 1:  # the last stretch takes one tile of it
            return 1
        row_bytes = 4 * conv.x_pixel * self.tile.rows
        tiles_in_cache = max(1, self.machine.l1_bytes // (2 * max(1, row_bytes)))
        wanted = max(4 * self.machine.cores, runs[0].count // max(1, tiles_in_cache))
        limit = min(runs[0].count, wanted)
        return next((n for n in range(limit, 2 * limit) if runs[0].count % n == 0), limit)

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
        spot = Spot(group, channel, weights, vectors, used, image, row)
        for number, run in enumerate(runs):
            if chunks == 1:
                with code.loop("tile", run.count) as t:
                    self._tile(spot, run, run.start + t * run.size)
            elif number == 0:
                share, more = divmod(run.count, chunks)
                if more == 0:
                    with code.loop("tile", share) as t:
                        self._tile(spot, run, (chunk * share + t) * run.size)
                else:
                    first = code.bind(emit.div(chunk * run.count, chunks))
                    after = code.bind(emit.div((chunk + 1) * run.count, chunks))
                    with code.loop("tile", after - first, start=first) as t:
                        self._tile(spot, run, t * run.size)
            else:
                with code.when(emit.tirx.EQ(emit.index(chunk), emit.const(chunks - 1))):
                    self._tile(spot, run, run.start)

    def _tile(self, spot: Spot, run: Segment, column: Index) -> None:
        """One tile of results: sums in registers, then the fused expression, then the store."""
        conv, code, lanes = self.conv, self.code, self.machine.lanes
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
        bias, used = self.conv.operands[self.bias], min(lanes, spot.used - j * lanes)
        return self.code.bind(self._fixed(bias, self.bias, spot, j, used), "bias")

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
                self._step(spot, inside, sums, at, taps, c * step, step)
        for c in range(main * step, conv.channels):
            self._step(spot, inside, sums, at, taps, c, 1)

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
        """The fused expression of every result of the tile, and its store.

        Long expressions (exponentials) are written once, in a loop over the tile's stored
        sums: written out for every result they would take most of the compile time.
        """
        conv, code, lanes = self.conv, self.code, self.machine.lanes
        out = code.bind(
            spot.image * conv.y_image + spot.row * conv.y_row + column * conv.y_pixel + spot.channel
        )
        places = [
            code.bind(spot.image * image + spot.row * row + column * pixel + spot.channel)
            for image, row, pixel in (
                o.steps(conv.out_height, conv.out_width) for o in conv.operands
            )
        ]
        again = heavy(conv.expression) and run.size > 1
        for j in range(spot.vectors):
            used = min(lanes, spot.used - j * lanes)
            with code.scope():
                fixed = {
                    number: code.bind(self._fixed(operand, number, spot, j, used))
                    for number, operand in enumerate(conv.operands)
                    if operand.kind != "tensor"
                }

                def put(
                    i: Index, total: Value, j: int = j, used: int = used, fixed: Any = fixed
                ) -> None:
                    read = self._reader(total, fixed, places, i, j, used)
                    value = evaluate(code, conv.expression, read, lanes)
                    value = emit.converted(value, "float32", conv.y_dtype, lanes)
                    code.store(self.y, out + i * conv.y_pixel + j * lanes, value, lanes, used)

                for i in range(run.size):
                    total = sums.number((i * spot.vectors + j) * lanes, lanes)
                    if again:
                        code.store(self.y, out + i * conv.y_pixel + j * lanes, total, lanes, used)
                    else:
                        put(i, total)
                if again:
                    with code.loop("i", run.size) as i:
                        put(i, self.y.at(out + i * conv.y_pixel + j * lanes, lanes, used))

    def _fixed(self, operand: Operand, number: int, spot: Spot, j: int, used: int) -> Value:
        lanes = self.machine.lanes
        if operand.kind == "scalar":
            return self.extra[number].everywhere(0, lanes)
        return self.extra[number].at(spot.channel + j * lanes, lanes, used)

    def _reader(
        self, total: Value, fixed: dict[int, Value], places: list[Index],
        i: Index, j: int, used: int,
    ) -> Callable[[int], Value]:  # fmt: skip
        lanes = self.machine.lanes

        def read(number: int) -> Value:
            if number == 0:
                return total
            if number - 1 in fixed:
                return fixed[number - 1]
            pixel = self.conv.operands[number - 1].pixel
            where = places[number - 1] + i * pixel + j * lanes
            return self.extra[number - 1].number(where, lanes, used)

        return read


@dataclass(frozen=True)
class Spot:
    """Where a tile lies: its group and block of channels, its image and row of the result."""

    group: Index
    channel: Index
    weights: Index
    vectors: int
    used: int
    image: Index
    row: Index


_UNROLL = 36
"""Steps of the reduction up to which a kernel row is written out (first layers)."""

_FEW = 4
"""Input channels up to which the reduction over them is written out."""

WORTH_SHARING = 200_000
"""Operations below which waking the other cores costs more than it saves."""
