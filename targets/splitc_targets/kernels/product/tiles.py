# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Convolution by products of tiles (AMX): two tiles of pixels by two of output channels.

It counts in words of neighbouring channels, two bfloat16 or four bytes. Sixteen words of sixteen
pixels of a row are a left tile; weights lie as the direct kernels on words have them, so that
sixteen words of sixteen output channels are a right tile. Where a row begins or ends beyond the
map, or channels are no whole tiles, a copy of the input with those filled in is made first. The
last tile of a row overlaps the one before: its pixels are computed twice.

Tiles of sums go through memory, where the fused expression reads them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from splitc_targets.kernels.product import direct, geometry
from splitc_targets.kernels.product.direct import Spot, Writer
from splitc_targets.kernels.product.geometry import Conv, Segment
from splitc_targets.kernels.product.tile_plan import Plan, plan, workers
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value, Words
from splitc_targets.loops.tiles import LEFT, RIGHT, WORDS, Tiles
from splitc_targets.machine.core import TileProduct
from splitc_targets.machine.machine import Machine


def pack(words: np.ndarray[Any, Any], conv: Conv, machine: Machine) -> np.ndarray[Any, Any]:
    """Weights in words, int32 [out channels][channels][rows][columns], as the kernel reads them.

    Args:
        words: The weights.
        conv: In words.
        machine: As the sums' vectors see it.
    """
    made = plan(conv).conv
    more = made.channels - words.shape[1]
    return direct.pack(np.pad(words, ((0, 0), (0, more), (0, 0), (0, 0))), made, machine)


def kernel(name: str, conv: Conv, machine: Machine, row: TileProduct, packed: int) -> Any:
    """The kernel (x, packed weights, operands…, [copy,] y) as a function of TVM's tensor IR.

    Args:
        name: The function's.
        conv: In words.
        machine: As the sums' vectors see it.
        row: The product.
        packed: Words of the weights.
    """
    return function(name, plan(conv), machine, row, packed, 0, TileWriter)


def function(
    name: str, made: Plan, machine: Machine, row: TileProduct, packed: int, fill: int,
    writer: type[TileWriter],
) -> Any:  # fmt: skip
    """A kernel as `kernel` gives it.

    Args:
        name: The function's.
        made: The convolution.
        machine: As the sums' vectors see it.
        row: The product.
        packed: Words of the weights.
        fill: The word that stands for zeros beyond the map.
        writer: Writes the products and what follows them.
    """
    count = geometry.input_size(replace(made.source, channels=1, groups=1))
    count += made.source.channels * made.source.groups - 1
    copy = [Argument("copy", (made.copy_words,), "int32")] if made.copied else []
    arguments = [
        Argument("x", (count * row.group,), row.reads),
        Argument("w", (packed,), "int32"), *direct.operand_arguments(made.conv), *copy,
        Argument("y", (geometry.result_size(made.conv),), made.conv.y_dtype),
    ]  # fmt: skip

    def write(code: Code, x: Array, w: Array, *rest: Array) -> None:
        *extra, y = rest
        read: Array = Words(x, row.group)
        if made.copied:
            *extra, target = extra
            _Copy(code, made, machine, read, target, fill).write()
            read = target
        writer(code, made, machine, (read, w, *extra, y), row).tasks()

    return emit.function(name, arguments, write)


class _Copy:
    """Writes the copy of the input: rows with columns before and behind, channels filled up."""

    def __init__(
        self, code: Code, made: Plan, machine: Machine, source: Array, target: Array, fill: int
    ) -> None:
        self.code, self.made, self.machine = code, made, machine
        self.source, self.target, self.fill = source, target, fill

    def write(self) -> None:
        """The loop over pixels, shared by all cores."""
        made, code = self.made, self.code
        old, new = made.source, made.conv
        pixels = new.batch * new.height * old.width
        count = workers(pixels, new, self.machine)
        with (
            code.loop("worker", count, parallel=count > 1) as worker,
            share(code, worker, count, pixels) as place,
        ):
            line, pixel = code.bind(emit.div(place, old.width)), emit.mod(place, old.width)
            image, pixel = code.bind(emit.div(line, new.height)), code.bind(pixel)
            row = code.bind(emit.mod(line, new.height) - made.above)
            from_ = image * old.x_image + row * old.x_row + pixel * old.x_pixel
            to = code.bind(line * new.x_row + (made.left + pixel) * new.x_pixel)
            if made.above + made.below:
                inside = emit.tirx.And(
                    emit.tirx.GE(emit.index(row), emit.const(0)),
                    emit.tirx.LT(emit.index(row), emit.const(old.height)),
                )
                with code.when(inside):
                    self._pixel(code.bind(from_), to)
                with code.when(emit.tirx.Not(inside)):
                    self._fill(to, 1)
            else:
                self._pixel(code.bind(from_), to)
            self._beside(pixel, 0, to - made.left * new.x_pixel, made.left)
            self._beside(pixel, old.width - 1, to + new.x_pixel, made.right)

    def _beside(self, pixel: Index, edge: int, at: Index, count: int) -> None:
        """The columns beside the first or last pixel."""
        if count:
            with self.code.when(emit.tirx.EQ(emit.index(pixel), emit.const(edge))):
                self._fill(self.code.bind(at), count)

    def _fill(self, at: Index, pixels: int) -> None:
        with self.code.loop("fill", pixels * self.made.conv.x_pixel // WORDS) as n:
            self._one(at + n * WORDS, emit.number(self.fill, WORDS, "int32"), WORDS)

    def _pixel(self, from_: Index, to: Index) -> None:
        words = self.made.source.channels * self.made.source.groups
        whole = words // WORDS
        with self.code.loop("c", whole) as c:
            self._one(to + c * WORDS, self.source.at(from_ + c * WORDS, WORDS), WORDS)
        if words % WORDS:
            at = to + whole * WORDS
            self._one(at, emit.number(self.fill, WORDS, "int32"), WORDS)
            with self.code.loop("c", words % WORDS) as c:
                self._one(at + c, self.source.at(from_ + whole * WORDS + c), 1)

    def _one(self, at: Index, value: Value, lanes: int) -> None:
        self.code.store(self.target, at, value, lanes)


class TileWriter(Writer):
    """Writes the products, and what follows the sums."""

    def __init__(
        self, code: Code, made: Plan, machine: Machine, arrays: tuple[Array, ...], row: TileProduct
    ) -> None:
        super().__init__(code, made.conv, machine, arrays)
        self.made, self.row = made, row

    def tasks(self) -> None:
        """The parallel loop over workers, each with a share of blocks, rows and stretches."""
        conv, code, made = self.conv, self.code, self.made
        lines, count = conv.batch * conv.out_height, conv.groups * len(self.blocks)
        pairs = max(1, made.tiles // 2)
        chunks = min(pairs, 4 * self.machine.cores) if lines == 1 else 1
        total = count * lines * chunks
        cores = workers(total, conv, self.machine)
        with code.loop("worker", cores, parallel=cores > 1) as worker:
            self.on = Tiles(code, self.row, made.rows)
            self.room = code.scratch(made.rows * self.tile.vectors * WORDS, self.row.sums, "sums")
            self.on.begin()
            with share(code, worker, cores, total) as task:
                if geometry.blocks_outermost(conv, self.machine):
                    block, place = emit.div(task, lines * chunks), emit.mod(task, lines * chunks)
                else:
                    place, block = emit.div(task, count), emit.mod(task, count)
                line, chunk = emit.div(place, chunks), emit.mod(place, chunks)
                self._block(code.bind(block), code.bind(line), code.bind(chunk), [], chunks)
            self.on.end()

    def _runs(
        self, group: Index, within: Index, vectors: int, ragged: bool,
        line: Index, chunk: Index, runs: list[Segment], chunks: int,
    ) -> None:  # fmt: skip
        """One block of channels over a stretch of a row: pairs of tiles, then the odd one."""
        code, made = self.code, self.made
        spot = self.spot(group, within, vectors, ragged, line)
        pairs, odd = divmod(made.tiles, 2)
        first = code.bind(emit.div(chunk * pairs, chunks))
        after = code.bind(emit.div((chunk + 1) * pairs, chunks))
        with code.loop("pair", after - first, start=first) as pair:
            self._sums(spot, [self._column(2 * pair), self._column(2 * pair + 1)])
        if odd:
            with code.when(emit.tirx.EQ(emit.index(chunk), emit.const(chunks - 1))):
                self._sums(spot, [self._column(made.tiles - 1)])

    def _column(self, tile: Index) -> Index:
        """A tile's first pixel: of the last one, what leaves it whole."""
        rows = self.made.rows
        return self.code.bind(emit.least(tile * rows, self.conv.out_width - rows))

    def _sums(self, spot: Spot, columns: list[Index]) -> None:
        """The tiles of sums at these columns, and what follows them."""
        conv, code, on = self.conv, self.code, self.on
        for i in range(len(columns)):
            for j in range(spot.vectors):
                on.zero(2 * i + j)
        top = code.bind(spot.row * conv.stride[0] - conv.pad[0])
        base = code.bind(
            spot.image * conv.x_image + spot.group * conv.channels + top * conv.x_row
            - conv.pad[1] * conv.x_pixel
        )  # fmt: skip
        reach, wide = conv.stride[1] * conv.x_pixel, spot.vectors * WORDS
        low, high = self._kernel_rows(spot.row)
        starts = [code.bind(base + column * reach) for column in columns]
        with (
            code.loop("kr", high - low, start=low) as kr,
            code.loop("kc", conv.kernel[1]) as kc,
            code.loop("c", conv.channels // WORDS) as c,
        ):
            away = kr * (conv.dilation[0] * conv.x_row)
            away = code.bind(away + kc * (conv.dilation[1] * conv.x_pixel) + c * WORDS)
            taps = (kr * conv.kernel[1] + kc) * conv.channels
            right = code.bind(spot.weights + (taps + c * WORDS) * wide)
            for j in range(spot.vectors):
                on.load(RIGHT[j], self.w, right + j * WORDS, wide)
            for i, start in enumerate(starts):
                on.load(LEFT[i], self.x, start + away, reach)
                for j in range(spot.vectors):
                    on.multiply(2 * i + j, LEFT[i], RIGHT[j])
        for i, column in enumerate(columns):
            for j in range(spot.vectors):
                on.store(2 * i + j, self.room, j * WORDS, wide)
            begin = [self.first(spot, j) for j in range(spot.vectors)]
            run = Segment(0, self.made.rows, 1, ())
            self._store(spot, run, _Begun(self.room, begin), column)


class _Begun(Array):
    """Sums of tiles, with what each channel's begin with added."""

    def __init__(self, sums: Array, begin: list[Value]) -> None:
        super().__init__(sums.buffer, sums.dtype)
        self.begin = begin

    def number(self, i: int, lanes: int = 1, used: int | None = None) -> Value:
        """The sums of a vector of channels, as floats."""
        total = self.at(i, lanes) + self.begin[i // lanes % len(self.begin)]
        return emit.converted(total, self.dtype, "float32", lanes)


def share(code: Code, worker: Index, cores: int, tasks: int) -> Any:
    """The loop over a worker's tasks."""
    first = code.bind(emit.div(worker * tasks, cores))
    after = code.bind(emit.div((worker + 1) * tasks, cores))
    return code.loop("task", after - first, start=first)
