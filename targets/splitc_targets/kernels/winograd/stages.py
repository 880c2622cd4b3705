# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""The first and last stage of Winograd's convolution, for one tile of the map."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from dataclasses import dataclass

from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.kernels.winograd.form import Form
from splitc_targets.kernels.winograd.plan import PART, Plan
from splitc_targets.kernels.winograd.transforms import (
    Arithmetic,
    input_groups,
    output_groups,
    transform_input,
    transform_output,
)
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Array, Code, Index, Value
from splitc_targets.loops.epilogue import Epilogue
from splitc_targets.machine.machine import Machine


@dataclass(frozen=True)
class Place:
    """A tile's image, and its first row and column of results."""

    image: Index
    row: Index
    column: Index


class Stages:
    """Writes a tile's input transform, and its results."""

    def __init__(
        self, code: Code, conv: Conv, machine: Machine, plan: Plan, arrays: tuple[Array, ...]
    ) -> None:
        self.code, self.conv, self.machine = code, conv, machine
        self.plan, self.work = plan, plan.work
        self.form = Form(plan.work.m, conv.stride[0])
        self.x, self.u, *rest, self.space, y = arrays
        *extra, self.v = rest if self.work.pair > 1 else (*rest, self.space)
        self.epilogue = Epilogue(code, conv, machine.lanes, extra, y)
        self.do = Arithmetic(code, machine.lanes, machine.fma)
        self.vector = emit.typed("float32", machine.lanes)

    def border(self, worker: Index) -> Index:
        """A worker's scratch for tiles at the border."""
        plan, work = self.plan, self.work
        return self.code.bind(
            plan.p_start + plan.workers * (work.positions * plan.p_step) + worker * work.border
        )

    def place(self, tile: Index) -> Place:
        """Where a tile lies, counted over all images."""
        work, bind = self.work, self.code.bind
        each = work.down * work.across
        within = emit.mod(tile, each)
        return Place(
            bind(emit.div(tile, each)),
            bind(emit.div(within, work.across) * work.m),
            bind(emit.mod(within, work.across) * work.m),
        )

    def last(self, block: Index) -> AbstractContextManager[None]:
        """Statements for the last block of output channels."""
        edge = emit.const(self.plan.blocks - 1)
        return self.code.when(emit.tirx.EQ(emit.index(block), edge))

    # Transformed input.

    def parts(self) -> int:
        """Groups of input vectors that a task transforms together."""
        return -(-self.work.depth // (PART * self.machine.lanes))

    def input(self, tile: Index, v: Index, part: Index, border: Index) -> None:
        """One tile's transform over one part of its channels; `v` is the tile's first element."""
        conv, code, lanes = self.conv, self.code, self.machine.lanes
        n, stride = self.form.n, self.form.stride
        place = self.place(tile)
        top = code.bind(place.row * stride - conv.pad[0])
        left = code.bind(place.column * stride - conv.pad[1])
        channel = code.bind(part * (PART * lanes))
        at = code.bind(
            place.image * conv.x_image + top * conv.x_row + left * conv.x_pixel + channel
        )
        whole = conv.channels // lanes
        here = code.bind(emit.most(0, emit.least(PART, whole - part * PART)))
        v = code.bind(v + channel)
        inside = _all(
            emit.tirx.GE(emit.index(top), emit.const(0)),
            emit.tirx.GE(emit.index(left), emit.const(0)),
            emit.tirx.LE(emit.index(top + n), emit.const(conv.height)),
            emit.tirx.LE(emit.index(left + n), emit.const(conv.width)),
        )
        with code.when(inside):
            self._transform(self.x, at, conv.x_row, conv.x_pixel, v, here)
        with code.when(emit.tirx.Not(inside)):
            self._gathered(border, at, top, left, here, None, v)
        if conv.channels % lanes:
            with code.when(emit.tirx.EQ(emit.index(part), emit.const(self.parts() - 1))):
                skip = here * lanes
                self._gathered(border, at + skip, top, left, 1, conv.channels % lanes, v + skip)

    def _gathered(
        self, border: Index, at: Index, top: Index, left: Index, vectors: Index,
        used: int | None, v: Index,
    ) -> None:  # fmt: skip
        """The transform of a tile at the border, or of the last channels, from a padded copy."""
        conv, code, lanes = self.conv, self.code, self.machine.lanes
        n = self.form.n
        pixel = lanes * (PART if used is None else 1)
        with code.loop("z", n * n) as z, code.loop("c", vectors) as c:
            code.store(self.space, border + z * pixel + c * lanes, emit.number(0.0, lanes), lanes)
        rows = code.bind(emit.most(0, -top)), code.bind(emit.least(n, conv.height - top))
        columns = code.bind(emit.most(0, -left)), code.bind(emit.least(n, conv.width - left))
        with (
            code.loop("r", emit.most(0, rows[1] - rows[0]), start=rows[0]) as r,
            code.loop("q", emit.most(0, columns[1] - columns[0]), start=columns[0]) as q,
            code.loop("c", vectors) as c,
        ):
            from_ = at + r * conv.x_row + q * conv.x_pixel + c * lanes
            value = self.x.number(from_, lanes, used)
            code.store(self.space, border + (r * n + q) * pixel + c * lanes, value, lanes)
        self._transform(self.space, border, n * pixel, pixel, v, vectors)

    def _transform(
        self, source: Array, at: Index, row: int, column: int, v: Index, vectors: Index
    ) -> None:
        """B^T d B of some vectors of channels.

        A loop for each group of rows, as together they would not fit the registers.
        """
        form, code, lanes = self.form, self.code, self.machine.lanes
        for group in input_groups(form):
            with code.loop("c", vectors) as c:
                from_, to = code.bind(at + c * lanes), code.bind(v + c * lanes)
                transform_input(
                    self.do, form, group,
                    lambda i, j, from_=from_: code.bind(
                        source.number(from_ + i * row + j * column, lanes), "d"
                    ),
                    lambda i, j, value, to=to: code.store(
                        self.v, to + (i * form.n + j) * self.plan.v_step,
                        emit.converted(value, "float32", self.v.dtype, lanes), lanes,
                    ),
                )  # fmt: skip

    # Results.

    def output(self, place: Place, p: Index, block: Index, border: Index) -> None:
        """One tile's results in one block of channels; `p` is its first product."""
        conv, plan, code, lanes = self.conv, self.plan, self.code, self.machine.lanes
        m, wide = self.work.m, plan.width // lanes
        whole = code.bind(emit.least(wide, conv.out_channels // lanes - block * wide))
        down = code.bind(emit.least(m, conv.out_height - place.row))
        across = code.bind(emit.least(m, conv.out_width - place.column))
        full = _all(
            emit.tirx.EQ(emit.index(down), emit.const(m)),
            emit.tirx.EQ(emit.index(across), emit.const(m)),
        )
        channel = code.bind(block * plan.width)
        clipped = down, across, border
        stores = [(full, None), (emit.tirx.Not(full), clipped)]
        for condition, clip in stores:
            with code.when(condition):
                for group in output_groups(self.form, self.machine.registers):
                    with code.loop("c", whole) as c:
                        self._vector(place, p + c * lanes, channel + c * lanes, group, clip, None)
        rest = conv.out_channels % lanes
        if rest:
            with self.last(block):
                skip = whole * lanes
                for group in output_groups(self.form, self.machine.registers):
                    self._vector(place, p + skip, channel + skip, group, clipped, rest)

    def _vector(
        self, place: Place, p: Index, channel: Index, group: tuple[int, ...],
        clip: tuple[Index, Index, Index] | None, used: int | None,
    ) -> None:  # fmt: skip
        """A^T P A of one vector of channels, through the expression; clipped at the border."""
        code, lanes, m, n = self.code, self.machine.lanes, self.work.m, self.form.n
        p, channel = code.bind(p), code.bind(channel)
        fixed = self.epilogue.constants(channel, used)

        def write(i: Index, j: Index, value: Value) -> None:
            if clip is None:
                self._store(place, i, j, channel, value, fixed, used)
            else:
                code.store(self.space, clip[2] + (i * m + j) * lanes, value, lanes)

        step = self.plan.p_step
        transform_output(
            self.do, self.form, group,
            lambda i, j: code.bind(self.space.at(p + (i * n + j) * step, lanes), "p"),
            write,
        )  # fmt: skip
        if clip is None:
            return
        for i in group:
            with (
                code.when(emit.tirx.LT(emit.const(i), emit.index(clip[0]))),
                code.loop("j", clip[1]) as j,
            ):
                value = code.bind(self.space.at(clip[2] + (i * m + j) * lanes, lanes))
                self._store(place, i, j, channel, value, fixed, used)

    def _store(
        self, place: Place, i: Index, j: Index, channel: Index, value: Value,
        fixed: dict[int, Value], used: int | None,
    ) -> None:  # fmt: skip
        """The end of one pixel's vector of channels."""
        conv, row, column = self.conv, place.row + i, place.column + j

        def where(steps: tuple[int, int, int]) -> Index:
            return place.image * steps[0] + row * steps[1] + column * steps[2] + channel

        def beside(number: int) -> Index:
            return where(conv.operands[number].steps(conv.out_height, conv.out_width))

        out = where((conv.y_image, conv.y_row, conv.y_pixel))
        self.epilogue.store(out, value, fixed, beside, used)


def _all(*conditions: Value) -> Value:
    return functools.reduce(emit.tirx.And, conditions)
