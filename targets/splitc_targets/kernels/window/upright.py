# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Depthwise convolution of bytes whose four products of a lane are four rows of the kernel.

As in bytes.py, but quadruples of the input stand upright: four rows of one column are zipped, and
meet every column of the kernel, where those that lie along a row meet one row of it. With two
rows of the result at once all four are in use under a kernel of three rows. Rows outside of the
map are the byte that stands for 0, like columns.

Weights are packed in units of eight channels: [kernel column][row of the result][channel] words
of four taps, then [channel] that sums start from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from splitc_targets.kernels.product.geometry import Segment, segments
from splitc_targets.kernels.window.bytes import COLUMNS, ByteWindows, ByteWriter
from splitc_targets.kernels.window.geometry import FOUR, LANES, Windows
from splitc_targets.kernels.window.windows import Bounds, Spot, arguments
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, From, Index, Value
from splitc_targets.loops.narrowing import MOVED
from splitc_targets.machine.core import MultiplyAdd
from splitc_targets.machine.machine import Machine

UNIT = 2 * LANES
"""Channels of a tile: their sums at eight results, two rows of four, take half of 32 registers."""


def rows_at_once(spec: Windows) -> int:
    """Rows of the result that quadruples serve; 0 where kernels have one row, or more than four."""
    rows, step, apart = spec.kernel[0], spec.stride[0], spec.dilation[0]
    if not 1 < rows <= FOUR:
        return 0
    return min((FOUR - rows) // step + 1, spec.out_height) if apart == 1 else 1


def folded(spec: ByteWindows) -> ByteWindows:
    """The operation with so many rows of the result as one: its kernel has all that they meet."""
    count = rows_at_once(spec)
    (rows, columns), (step, along) = spec.kernel, spec.stride
    return replace(
        spec, out_height=-(-spec.out_height // count), y_row=count * spec.y_row,
        kernel=(rows + (count - 1) * step, columns), stride=(count * step, along),
    )  # fmt: skip


def pack(
    weights: np.ndarray[Any, Any], start: np.ndarray[Any, Any], spec: ByteWindows
) -> np.ndarray[Any, Any]:
    """Weights, and what sums start from, in the order the kernel reads them: int32, flat.

    Arguments as of `bytes.pack`.
    """
    whole, first = weights[:, 0].astype(np.int64), MOVED * spec.near_sums
    rows, columns = spec.kernel
    taps = np.zeros((spec.channels, columns, rows_at_once(spec), FOUR), np.int8)
    for i in range(taps.shape[2]):
        at = i * spec.stride[0]
        taps[:, :, i, at : at + rows] = whole.transpose(0, 2, 1)
    words = taps.view(np.int32).reshape(spec.channels, -1)
    begin = start.astype(np.int64) + spec.offset * whole.sum((1, 2)) + first
    both = np.concatenate([words, begin[:, None]], 1).astype(np.int32)
    units = -(-spec.channels // UNIT)
    room = np.pad(both, ((0, units * UNIT - spec.channels), (0, 0)))
    return np.ascontiguousarray(room.reshape(units, UNIT, -1).transpose(0, 2, 1)).ravel()


def _words(spec: Windows) -> int:
    """Of a channel."""
    return spec.kernel[1] * rows_at_once(spec) + 1


def kernel(name: str, spec: ByteWindows, machine: Machine, row: MultiplyAdd) -> Any:
    """The kernel (x, packed weights, operands…, y); arguments as of `bytes.kernel`."""
    size = -(-spec.channels // UNIT) * UNIT * _words(spec)
    parameters = arguments(spec, [Argument("w", (size,), "int32")])

    def write(code: Code, *arrays: Array) -> None:
        _Upright(code, spec, machine, arrays, row).tasks()

    return emit.function(name, parameters, write)


class _Upright(ByteWriter):
    wide = UNIT

    def __init__(
        self, code: Code, spec: ByteWindows, machine: Machine, arrays: Sequence[Array],
        row: MultiplyAdd,
    ) -> None:  # fmt: skip
        super().__init__(code, spec, machine, arrays, row)
        self.at_once, self.words = rows_at_once(spec), _words(spec)
        self.spec = folded(spec)
        limit = max(1, 2 * COLUMNS // self.at_once)
        self.runs = segments(spec, -(-spec.out_width // -(-spec.out_width // limit)))
        self.zero = emit.number(-spec.offset, UNIT, row.reads)

    def straight(self) -> bool:
        """Always, as it is at the border: rows of the kernel are lanes."""
        return True

    def _tile(self, spot: Spot, run: Segment, column: Index, bounds: Bounds | None) -> None:
        """One tile: sums in registers, then the fused expression, then the store."""
        code, vectors = self.code, -(-spot.used // LANES)
        with code.scope():
            column = code.bind(column)
            sums = code.local(self.at_once * run.size * vectors * LANES, "int32")
            unit = code.bind(emit.div(spot.channel, UNIT) * (UNIT * self.words))
            for j in range(vectors):
                at = unit + (self.words - 1) * UNIT + j * LANES
                start = code.bind(self.w.at(at, LANES), "start")
                for cell in range(self.at_once * run.size):
                    code.store(sums, (cell * vectors + j) * LANES, start, LANES)
            starts = self._starts(spot, column, bounds)
            for place, met in self._met(run):
                self._column(spot, run, sums, unit, (place, met), starts, bounds)
            for i in range(self.at_once):
                row = code.bind(spot.row * self.at_once + i)
                here = Spot(spot.image, row, spot.channel, spot.used)
                mine = From(sums, i * run.size * vectors * LANES)
                if bounds is None or i == 0:
                    self._finish(here, run, mine, column)
                    continue
                with code.when(emit.tirx.LT(emit.index(row), emit.const(self.whole.out_height))):
                    self._finish(here, run, mine, column)

    def _starts(self, spot: Spot, column: Index, bounds: Bounds | None) -> list[Index]:
        """Where the rows of the quadruples lie; at the border those beyond are ones within."""
        spec, code = self.spec, self.code
        top = spot.row * spec.stride[0] - spec.pad[0]
        rest = code.bind(
            spot.image * spec.x_image + (column * spec.stride[1] - spec.pad[1]) * spec.x_pixel
            + spot.channel
        )  # fmt: skip
        rows = [top + k * spec.dilation[0] for k in range(spec.kernel[0])]
        if bounds is not None:
            rows = [emit.least(emit.most(0, row), spec.height - 1) for row in rows]
        return [code.bind(rest + row * spec.x_row) for row in rows]

    def _met(self, run: Segment) -> list[tuple[int, list[tuple[int, int, bool]]]]:
        """Input columns from a tile's left end: results and kernel columns there, and if inside."""
        spec = self.spec
        found: dict[int, list[tuple[int, int, bool]]] = {}
        for kc, (first, last) in enumerate(run.inside):
            for c in range(run.size):
                place = c * spec.stride[1] + kc * spec.dilation[1]
                found.setdefault(place, []).append((c, kc, first <= c < last))
        return sorted(found.items())

    def _column(
        self, spot: Spot, run: Segment, sums: Array, unit: Index,
        column: tuple[int, list[tuple[int, int, bool]]], starts: list[Index],
        bounds: Bounds | None,
    ) -> None:  # fmt: skip
        """What a column of the input adds to the sums."""
        code, vectors = self.code, -(-spot.used // LANES)
        place, met = column
        rows = [self.zero] * FOUR
        if met[0][2]:
            rows = self._rows(spot, place, starts, bounds)
        upper, lower = (self._zipped(rows[k], rows[k + 1], 0, "int16x8") for k in (0, 2))
        for j in range(vectors):
            four = self._zipped(upper, lower, j * LANES, "int8x16")
            for c, kc, _ in met:
                for i in range(self.at_once):
                    word = unit + (kc * self.at_once + i) * UNIT + j * LANES
                    cell = ((i * run.size + c) * vectors + j) * LANES
                    total = emit.multiply_add(
                        self.row, four, self.w.at(word, LANES), sums.at(cell, LANES)
                    )
                    code.store(sums, cell, total, LANES)

    def _rows(
        self, spot: Spot, place: int, starts: list[Index], bounds: Bounds | None
    ) -> list[Value]:
        """Four rows' bytes of a column; those that no tap meets are any."""
        code, found = self.code, list[Value]()
        for k, start in enumerate(starts):
            value = self.load(start + place * self.spec.x_pixel, spot.used)
            if bounds is not None:
                low, high = (emit.index(bound) for bound in bounds)
                here = emit.tirx.all(
                    emit.tirx.GE(emit.const(k), low), emit.tirx.LT(emit.const(k), high)
                )
                value = code.bind(emit.tirx.Select(here, value, self.zero), "row")
            found.append(value)
        return found + [found[-1]] * (FOUR - len(found))

    def _zipped(self, a: Value, b: Value, first: int, dtype: str) -> Value:
        """Lanes of two vectors of a unit in turn, from one on, as elements of another type."""
        count = UNIT if dtype == "int16x8" else LANES
        order = [k for lane in range(first, first + count) for k in (lane, UNIT + lane)]
        zipped = emit.tirx.reinterpret(dtype, emit.shuffle([a, b], order))
        return self.code.bind(zipped, "zipped")
