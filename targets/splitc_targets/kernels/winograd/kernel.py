# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Winograd's convolution, F(2x2, 3x3) and F(4x4, 3x3), over channels-last maps.

Three stages over chunks of T tiles, n = m + 2 rows and columns each; with strides of 2, m = 4 and
n = 9, of which `transforms` tells::

    v[n n][T][channels]      = B^T d B             vectors of input channels
    p[n n][T][block]         = v x u               n n matrix products, registers as in conv
    y                        = f(A^T p A)          vectors of output channels, expression fused

u, made at load by `filters`, is
[block][n n][register block][channels][its out channels]. Where
one core's caches hold what a chunk needs, a core takes its chunks through all stages
("fused"); else v of the whole map is made first and cores share blocks of output channels,
so that u is streamed once ("phased"). `plan` weighs both.

What is infinite or not a number in the input is so in every result of the tiles that it touches,
up to m - 1 rows and columns farther than the kernel reaches.

References:
    Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016,
    arXiv:1509.09308.
"""

from __future__ import annotations

from typing import Any

from splitc_targets.kernels.product.direct import operand_arguments
from splitc_targets.kernels.product.geometry import Conv, input_size, result_size
from splitc_targets.kernels.winograd.plan import plan
from splitc_targets.kernels.winograd.stages import Stages
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Index, Value
from splitc_targets.machine import tiles
from splitc_targets.machine.machine import Machine


def workspace(conv: Conv, machine: Machine, m: int, pair: int = 1) -> int:
    """Elements of scratch that the kernel needs; best on a cache line's boundary."""
    return plan(conv, machine, m, pair).workspace


def kernel(name: str, conv: Conv, machine: Machine, m: int, packed: int) -> Any:
    """The kernel (x, packed weights, operands…, workspace, y) in TVM's tensor IR."""
    made = plan(conv, machine, m)
    return emit.function(
        name, parameters(conv, packed, made.workspace),
        lambda code, *arrays: Writer(code, conv, machine, made, arrays).write(),
    )  # fmt: skip


def parameters(conv: Conv, packed: int, workspace: int) -> list[Argument]:
    """Parameters of a kernel of three stages (x, packed weights, operands…, workspace, y)."""
    return [
        Argument("x", (input_size(conv),)), Argument("w", (packed,)), *operand_arguments(conv),
        Argument("workspace", (workspace,)),
        Argument("y", (result_size(conv),), conv.y_dtype),
    ]  # fmt: skip


class Writer(Stages):
    """Writes one convolution's loops, and its products."""

    @property
    def factors(self) -> Array:
        """Transformed input, as the products read it."""
        return self.v

    def meet(self, pixel: Value, weights: Value, total: Value) -> Value:
        """A sum with a product added."""
        return emit.fma(pixel, weights, total, self.vector, fused=self.machine.fma)

    def write(self) -> None:
        """The parallel loops."""
        if self.plan.fused:
            self._fused()
        else:
            self._phased()

    def _fused(self) -> None:
        plan, code, depth = self.plan, self.code, self.work.depth
        with code.loop("worker", plan.workers, parallel=plan.workers > 1) as worker:
            v = self._scratch(worker)
            first, after = self._share(worker, plan.chunks)
            with code.loop("chunk", after - first, start=first) as chunk:
                start, end = self._bounds(chunk)
                with (
                    code.loop("t", end - start) as t,
                    code.loop("part", self.parts()) as part,
                ):
                    self.input(start + t, code.bind(v + t * depth), part, self.border(worker))
                with code.loop("block", plan.blocks) as block:
                    self._block(worker, worker, start, end, block)

    def _phased(self) -> None:
        plan, code, parts, work = self.plan, self.code, self.parts(), self.work
        with code.loop("worker", plan.workers, parallel=plan.workers > 1) as worker:
            first, after = self._share(worker, work.tiles * parts)
            with code.loop("task", after - first, start=first) as task:
                tile, part = code.bind(emit.div(task, parts)), code.bind(emit.mod(task, parts))
                # The chunk whose bounds, as `_bounds` rounds them, hold this tile.
                chunk = code.bind(emit.div((tile + 1) * plan.chunks - 1, work.tiles))
                t = tile - self._bounds(chunk)[0]
                v = code.bind(self._scratch(chunk) + t * work.depth)
                self.input(tile, v, part, self.border(worker))
        items = plan.blocks * plan.chunks
        with code.loop("worker", plan.workers, parallel=plan.workers > 1) as worker:
            first, after = self._share(worker, items)
            with code.loop("item", after - first, start=first) as item:
                block = code.bind(emit.div(item, plan.chunks))
                chunk = code.bind(emit.mod(item, plan.chunks))
                self._block(worker, chunk, *self._bounds(chunk), block)

    def _scratch(self, number: Index) -> Index:
        """Where the transformed input of that number begins: a worker's own, or a chunk's."""
        return self.code.bind(number * (self.work.positions * self.plan.v_step))

    def _share(self, worker: Index, items: int) -> tuple[Index, Index]:
        """A worker's items (from, to)."""
        workers, bind = self.plan.workers, self.code.bind
        after = bind(emit.div((worker + 1) * items, workers))
        return bind(emit.div(worker * items, workers)), after

    def _bounds(self, chunk: Index) -> tuple[Index, Index]:
        """A chunk's tiles (from, to); sizes differ by one at most."""
        total, chunks, bind = self.work.tiles, self.plan.chunks, self.code.bind
        after = bind(emit.div((chunk + 1) * total, chunks))
        return bind(emit.div(chunk * total, chunks)), after

    def _block(self, worker: Index, input_: Index, start: Index, end: Index, block: Index) -> None:
        """One block of output channels over one chunk, whose transformed input has a number."""
        plan, code, work = self.plan, self.code, self.work
        p = code.bind(plan.p_start + worker * (work.positions * plan.p_step))
        v = code.bind(input_ * (work.positions * plan.v_step // work.pair))
        self._products(v, p, block)
        with code.loop("t", end - start) as t:
            place = self.place(start + t)
            self.output(place, code.bind(p + t * plan.width), block, self.border(worker))

    def _products(self, v: Index, p: Index, block: Index) -> None:
        """The products of every position: tiles by input channels by output channels.

        Distances in v and u are in elements of the factors, of a pair of channels each or of one.
        """
        plan, code, lanes = self.plan, self.code, self.machine.lanes
        positions, channels, vectors = self.work.positions, self.work.channels, plan.vectors
        u = code.bind(block * (self.work.filters * channels * plan.width))
        # Of the last block, which may have fewer vectors.
        first = (plan.blocks - 1) * plan.group
        total, whole = sum(vectors[first:]), vectors[first:].count(vectors[0])
        step = self._of(block, plan.width // lanes, total)
        each = vectors[0] * lanes
        with code.loop("position", positions) as position:
            v_at = code.bind(v + position * (plan.v_step // self.work.pair))
            u_at = code.bind(u + self.filter(position) * step * (channels * lanes))
            p_at = code.bind(p + position * plan.p_step)
            with code.loop("part", self._of(block, plan.group, whole)) as part:
                u_part = code.bind(u_at + part * (channels * each))
                self._rows(v_at, u_part, code.bind(p_at + part * each), vectors[0])
            if vectors[-1] != vectors[0]:
                with self.last(block):
                    u_part = u_at + whole * (channels * each)
                    self._rows(v_at, u_part, p_at + whole * each, vectors[-1])

    def filter(self, position: Index) -> Index:
        """The number of a position's filter."""
        n, last = self.form.n, self.form.filters - 1
        if n == last + 1:
            return position
        row, column = emit.div(position, n), emit.mod(position, n)
        return self.code.bind(emit.least(row, last) * (last + 1) + emit.least(column, last))

    def _of(self, block: Index, others: int, last: int) -> Index:
        """A number that is `last` for the last block."""
        more = self.plan.blocks - 1
        if more == 0 or others == last:
            return last
        return self.code.bind(others - emit.div(block, more) * (others - last))

    def _rows(self, v: Index, u: Index, p: Index, vectors: int) -> None:
        """One position's products of all tiles in one register block of channels."""
        plan, code = self.plan, self.code
        sizes, start = tiles.even(plan.size, plan.rows), 0
        for size in sorted(set(sizes), reverse=True):
            count = sizes.count(size)
            with code.loop("rows", count) as run, code.scope():
                row = start + run * size
                v_at = code.bind(v + row * (self.work.depth // self.work.pair))
                p_at = code.bind(p + row * plan.width)
                self._product(v_at, u, p_at, size, vectors)
            start += count * size

    def _product(self, v: Index, u: Index, p: Index, rows: int, vectors: int) -> None:
        """A register block: rows tiles by vectors of output channels."""
        code, lanes = self.code, self.machine.lanes
        sums = code.local(rows * vectors * lanes)
        for cell in range(rows * vectors):
            code.store(sums, cell * lanes, emit.number(0.0, lanes), lanes)
        step = lanes if self.machine.lane_fma else 1
        channels = self.work.channels
        main = channels // step
        with code.loop("c", main) as c:
            self._step(sums, v, u, c * step, step, rows, vectors)
        for c in range(main * step, channels):
            self._step(sums, v, u, c, 1, rows, vectors)
        for i in range(rows):
            for j in range(vectors):
                value = sums.at((i * vectors + j) * lanes, lanes)
                code.store(self.space, p + i * self.plan.width + j * lanes, value, lanes)

    def _step(
        self, sums: Array, v: Index, u: Index, channel: Index, step: int, rows: int, vectors: int
    ) -> None:
        """`step` input channels: weights by vectors, tiles by scalars or lanes."""
        code, lanes, depth = self.code, self.machine.lanes, self.work.depth // self.work.pair
        at = [v + i * depth + channel for i in range(rows)]
        whole = [code.bind(self.factors.at(a, step), "a") for a in at] if step > 1 else []
        for k in range(step):
            from_ = u + (channel + k) * (vectors * lanes)
            weights = [code.bind(self.u.at(from_ + j * lanes, lanes), "b") for j in range(vectors)]
            for i in range(rows):
                if whole:
                    a = emit.lane(whole[i], k, lanes)
                else:
                    a = self.factors.everywhere(at[i] + k, lanes)
                a = code.bind(a, "s")
                for j, b in enumerate(weights):
                    cell = (i * vectors + j) * lanes
                    code.store(sums, cell, self.meet(a, b, sums.at(cell, lanes)), lanes)
