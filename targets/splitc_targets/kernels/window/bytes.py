# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Depthwise convolution of bytes: windows (windows.py) by an instruction that adds four products.

The instruction's lanes are channels, and the four products of a lane are four columns of the
kernel. So four input columns of sixteen channels are zipped until each channel's four bytes lie
together, and meet four of the kernel's columns, those that no tap is at being 0. A quadruple of
columns serves every result whose window it covers. A tensor of bytes stands for numbers by an
offset, as in product/dot.py: what it adds is in what sums start from, and columns outside of the
map are the byte that stands for 0. Rows outside take their part off again.

Weights are packed in units of sixteen channels: [kernel row][pattern][channel] words of four taps,
then [channel] that sums start from, then [kernel row][channel] of what a row outside adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from splitc_targets.kernels.product.geometry import Segment, segments
from splitc_targets.kernels.window.geometry import FOUR, LANES, UNIT, Windows
from splitc_targets.kernels.window.windows import Bounds, Spot, Writer, arguments
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value
from splitc_targets.loops.epilogue import Epilogue
from splitc_targets.loops.narrowing import MOVED, MovedSums
from splitc_targets.machine.core import MultiplyAdd
from splitc_targets.machine.machine import Machine

COLUMNS = 4
"""Results of a tile at most: their sums take half of 32 registers."""

Pattern = tuple[int | None, ...]
"""Which kernel column meets each of four input columns."""


@dataclass(frozen=True)
class ByteWindows(Windows):
    """A depthwise convolution of bytes; operand 0 is the sum.

    Args:
        offset: Number less byte, of the input: the byte -offset stands for 0.
        near_sums, near_ends: As of a convolution (`geometry.Conv`).
    """

    offset: int = 0
    near_sums: bool = False
    near_ends: bool = False


@dataclass(frozen=True)
class Meeting:
    """A result of a tile, and the quadruple of input columns that it takes taps from.

    Args:
        result: Its column in the tile.
        first: The quadruple's first input column, from the tile's left end.
        pattern: The kernel columns that the four meet.
    """

    result: int
    first: int
    pattern: Pattern


def meetings(spec: Windows, run: Segment) -> list[Meeting]:
    """The fewest quadruples, as found from the left: one that covers a window, or several."""
    step, apart = spec.stride[1], spec.dilation[1]
    found: list[Meeting] = []
    open_: list[int] = []

    def pattern(result: int, first: int, wanted: set[int]) -> Pattern:
        taps = [(first + k * apart - result * step, apart) for k in range(FOUR)]
        columns = [far // each if far % each == 0 else -1 for far, each in taps]
        return tuple(kc if kc in wanted else None for kc in columns)

    for result in range(run.size):
        wanted = set(range(spec.kernel[1]))
        whole = [f for f in open_ if set(pattern(result, f, wanted)) >= wanted]
        for first in whole[:1] or (open_ if len(wanted) > FOUR else ()):
            met = pattern(result, first, wanted)
            if any(kc is not None for kc in met):
                found.append(Meeting(result, first, met))
                wanted -= set(met)
        while wanted:
            first = result * step + min(wanted) * apart
            met = pattern(result, first, wanted)
            open_.append(first)
            found.append(Meeting(result, first, met))
            wanted -= set(met)
    return found


def runs(spec: Windows) -> list[Segment]:
    """The tiles of a row of the result."""
    columns = -(-spec.out_width // -(-spec.out_width // COLUMNS))
    return segments(spec, columns)


def patterns(spec: Windows) -> list[Pattern]:
    """The patterns of a kernel row that the tiles of an operation meet, each once."""
    met = [meeting.pattern for run in runs(spec) for meeting in meetings(spec, run)]
    return list(dict.fromkeys(met))


def pack(
    weights: np.ndarray[Any, Any], start: np.ndarray[Any, Any], spec: ByteWindows
) -> np.ndarray[Any, Any]:
    """Weights, and what sums start from, in the order the kernel reads them: int32, flat.

    Args:
        weights: Whole numbers within int8 [channels][1][rows][columns].
        start: Whole numbers that are added to the sums [channels].
        spec: The operation.
    """
    whole, first = weights[:, 0].astype(np.int64), MOVED * spec.near_sums
    rows, units = spec.kernel[0], -(-spec.channels // UNIT)
    none = np.zeros((*whole.shape[:2], 1), np.int64)
    columns = np.concatenate([whole, none], 2).astype(np.int8)  # the last stands for no tap
    words = [
        np.ascontiguousarray(columns[:, :, [-1 if kc is None else kc for kc in pattern]])
        .view(np.int32)[..., 0]
        for pattern in patterns(spec)
    ]  # fmt: skip
    each = [
        np.stack(words, 2).reshape(spec.channels, -1),
        (start.astype(np.int64) + spec.offset * whole.sum((1, 2)) + first)[:, None],
        -spec.offset * whole.sum(2),
    ]
    both = np.concatenate(each, 1).astype(np.int32)
    assert both.shape[1] == _words(spec, rows)
    room = np.pad(both, ((0, units * UNIT - spec.channels), (0, 0)))
    return np.ascontiguousarray(room.reshape(units, UNIT, -1).transpose(0, 2, 1)).ravel()


def _words(spec: Windows, rows: int) -> int:
    """Of a channel."""
    return rows * len(patterns(spec)) + 1 + rows


def kernel(name: str, spec: ByteWindows, machine: Machine, row: MultiplyAdd) -> Any:
    """The kernel (x, packed weights, operands…, y) as a function of TVM's tensor IR.

    Args:
        name: The function's.
        spec: The operation.
        machine: As the instruction's tiles see it.
        row: The instruction, of four lanes.
    """
    size = -(-spec.channels // UNIT) * UNIT * _words(spec, spec.kernel[0])
    parameters = arguments(spec, [Argument("w", (size,), "int32")])

    def write(code: Code, *arrays: Array) -> None:
        ByteWriter(code, spec, machine, arrays, row).tasks()

    return emit.function(name, parameters, write)


class ByteWriter(Writer):
    """Writes the loops; how quadruples lie is another's to say."""

    wide = UNIT

    def __init__(
        self, code: Code, spec: ByteWindows, machine: Machine, arrays: Sequence[Array],
        row: MultiplyAdd,
    ) -> None:  # fmt: skip
        super().__init__(code, spec, machine, arrays)
        self.w, self.row, self.runs = arrays[1], row, runs(spec)
        given = code, spec, machine.lanes, arrays[2:-1], arrays[-1]
        self.epilogue = Epilogue(*given, near=spec.near_ends)
        self.whole, self.moved = spec, spec.near_sums
        self.words = _words(spec, spec.kernel[0])
        self.patterns = {pattern: k for k, pattern in enumerate(patterns(spec))}
        self.zero = emit.number(-spec.offset, UNIT, row.reads)

    def _tile(self, spot: Spot, run: Segment, column: Index, bounds: Bounds | None) -> None:
        """One tile: sums in registers, then the fused expression, then the store."""
        spec, code, rows = self.spec, self.code, self.spec.kernel[0]
        vectors = -(-spot.used // LANES)
        with code.scope():
            column = code.bind(column)
            sums = code.local(run.size * vectors * LANES, "int32")
            unit = code.bind(emit.div(spot.channel, UNIT) * (UNIT * self.words))
            rest = unit + rows * len(self.patterns) * UNIT
            for j in range(vectors):
                start = code.bind(self.w.at(rest + j * LANES, LANES), "start")
                for i in range(run.size):
                    code.store(sums, (i * vectors + j) * LANES, start, LANES)
            at = code.bind(
                spot.image * spec.x_image
                + (spot.row * spec.stride[0] - spec.pad[0]) * spec.x_row
                + (column * spec.stride[1] - spec.pad[1]) * spec.x_pixel
                + spot.channel
            )
            for kr in range(rows) if bounds is None else ():
                self._line(spot, run, sums, at + kr * spec.dilation[0] * spec.x_row, (unit, kr))
            if bounds is not None:
                low, high = bounds
                with code.loop("kr", high - low, start=low) as kr:
                    line = code.bind(at + kr * (spec.dilation[0] * spec.x_row))
                    self._line(spot, run, sums, line, (unit, kr))
                with code.loop("above", low) as kr:
                    self._outside(run.size, vectors, sums, rest + (kr + 1) * UNIT)
                with code.loop("below", rows - high, start=high) as kr:
                    self._outside(run.size, vectors, sums, rest + (kr + 1) * UNIT)
            self._finish(spot, run, sums, column)

    def _outside(self, size: int, vectors: int, sums: Array, at: Index) -> None:
        """What a row outside of the map takes off the sums."""
        code, at = self.code, self.code.bind(at)
        for j in range(vectors):
            value = code.bind(self.w.at(at + j * LANES, LANES), "outside")
            for i in range(size):
                cell = (i * vectors + j) * LANES
                code.store(sums, cell, sums.at(cell, LANES) + value, LANES)

    def _line(
        self, spot: Spot, run: Segment, sums: Array, at: Index, kernel_row: tuple[Index, Index]
    ) -> None:
        """A kernel row over a tile: what lies under it is zipped once, and met by its taps."""
        code, vectors = self.code, -(-spot.used // LANES)
        unit, row = kernel_row
        taps = code.bind(unit + row * (len(self.patterns) * UNIT))
        met = meetings(self.spec, run)
        columns = _Columns(self, spot, run, at, met)
        for first in dict.fromkeys(meeting.first for meeting in met):
            here = [meeting for meeting in met if meeting.first == first]
            for j in range(vectors):
                four = columns.four(first, j)
                for meeting in here:
                    place = taps + self.patterns[meeting.pattern] * UNIT + j * LANES
                    weights = self.w.at(place, LANES)
                    cell = (meeting.result * vectors + j) * LANES
                    total = emit.multiply_add(self.row, four, weights, sums.at(cell, LANES))
                    code.store(sums, cell, total, LANES)

    def load(self, at: Index, used: int) -> Value:
        """The channels of a unit at a pixel; beyond those that are used, anything."""
        if used == self.wide:
            return self.code.bind(self.x.at(at, used), "a")
        pieces: list[Value] = []
        first = 0
        while first < used:
            count = 1 << ((used - first).bit_length() - 1)
            piece = self.code.bind(self.x.at(at + first, count), "a")
            pieces.append(piece)
            first += count
        return self.code.bind(emit.shuffle(pieces * -(-self.wide // used), range(self.wide)), "a")

    def _finish(self, spot: Spot, run: Segment, sums: Array, column: Index) -> None:
        """The end of every result of a row of the tile."""
        spec, vectors = self.whole, -(-spot.used // LANES)

        def where(steps: tuple[int, int, int]) -> Index:
            image, row, pixel = steps
            return spot.image * image + spot.row * row + column * pixel + spot.channel

        y = self.code.bind(where((spec.y_image, spec.y_row, spec.y_pixel)))
        places = self.epilogue.places(where, spec.out_height, spec.out_width)
        sums = MovedSums(sums) if self.moved else sums
        for ends, j, count in self.epilogue.shares(vectors, spot.used):
            first, used = j * LANES, min(count * LANES, spot.used - j * LANES)
            with self.code.scope():
                ends.store_row(
                    run.size,
                    lambda i, first=first: y + i * spec.y_pixel + first,
                    lambda i, j=j, n=count: sums.numbers((i * vectors + j) * LANES, LANES, n),
                    ends.constants(spot.channel + first, used),
                    lambda n, i, first=first: places[n] + i * spec.operands[n].pixel + first,
                    used,
                )  # fmt: skip


class _Columns:
    """The input's columns under a tile's kernel row, loaded and zipped as they are asked for."""

    def __init__(
        self, writer: ByteWriter, spot: Spot, run: Segment, at: Index, meetings: list[Meeting]
    ) -> None:
        self.writer, self.spot, self.at = writer, spot, at
        spec = writer.spec
        self.apart = spec.dilation[1]
        met = {
            meeting.first + k * self.apart: (meeting.result, kc)
            for meeting in meetings for k, kc in enumerate(meeting.pattern) if kc is not None
        }  # fmt: skip
        self.inside = {
            column: run.inside[kc][0] <= result < run.inside[kc][1]
            for column, (result, kc) in met.items()
        }
        self.known: dict[Any, Value] = {}

    def _column(self, column: int) -> Value:
        """The bytes of a column; where no tap meets it, those of some other."""
        if column not in self.inside:
            column = next(iter(self.inside))
        if column not in self.known:
            writer, spec = self.writer, self.writer.spec
            self.known[column] = (
                writer.load(self.at + column * spec.x_pixel, self.spot.used)
                if self.inside[column] else writer.zero
            )  # fmt: skip
        return self.known[column]

    def _two(self, column: int, half: int) -> Value:
        """Two columns, byte by byte, of the lower or the upper eight channels."""
        key = column, half
        if key not in self.known:
            both = self._column(column), self._column(column + self.apart)
            order = [k for lane in range(8) for k in (8 * half + lane, UNIT + 8 * half + lane)]
            zipped = emit.tirx.reinterpret("int16x8", emit.shuffle(both, order))
            self.known[key] = self.writer.code.bind(zipped, "two")
        return self.known[key]

    def four(self, first: int, j: int) -> Value:
        """Four columns, channel by channel, of the unit's channels from 4 j on."""
        key = first, j, FOUR
        if key not in self.known:
            both = self._two(first, j // 2), self._two(first + 2 * self.apart, j // 2)
            low = 4 * (j % 2)
            order = [k for lane in range(4) for k in (low + lane, 8 + low + lane)]
            self.known[key] = self.writer.code.bind(emit.shuffle(both, order), "four")
        return self.known[key]
