# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Windows that slide over channels-last maps, each channel for itself: the loops of a rule.

A vector holds neighbouring channels of one pixel. A tile is a few result rows by a few columns
by one vector; each input vector under it is loaded once and used for every kernel tap that meets
it. Rows whose windows lie wholly in the map are straight-line code; at the upper and lower
border the kernel's rows are a loop whose bounds skip what lies outside. Columns at the border
are code of their own (no padded copy).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from splitc_targets.kernels.product.geometry import Segment, segments
from splitc_targets.kernels.window.geometry import Windows, share, tile_columns
from splitc_targets.loops import emit, epilogue
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value
from splitc_targets.loops.epilogue import Epilogue
from splitc_targets.loops.fused import Operand
from splitc_targets.machine.machine import Machine

Bounds = tuple[Index, Index]
"""Kernel rows (from, to) that a row of the result meets."""


@dataclass(frozen=True)
class Spot:
    """Where a tile lies: its image, row of the result, first channel and how many."""

    image: Index
    row: Index
    channel: Index
    used: int


class Writer:
    """Writes the loops of one operation; what happens at a tap is the rule's to say."""

    initial = 0.0
    """What results start from."""
    wide = 0
    """Channels of a tile; 0 for a vector of them."""

    def __init__(
        self, code: Code, spec: Windows, machine: Machine, arrays: Sequence[Array]
    ) -> None:
        self.code, self.spec, self.machine = code, spec, machine
        self.arrays = arrays
        self.x, self.lanes = arrays[0], machine.lanes
        extra = arrays[len(arrays) - 1 - len(spec.operands) : -1]
        self.epilogue = Epilogue(code, spec, machine.lanes, extra, arrays[-1])
        self.wide = self.wide or machine.lanes
        self.vector = emit.typed("float32", machine.lanes)
        self.runs = segments(spec, tile_columns(spec.out_width, spec.stride[1], machine))

    def prepare(self, bounds: Bounds | None, row: Index) -> None:
        """Values that stay over a row of tiles; `bounds` where kernel rows are left out."""

    def first(self, spot: Spot) -> Value:
        """What results start from."""
        return emit.number(self.initial, self.lanes)

    def tap(self, spot: Spot, row: Index, column: int) -> Value:
        """What belongs to one place of the kernel."""
        return None

    def meet(self, total: Value, value: Value, tap: Value) -> Value:
        """The result so far and the input's value at a tap."""
        raise NotImplementedError

    def finish(self, total: Value, run: Segment, i: int) -> Value:
        """The window's result, from what its taps gave."""
        return total

    def tasks(self) -> None:
        """The parallel loop over images, bands of rows and blocks of channels."""
        spec, code = self.spec, self.code
        whole = spec.channels // self.wide
        vectors = -(-spec.channels // self.wide)
        block, band = share(spec, self.machine, self.wide)
        blocks, bands = -(-vectors // block), -(-spec.out_height // band)
        total = spec.batch * bands * blocks
        parallel = total > 1 and self.machine.shares(spec.flops)
        with code.loop("task", total, parallel=parallel) as task:
            place, part = emit.div(task, blocks), code.bind(emit.mod(task, blocks))
            image = code.bind(emit.div(place, bands))
            first = code.bind(emit.mod(place, bands) * band)
            here = band
            if spec.out_height % band:
                here = code.bind(emit.least(band, spec.out_height - first))
            low = code.bind(part * block)

            def over(channel: Index, used: int) -> None:
                with code.loop("row", here, start=first) as row:
                    self._line_of(image, emit.index(row), channel, used)

            count = block if whole == blocks * block else code.bind(emit.least(block, whole - low))
            if whole:
                with code.loop("v", count, start=low) as v:
                    over(code.bind(v * self.wide), self.wide)
            if spec.channels % self.wide:
                last = emit.tirx.EQ(emit.index(part), emit.const(blocks - 1))
                with code.when(last):
                    over(whole * self.wide, spec.channels % self.wide)

    def _inside(self) -> tuple[int, int]:
        """Rows of the result (from, to) whose windows lie in the map, top to bottom."""
        spec = self.spec
        (step, _), (top, _) = spec.stride, spec.pad
        reach = (spec.kernel[0] - 1) * spec.dilation[0]
        first = min(-(-top // step), spec.out_height)
        last = min(spec.out_height, (spec.height - 1 + top - reach) // step + 1)
        return (first, max(first, last)) if self.straight() else (first, first)

    def straight(self) -> bool:
        """Whether kernels are written out where their windows lie wholly in the map."""
        most = _STRAIGHT_IN_REGISTERS if self.machine.lane_fma else _STRAIGHT
        return self.spec.kernel[0] * self.spec.kernel[1] <= most

    def _line_of(self, image: Index, row: Index, channel: Index, used: int) -> None:
        """One row over a vector of channels: straight-line, or with bounds at the border."""
        code = self.code
        first, last = self._inside()
        spot = Spot(image, row, channel, used)
        if last - first == self.spec.out_height:
            self._row(spot, None)
            return
        if first == last:
            self._row(spot, self._kernel_rows(row))
            return
        low, high = emit.const(first), emit.const(last)
        within = emit.tirx.all(emit.tirx.GE(row, low), emit.tirx.LT(row, high))
        with code.when(within):
            self._row(spot, None)
        with code.when(emit.tirx.Not(within)):
            self._row(spot, self._kernel_rows(row))

    def _row(self, spot: Spot, bounds: Bounds | None) -> None:
        """The tiles of a row."""
        self.prepare(bounds, spot.row)
        for run in self.runs:
            with self.code.loop("tile", run.count) as tile:
                self._tile(spot, run, run.start + tile * run.size, bounds)

    def _kernel_rows(self, row: Index) -> Bounds:
        """Kernel rows (from, to) whose input rows lie in the map."""
        spec, code = self.spec, self.code
        rows, d, s = spec.kernel[0], spec.dilation[0], spec.stride[0]
        # Dividing numbers that are never negative: `rows` dilations are added and taken off.
        below = emit.index(spec.pad[0] - row * s + d - 1 + d * rows)
        low = emit.least(emit.most(0, emit.div(below, d) - rows), rows)
        beyond = spec.height + spec.pad[0] - row * s + d - 1 + d * rows
        high = emit.least(rows, emit.div(beyond, d) - rows)
        low = code.bind(low)
        return low, code.bind(emit.most(low, high))

    def _tile(self, spot: Spot, run: Segment, column: Index, bounds: Bounds | None) -> None:
        """One tile: results in registers, then the fused expression, then the store."""
        spec, code, lanes = self.spec, self.code, self.lanes
        with code.scope():
            column = code.bind(column)
            totals = code.local(run.size * lanes)
            start = self.first(spot)
            for cell in range(run.size):
                code.store(totals, cell * lanes, start, lanes)
            at = code.bind(
                spot.image * spec.x_image
                + (spot.row * spec.stride[0] - spec.pad[0]) * spec.x_row
                + (column * spec.stride[1] - spec.pad[1]) * spec.x_pixel
                + spot.channel
            )
            for kr in range(spec.kernel[0]) if bounds is None else ():
                line = at + kr * spec.dilation[0] * spec.x_row
                self._line(spot, run, totals, line, kr)
            if bounds is not None:
                with code.loop("kr", bounds[1] - bounds[0], start=bounds[0]) as kr:
                    line = code.bind(at + kr * (spec.dilation[0] * spec.x_row))
                    self._line(spot, run, totals, line, kr)
            self._store(spot, run, totals, column)

    def _line(self, spot: Spot, run: Segment, totals: Array, at: Index, kernel_row: Index) -> None:
        """A kernel row over a tile: each input vector is loaded once and met by its taps."""
        spec, code, lanes = self.spec, self.code, self.lanes
        taps: dict[int, Value] = {}
        for place, meetings in self._places(run):
            value = code.bind(self.x.number(at + place * spec.x_pixel, lanes, spot.used), "a")
            for i, kc in meetings:
                if kc not in taps:
                    taps[kc] = self.tap(spot, kernel_row, kc)
                met = self.meet(totals.at(i * lanes, lanes), value, taps[kc])
                code.store(totals, i * lanes, met, lanes)

    def _places(self, run: Segment) -> list[tuple[int, list[tuple[int, int]]]]:
        """Input columns under a tile, from its left end, with (tile column, kernel column)."""
        spec = self.spec
        found: dict[int, list[tuple[int, int]]] = {}
        for kc, (first, last) in enumerate(run.inside):
            for i in range(first, last):
                found.setdefault(i * spec.stride[1] + kc * spec.dilation[1], []).append((i, kc))
        return sorted(found.items())

    def _store(self, spot: Spot, run: Segment, totals: Array, column: Index) -> None:
        """The end of every result of the tile."""
        spec, lanes = self.spec, self.lanes

        def where(steps: tuple[int, int, int]) -> Index:
            image, row, pixel = steps
            return spot.image * image + spot.row * row + column * pixel + spot.channel

        y = self.code.bind(where((spec.y_image, spec.y_row, spec.y_pixel)))
        places = self.epilogue.places(where, spec.out_height, spec.out_width)
        self.epilogue.store_row(
            run.size,
            lambda i: y + i * spec.y_pixel,
            lambda i: self.finish(totals.at(i * lanes, lanes), run, i),
            self.epilogue.constants(spot.channel, spot.used),
            lambda n, i: places[n] + i * spec.operands[n].pixel,
            spot.used,
        )


def arguments(spec: Windows, weights: Sequence[Argument] = ()) -> list[Argument]:
    """The kernel's parameters: x, what the rule adds, operands, y."""
    x = Operand("tensor", spec.x_pixel, spec.x_row, spec.x_image)
    y = Operand("tensor", spec.y_pixel, spec.y_row, spec.y_image)
    result = spec.batch, spec.out_height, spec.out_width, spec.channels
    return [
        Argument("x", (x.size(spec.batch, spec.height, spec.width, spec.channels),), spec.x_dtype),
        *weights,
        *epilogue.parameters(spec, *result),
        Argument("y", (y.size(*result),), spec.y_dtype),
    ]


_STRAIGHT = 49
"""Taps up to which a kernel is written out where its windows lie wholly in the map."""

_STRAIGHT_IN_REGISTERS = 9
"""The same where additions cannot read memory: LLVM would keep every tap in a register, and spill.

A loop over the kernel's rows keeps a row of taps and the sums.
"""
