# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""A recurrent layer in one kernel: weights packed, gates fused, the state kept between steps.

The products of its inputs are known before. A step multiplies the state before by the recurrent
weights, block by block of hidden units with the sums of all gates in registers, and ends a block
with its gates: nothing of a step but its state is written. Blocks are shared among cores.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from splitc_targets.kernels.recurrent.cells import Gates, Maths
from splitc_targets.kernels.recurrent.geometry import (
    Blocks,
    Recurrent,
    blocks,
    phase_at,
    rows_at_once,
)
from splitc_targets.loops import arithmetic, emit
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value, tirx
from splitc_targets.machine.machine import Machine

_MATHS = Maths(
    {name: arithmetic.OPS[name] for name in ("exp", "sigmoid", "softplus", "tanh")},
    arithmetic.kept,
    # The second operand is what not-a-number is kept of.
    lambda x, number: emit.maximum(number, x), lambda x, number: emit.minimum(number, x),
)  # fmt: skip
_UNROLL = 8
"""Units of the state before whose products are written out."""


def kernel(name: str, spec: Recurrent, machine: Machine) -> Any:
    """The kernel of the parameters that the spec names."""
    arguments = [
        Argument(each, (max(1, spec.size(each, machine)),), dtype)
        for each, dtype in zip(spec.names, spec.types, strict=True)
    ]

    def write(code: Code, *arrays: Array) -> None:
        _Layer(code, spec, machine, dict(zip(spec.names, arrays, strict=True))).write()

    return emit.function(name, arguments, write)


@dataclass(frozen=True)
class _Tile:
    """Sums that are held together.

    Args:
        phase: The step's phase.
        gates: Its gates.
        unit: The first hidden unit.
        vectors, used: Vectors of units, and units of the last.
        row, rows: The first sequence, and how many.
        weights: Where the block's weights begin.
    """

    phase: int
    gates: tuple[int, ...]
    unit: Index
    vectors: int
    used: int
    row: Index
    rows: int
    weights: Index


class _Layer:
    def __init__(
        self, code: Code, spec: Recurrent, machine: Machine, arrays: dict[str, Array]
    ) -> None:
        self.code, self.spec, self.machine, self.arrays = code, spec, machine, arrays
        self.lanes = machine.lanes
        self.fill = spec.batch * spec.hidden

    def write(self) -> None:
        """All steps."""
        code, spec, arrays = self.code, self.spec, self.arrays
        self._copy(arrays["h"], 0, arrays["state"], 0)
        if spec.cell.kind == "lstm":
            self._copy(arrays["c"], 0, arrays["y_c"], 0)
        if spec.lengths:
            self._forget_empty()
        with code.loop("s", spec.steps) as s:
            old = code.bind(emit.mod(s, 2) * self.fill, "old")
            new = code.bind(self.fill - old, "new")
            for number, gates in enumerate(spec.cell.phases):
                self._phase(number, gates, s, old, new)
        self._copy(arrays["state"], spec.steps % 2 * self.fill, arrays["y_h"], 0)

    def _length(self, sequence: Index) -> Value:
        """How long a sequence is: what comes over a link may be anything."""
        given = self.arrays["lengths"].at(sequence)
        return self.code.bind(emit.most(emit.least(given, self.spec.steps), 0), "length")

    def _forget_empty(self) -> None:
        """The states of sequences without a step are zeros at the end, as in onnxruntime."""
        code, spec = self.code, self.spec
        states = [self.arrays[name] for name in ("state", "y_c") if name in self.arrays]
        with code.loop("row", spec.batch) as row:
            empty = tirx.EQ(self._length(row), emit.const(0))
            with code.when(empty), code.loop("i", spec.hidden) as i:
                for state in states:
                    code.store(state, row * spec.hidden + i, emit.number(0.0, 1))

    def _copy(self, source: Array, from_: Index, target: Array, to: Index) -> None:
        code, lanes = self.code, self.lanes
        whole = self.fill // lanes
        with code.loop("i", whole) as i:
            code.store(target, to + i * lanes, source.at(from_ + i * lanes, lanes), lanes)
        with code.loop("i", self.fill - whole * lanes, start=whole * lanes) as i:
            code.store(target, to + i, source.at(from_ + i))

    def _phase(self, number: int, gates: tuple[int, ...], s: Index, old: Index, new: Index) -> None:
        """The products of some gates, and what their ends are."""
        code, spec, machine = self.code, self.spec, self.machine
        begin = phase_at(spec.cell, number, spec.hidden, machine)
        shared = machine.shares(spec.flops // spec.steps // len(spec.cell.phases))
        for block in blocks(len(gates), spec.hidden, machine):
            for first, rows, count in self._rows(len(gates), block):
                with self._shared(block.count * count, s, shared=shared) as b:
                    at = code.bind(emit.div(b, count), "block")
                    vector = block.first + at * block.vectors
                    weights = begin + vector * (self.lanes * len(gates) * spec.hidden)
                    tile = _Tile(
                        number, gates, code.bind(vector * self.lanes, "unit"), block.vectors,
                        block.used, code.bind(first + emit.mod(b, count) * rows, "row"), rows,
                        code.bind(weights, "weights"),
                    )  # fmt: skip
                    self._tile(tile, s, old, new)

    @contextlib.contextmanager
    def _shared(self, work: int, s: Index, *, shared: bool) -> Iterator[Index]:
        """Pieces of work, each core's its own in every step; every other step goes backwards.

        What was read last is read first then: weights that a cache holds most of, but not all,
        would else drive out one another before they are read again.
        """
        code = self.code
        cores = min(work, self.machine.cores) if shared else 1
        each = -(-work // cores)
        backwards = tirx.EQ(emit.index(emit.mod(s, 2)), emit.const(1))
        with code.loop("core", cores, parallel=cores > 1) as core, code.loop("i", each) as i:
            turned = tirx.Select(backwards, emit.index(each - 1 - i), emit.index(i))
            b = code.bind(core * each + (turned if each > 1 else 0), "piece")
            if each * cores == work:
                yield b
                return
            with code.when(tirx.LT(emit.index(b), emit.const(work))):
                yield b

    def _rows(self, gates: int, block: Blocks) -> Iterator[tuple[int, int, int]]:
        """Sequences in equal tiles: the first, of how many each is, how many tiles."""
        batch = self.spec.batch
        rows = rows_at_once(gates, block.vectors, batch, self.machine)
        yield 0, rows, batch // rows
        if batch % rows:
            yield batch - batch % rows, batch % rows, 1

    def _tile(self, tile: _Tile, s: Index, old: Index, new: Index) -> None:
        code, spec, lanes = self.code, self.spec, self.lanes
        wide = len(tile.gates) * tile.vectors
        sums = code.local(tile.rows * wide * lanes)
        for i in range(tile.rows * wide):
            code.store(sums, i * lanes, emit.number(0.0, lanes), lanes)
        second = tile.phase == 1
        source = self.arrays["between"] if second else self.arrays["state"]
        from_ = code.bind(tile.row * spec.hidden + (self.fill if second else old), "from")
        step = lanes if self.machine.lane_fma else _UNROLL
        whole = spec.hidden // step
        with code.loop("k", whole) as k:
            self._multiply(tile, sums, source, from_, k * step, step)
        with code.loop("k", spec.hidden - whole * step, start=whole * step) as k:
            self._multiply(tile, sums, source, from_, k, 1)
        for row in range(tile.rows):
            self._end_row(tile, sums, row, s, old, new)

    def _multiply(
        self, tile: _Tile, sums: Array, source: Array, from_: Index, k: Index, step: int
    ) -> None:
        """`step` units of the state before by their weights."""
        code, lanes, hidden = self.code, self.lanes, self.spec.hidden
        wide = len(tile.gates) * tile.vectors
        kind = emit.typed("float32", lanes)
        by_lane = self.machine.lane_fma and step == lanes and step > 1
        whole = [
            code.bind(source.at(from_ + row * hidden + k, step), "h")
            for row in range(tile.rows if by_lane else 0)
        ]
        for u in range(step):
            at = code.bind(tile.weights + (k + u) * (wide * lanes))
            states = [
                emit.lane(whole[row], u, lanes) if by_lane
                else source.everywhere(from_ + row * hidden + k + u, lanes)
                for row in range(tile.rows)
            ]  # fmt: skip
            states = [code.bind(state, "s") for state in states]
            for j in range(wide):
                weight = code.bind(self.arrays["r"].at(at + j * lanes, lanes), "w")
                for row, state in enumerate(states):
                    cell = (row * wide + j) * lanes
                    value = emit.fma(
                        state, weight, sums.at(cell, lanes), kind, fused=self.machine.fma
                    )
                    code.store(sums, cell, value, lanes)

    def _end_row(
        self, tile: _Tile, sums: Array, row: int, s: Index, old: Index, new: Index
    ) -> None:
        """The gates of one sequence; where it is over its state stays, and nothing is given."""
        code, spec = self.code, self.spec
        number = code.bind(tile.row + row, "sequence")
        last = spec.steps - 1
        if not spec.lengths:
            self._end(tile, sums, row, number, last - s if spec.reverse else s, old, new)
            return
        length = self._length(number)
        goes_on = tirx.LT(emit.index(s), length)
        with code.when(goes_on):
            time = code.bind(length - 1 - s, "time") if spec.reverse else s
            self._end(tile, sums, row, number, time, old, new)
        if tile.phase == len(spec.cell.phases) - 1:
            with code.when(tirx.Not(goes_on)):
                for j in range(tile.vectors):
                    unit, used = self._units(tile, j)
                    at = number * spec.hidden + unit
                    state = self.arrays["state"]
                    code.store(state, new + at, state.at(old + at, self.lanes, used),
                               self.lanes, used)  # fmt: skip
                    self._give(number, s, unit, emit.number(0.0, self.lanes), used)

    def _units(self, tile: _Tile, vector: int) -> tuple[Index, int]:
        """A vector's first unit, and how many of its units there are."""
        used = tile.used if vector == tile.vectors - 1 else self.lanes
        return tile.unit + vector * self.lanes, used

    def _give(self, row: Index, time: Index, unit: Index, value: Value, used: int) -> None:
        at = time * self.spec.y_step + row * self.spec.y_row + unit
        self.code.store(self.arrays["y"], at, value, self.lanes, used)

    def _end(
        self, tile: _Tile, sums: Array, row: int, number: Index, time: Index, old: Index,
        new: Index,
    ) -> None:  # fmt: skip
        code, spec, lanes = self.code, self.spec, self.lanes
        wide = len(tile.gates) * tile.vectors
        x = code.bind(time * spec.x_step + number * spec.x_row, "x")
        for j in range(tile.vectors):
            unit, used = self._units(tile, j)
            with code.scope():

                def added(gate: int, j: int = j) -> Value:
                    place = tile.gates.index(gate) * tile.vectors + j
                    return sums.at((row * wide + place) * lanes, lanes)

                def given(gate: int, unit: Index = unit, used: int = used) -> Value:
                    return self.arrays["x"].at(x + gate * spec.hidden + unit, lanes, used)

                one = _Vector(self, number, unit, used, old)
                value = one.ended(tile.phase, given, added)
                if value is None:
                    continue
                value = code.bind(value, "state")
                code.store(self.arrays["state"], new + one.at, value, lanes, used)
                self._give(number, time, unit, value, used)


class _Vector:
    """A vector of hidden units of one sequence, from its gates to its state."""

    def __init__(self, layer: _Layer, row: Index, unit: Index, used: int, old: Index) -> None:
        self.layer, self.unit, self.used, self.old = layer, unit, used, old
        self.at = layer.code.bind(row * layer.spec.hidden + unit, "at")
        self.gates = Gates(layer.code, layer.lanes, layer.spec.cell, _MATHS)

    def ended(self, phase: int, given: Any, added: Any) -> Value | None:
        """The state after the last phase; None after others, which leave something between."""
        kind = self.layer.spec.cell.kind

        def gate(number: int) -> Value:
            return given(number) + added(number)

        if kind == "rnn":
            return self.gates.active(0, gate(0))
        return self._lstm(gate) if kind == "lstm" else self._gru(phase, given, added, gate)

    def _of(self, name: str, start: Index) -> Value:
        return self.layer.arrays[name].at(start, self.layer.lanes, self.used)

    def _lstm(self, gate: Any) -> Value:
        layer = self.layer

        def peephole(number: int) -> Value:
            return self._of("p", number * layer.spec.hidden + self.unit)

        before = layer.code.bind(self._of("y_c", self.at), "c")
        h, c = self.gates.lstm(gate, before, peephole if layer.spec.cell.peepholes else None)
        layer.code.store(layer.arrays["y_c"], self.at, c, layer.lanes, self.used)
        return h

    def _gru(self, phase: int, given: Any, added: Any, gate: Any) -> Value | None:
        layer, gates = self.layer, self.gates
        code, lanes, between = layer.code, layer.lanes, layer.arrays.get("between")
        h = code.bind(self._of("state", self.old + self.at), "h")
        if between is None:
            update, reset = gates.active(0, gate(0)), gates.active(0, gate(1))
            inner = added(2) + self._of("b", self.unit)
            return gates.gru(update, gates.active(1, given(2) + reset * inner), h)
        if phase == 0:
            code.store(between, self.at, gates.active(0, gate(0)), lanes, self.used)
            reset = gates.active(0, gate(1))
            code.store(between, layer.fill + self.at, reset * h, lanes, self.used)
            return None
        return gates.gru(self._of("between", self.at), gates.active(1, gate(2)), h)
