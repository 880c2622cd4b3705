# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Winograd's convolution, F(2x2, 3x3) and F(4x4, 3x3), over channels-last maps.

Three stages over chunks of T tiles, n = m + 2 rows and columns each::

    v[n n][T][channels]      = B^T d B             vectors of input channels
    p[n n][T][block]         = v x u               n n matrix products, registers as in conv
    y                        = f(A^T p A)          vectors of output channels, expression fused

u, packed at compile time, is [block of out channels][n n][channels][block's channels]. Where
one core's caches hold what a chunk needs, a core takes its chunks through all stages
("fused"); else v of the whole map is made first and cores share blocks of output channels,
so that u is streamed once ("phased"). `plan` weighs both.

References:
    Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016,
    arXiv:1509.09308.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from splitc_targets.schedules import emit, tiles
from splitc_targets.schedules.conv import Conv
from splitc_targets.schedules.emit import Argument, Array, Code, Index, Value
from splitc_targets.schedules.expression import evaluate
from splitc_targets.schedules.machine import Machine
from splitc_targets.schedules.winograd_plan import Plan, fits, plan
from splitc_targets.schedules.winograd_transforms import (
    Arithmetic,
    filter_matrix,
    input_groups,
    output_groups,
    transform_input,
    transform_output,
)


def pack(
    weights: np.ndarray[Any, Any], conv: Conv, machine: Machine, m: int
) -> np.ndarray[Any, Any]:
    """G g G^T of weights [out channels][channels][3][3], in the order the products read them."""
    made, g = plan(conv, machine, m), filter_matrix(m)
    u = (g @ weights.astype(np.float64) @ g.T).astype(np.float32)
    u = u.reshape(conv.out_channels, conv.channels, made.positions).transpose(2, 1, 0)
    missing = sum(made.vectors) * machine.lanes - conv.out_channels
    u = np.pad(u, ((0, 0), (0, 0), (0, missing)))
    cuts = np.cumsum(made.vectors)[:-1] * machine.lanes
    return np.concatenate([block.ravel() for block in np.split(u, cuts, axis=2)])


def workspace(conv: Conv, machine: Machine, m: int) -> int:
    """Elements of scratch that the kernel needs; best on a cache line's boundary."""
    return plan(conv, machine, m).workspace


def kernel(name: str, conv: Conv, machine: Machine, m: int, packed: int) -> Any:
    """The kernel (x, packed weights, operands…, workspace, y) in TVM's tensor IR."""
    made = plan(conv, machine, m)
    return emit.function(
        name, _arguments(conv, packed, made.workspace),
        lambda code, *arrays: _Writer(code, conv, machine, made, arrays).write(),
    )  # fmt: skip


def _arguments(conv: Conv, packed: int, scratch: int) -> list[Argument]:
    x = (conv.batch - 1) * conv.x_image + (conv.height - 1) * conv.x_row
    x += (conv.width - 1) * conv.x_pixel + conv.channels
    found = [Argument("x", (x,)), Argument("w", (packed,))]
    for number, operand in enumerate(conv.operands):
        pixels = conv.batch * conv.out_height * conv.out_width
        tensor = (pixels - 1) * operand.pixel + conv.out_channels
        size = {"channel": conv.out_channels, "scalar": 1}.get(operand.kind, tensor)
        found.append(Argument(f"e{number}", (size,)))
    y = (conv.batch - 1) * conv.y_image + (conv.out_height - 1) * conv.y_row
    y += (conv.out_width - 1) * conv.y_pixel + conv.out_channels
    return [*found, Argument("workspace", (scratch,)), Argument("y", (y,))]


__all__ = ["fits", "kernel", "pack", "workspace"]


@dataclass(frozen=True)
class _Place:
    """A tile's image, and its first row and column of results."""

    image: Index
    row: Index
    column: Index


class _Writer:
    """Writes one convolution's loops."""

    def __init__(
        self, code: Code, conv: Conv, machine: Machine, plan: Plan, arrays: tuple[Array, ...]
    ) -> None:
        self.code, self.conv, self.machine, self.plan = code, conv, machine, plan
        self.x, self.u, *self.extra = arrays[:-2]
        self.space, self.y = arrays[-2:]
        self.do = Arithmetic(code, machine.lanes, machine.fma)
        self.vector = emit.typed("float32", machine.lanes)

    def write(self) -> None:
        """The parallel loops."""
        if self.plan.fused:
            self._fused()
        else:
            self._phased()

    def _fused(self) -> None:
        plan, code = self.plan, self.code
        with code.loop("worker", plan.workers, parallel=plan.workers > 1) as worker:
            v = code.bind(worker * (plan.positions * plan.v_step))
            first, after = self._share(worker, plan.chunks)
            with code.loop("chunk", after - first, start=first) as chunk:
                start, end = self._bounds(chunk)
                with (
                    code.loop("t", end - start) as t,
                    code.loop("part", self._parts()) as part,
                ):
                    self._input(start + t, code.bind(v + t * plan.depth), part)
                with code.loop("block", len(plan.vectors)) as block:
                    self._block(worker, v, start, end, block)

    def _phased(self) -> None:
        plan, code, parts = self.plan, self.code, self._parts()
        with code.loop("task", plan.tiles * parts, parallel=plan.workers > 1) as task:
            tile, part = code.bind(emit.div(task, parts)), code.bind(emit.mod(task, parts))
            # The chunk whose bounds, as `_bounds` rounds them, hold this tile.
            chunk = code.bind(emit.div((tile + 1) * plan.chunks - 1, plan.tiles))
            t = tile - self._bounds(chunk)[0]
            v = code.bind(chunk * (plan.positions * plan.v_step) + t * plan.depth)
            self._input(tile, v, part)
        items = len(plan.vectors) * plan.chunks
        with code.loop("worker", plan.workers, parallel=plan.workers > 1) as worker:
            first, after = self._share(worker, items)
            with code.loop("item", after - first, start=first) as item:
                block = code.bind(emit.div(item, plan.chunks))
                chunk = code.bind(emit.mod(item, plan.chunks))
                v = code.bind(chunk * (plan.positions * plan.v_step))
                self._block(worker, v, *self._bounds(chunk), block)

    def _share(self, worker: Index, items: int) -> tuple[Index, Index]:
        """A worker's items (from, to)."""
        workers, bind = self.plan.workers, self.code.bind
        after = bind(emit.div((worker + 1) * items, workers))
        return bind(emit.div(worker * items, workers)), after

    def _bounds(self, chunk: Index) -> tuple[Index, Index]:
        """A chunk's tiles (from, to); sizes differ by one at most."""
        total, chunks, bind = self.plan.tiles, self.plan.chunks, self.code.bind
        after = bind(emit.div((chunk + 1) * total, chunks))
        return bind(emit.div(chunk * total, chunks)), after

    def _place(self, tile: Index) -> _Place:
        plan, bind = self.plan, self.code.bind
        each = plan.down * plan.across
        within = emit.mod(tile, each)
        return _Place(
            bind(emit.div(tile, each)),
            bind(emit.div(within, plan.across) * plan.m),
            bind(emit.mod(within, plan.across) * plan.m),
        )

    # Transformed input.

    def _parts(self) -> int:
        """Groups of input vectors that a task transforms together."""
        return -(-self.plan.depth // (_PART * self.machine.lanes))

    def _input(self, tile: Index, v: Index, part: Index) -> None:
        """One tile's transform over one part of its channels; `v` is the tile's first element."""
        conv, code, lanes = self.conv, self.code, self.machine.lanes
        n = self.plan.m + 2
        place = self._place(tile)
        top, left = code.bind(place.row - conv.pad[0]), code.bind(place.column - conv.pad[1])
        channel = code.bind(part * (_PART * lanes))
        at = code.bind(
            place.image * conv.x_image + top * conv.x_row + left * conv.x_pixel + channel
        )
        whole = conv.channels // lanes
        here = code.bind(emit.most(0, emit.least(_PART, whole - part * _PART)))
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
            self._gathered(at, top, left, here, None, v)
        if conv.channels % lanes:
            with code.when(emit.tirx.EQ(emit.index(part), emit.const(self._parts() - 1))):
                skip = here * lanes
                self._gathered(at + skip, top, left, 1, conv.channels % lanes, v + skip)

    def _gathered(
        self, at: Index, top: Index, left: Index, vectors: Index, used: int | None, v: Index
    ) -> None:
        """The transform of a tile at the border, or of the last channels, from a padded copy."""
        conv, code, lanes = self.conv, self.code, self.machine.lanes
        n = self.plan.m + 2
        pixel = lanes * (_PART if used is None else 1)
        copy = code.local(n * n * pixel, name="copy")
        with code.loop("z", n * n) as z, code.loop("c", vectors) as c:
            code.store(copy, z * pixel + c * lanes, emit.number(0.0, lanes), lanes)
        rows = code.bind(emit.most(0, -top)), code.bind(emit.least(n, conv.height - top))
        columns = code.bind(emit.most(0, -left)), code.bind(emit.least(n, conv.width - left))
        with (
            code.loop("r", emit.most(0, rows[1] - rows[0]), start=rows[0]) as r,
            code.loop("q", emit.most(0, columns[1] - columns[0]), start=columns[0]) as q,
            code.loop("c", vectors) as c,
        ):
            from_ = at + r * conv.x_row + q * conv.x_pixel + c * lanes
            value = self.x.at(from_, lanes, used)
            code.store(copy, (r * n + q) * pixel + c * lanes, value, lanes)
        self._transform(copy, 0, n * pixel, pixel, v, vectors)

    def _transform(
        self, source: Array, at: Index, row: int, column: int, v: Index, vectors: Index
    ) -> None:
        """B^T d B of some vectors of channels.

        A loop for each group of rows, as together they would not fit the registers.
        """
        plan, code, lanes = self.plan, self.code, self.machine.lanes
        for group in input_groups(plan.m):
            with code.loop("c", vectors) as c:
                from_, to = code.bind(at + c * lanes), code.bind(v + c * lanes)
                transform_input(
                    self.do, plan.m, group,
                    lambda i, j, from_=from_: code.bind(
                        source.at(from_ + i * row + j * column, lanes), "d"
                    ),
                    lambda i, j, value, to=to: code.store(
                        self.space, to + (i * (plan.m + 2) + j) * plan.v_step, value, lanes
                    ),
                )  # fmt: skip

    # Products.

    def _block(self, worker: Index, v: Index, start: Index, end: Index, block: Index) -> None:
        """One block of output channels over one chunk."""
        plan, code = self.plan, self.code
        count, vectors = len(plan.vectors), plan.vectors
        p = code.bind(plan.v_count + worker * (plan.positions * plan.p_step))
        each = plan.positions * self.conv.channels
        u = code.bind(block * (each * plan.width))
        if count == 1 or vectors[-1] == vectors[0]:
            self._products(v, u, p, vectors[0])
        else:
            last = emit.const(count - 1)
            with code.when(emit.tirx.LT(emit.index(block), last)):
                self._products(v, u, p, vectors[0])
            with code.when(emit.tirx.EQ(emit.index(block), last)):
                self._products(v, u, p, vectors[-1])
        with code.loop("t", end - start) as t:
            self._output(self._place(start + t), code.bind(p + t * plan.width), block)

    def _products(self, v: Index, u: Index, p: Index, vectors: int) -> None:
        """The products of every position: tiles by input channels by output channels."""
        plan, code, lanes = self.plan, self.code, self.machine.lanes
        depth = self.conv.channels * vectors * lanes
        sizes = tiles.even(plan.size, plan.rows)
        with code.loop("position", plan.positions) as position:
            v_at = code.bind(v + position * plan.v_step)
            u_at = code.bind(u + position * depth)
            p_at = code.bind(p + position * plan.p_step)
            start = 0
            for size in sorted(set(sizes), reverse=True):
                count = sizes.count(size)
                with code.loop("rows", count) as run, code.scope():
                    row = start + run * size
                    self._product(
                        code.bind(v_at + row * plan.depth), u_at,
                        code.bind(p_at + row * plan.width), size, vectors,
                    )  # fmt: skip
                start += count * size

    def _product(self, v: Index, u: Index, p: Index, rows: int, vectors: int) -> None:
        """A register block: rows tiles by vectors of output channels."""
        code, lanes = self.code, self.machine.lanes
        sums = code.local(rows * vectors * lanes)
        for cell in range(rows * vectors):
            code.store(sums, cell * lanes, emit.number(0.0, lanes), lanes)
        step = lanes if self.machine.lane_fma else 1
        main = self.conv.channels // step
        with code.loop("c", main) as c:
            self._step(sums, v, u, c * step, step, rows, vectors)
        for c in range(main * step, self.conv.channels):
            self._step(sums, v, u, c, 1, rows, vectors)
        for i in range(rows):
            for j in range(vectors):
                value = sums.at((i * vectors + j) * lanes, lanes)
                code.store(self.space, p + i * self.plan.width + j * lanes, value, lanes)

    def _step(
        self, sums: Array, v: Index, u: Index, channel: Index, step: int, rows: int, vectors: int
    ) -> None:
        """`step` input channels: weights by vectors, tiles by scalars or lanes."""
        code, lanes, depth = self.code, self.machine.lanes, self.plan.depth
        at = [v + i * depth + channel for i in range(rows)]
        whole = [code.bind(self.space.at(a, step), "a") for a in at] if step > 1 else []
        for k in range(step):
            from_ = u + (channel + k) * (vectors * lanes)
            weights = [code.bind(self.u.at(from_ + j * lanes, lanes), "b") for j in range(vectors)]
            for i in range(rows):
                if whole:
                    a = emit.lane(whole[i], k, lanes)
                else:
                    a = self.space.everywhere(at[i] + k, lanes)
                a = code.bind(a, "s")
                for j, b in enumerate(weights):
                    cell = (i * vectors + j) * lanes
                    total = emit.fma(
                        a, b, sums.at(cell, lanes), self.vector, fused=self.machine.fma
                    )
                    code.store(sums, cell, total, lanes)

    # Results.

    def _output(self, place: _Place, p: Index, block: Index) -> None:
        """One tile's results in one block of channels; `p` is its first product."""
        conv, plan, code, lanes = self.conv, self.plan, self.code, self.machine.lanes
        m, wide = plan.m, plan.width // lanes
        whole = code.bind(emit.least(wide, conv.out_channels // lanes - block * wide))
        down = code.bind(emit.least(m, conv.out_height - place.row))
        across = code.bind(emit.least(m, conv.out_width - place.column))
        full = _all(
            emit.tirx.EQ(emit.index(down), emit.const(m)),
            emit.tirx.EQ(emit.index(across), emit.const(m)),
        )
        channel = code.bind(block * plan.width)
        stores = [(full, None), (emit.tirx.Not(full), (down, across))]
        for condition, clip in stores:
            with code.when(condition):
                for group in output_groups(m, self.machine.registers):
                    with code.loop("c", whole) as c:
                        self._vector(place, p + c * lanes, channel + c * lanes, group, clip, None)
        rest = conv.out_channels % lanes
        if rest:
            with code.when(emit.tirx.EQ(emit.index(block), emit.const(len(plan.vectors) - 1))):
                skip = whole * lanes
                for group in output_groups(m, self.machine.registers):
                    self._vector(place, p + skip, channel + skip, group, (down, across), rest)

    def _vector(
        self, place: _Place, p: Index, channel: Index, group: tuple[int, ...],
        clip: tuple[Index, Index] | None, used: int | None,
    ) -> None:  # fmt: skip
        """A^T P A of one vector of channels, through the expression; clipped at the border."""
        code, lanes, m = self.code, self.machine.lanes, self.plan.m
        p, channel = code.bind(p), code.bind(channel)
        fixed = self._fixed(channel, used)
        raw = code.local(m * m * lanes, name="raw") if clip else None

        def write(i: Index, j: Index, value: Value) -> None:
            if raw is None:
                self._store(place, i, j, channel, value, fixed, used)
            else:
                code.store(raw, (i * m + j) * lanes, value, lanes)

        step = self.plan.p_step
        transform_output(
            self.do, m, group,
            lambda i, j: code.bind(self.space.at(p + (i * (m + 2) + j) * step, lanes), "p"),
            write,
        )  # fmt: skip
        if raw is None or clip is None:
            return
        for i in group:
            with (
                code.when(emit.tirx.LT(emit.const(i), emit.index(clip[0]))),
                code.loop("j", clip[1]) as j,
            ):
                value = code.bind(raw.at((i * m + j) * lanes, lanes))
                self._store(place, i, j, channel, value, fixed, used)

    def _fixed(self, channel: Index, used: int | None) -> dict[int, Value]:
        """Operands that are the same at every pixel."""
        lanes, found = self.machine.lanes, {}
        for number, operand in enumerate(self.conv.operands):
            if operand.kind == "scalar":
                found[number] = self.code.bind(self.extra[number].everywhere(0, lanes))
            elif operand.kind == "channel":
                found[number] = self.code.bind(self.extra[number].at(channel, lanes, used))
        return found

    def _store(
        self, place: _Place, i: Index, j: Index, channel: Index, value: Value,
        fixed: dict[int, Value], used: int | None,
    ) -> None:  # fmt: skip
        """The fused expression of one pixel's vector of channels, and its store."""
        conv, code, lanes = self.conv, self.code, self.machine.lanes
        row, column = place.row + i, place.column + j
        pixel = (place.image * conv.out_height + row) * conv.out_width + column

        def read(number: int) -> Value:
            if number == 0:
                return value
            if number - 1 in fixed:
                return fixed[number - 1]
            at = pixel * conv.operands[number - 1].pixel + channel
            return self.extra[number - 1].at(at, lanes, used)

        out = place.image * conv.y_image + row * conv.y_row + column * conv.y_pixel + channel
        code.store(
            self.y, out, evaluate(code, conv.expression, read, lanes), lanes, used
        )


def _all(*conditions: Value) -> Value:
    return functools.reduce(emit.tirx.And, conditions)


_PART = 4
"""Vectors of input channels that are transformed together: their tile stays in L1."""
