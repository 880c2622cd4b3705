# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""A recurrent layer in one kernel of threads: a block a sequence, a thread a hidden unit or some.

Threads read the state before from memory that the block shares and meet after every step. Weights
lie as the rule packs them for vectors of one number: for each unit of the state before those of
all gates and units, so that neighbouring threads read neighbours.
"""

from __future__ import annotations

from typing import Any

from splitc_targets.gpu.loops.arithmetic import LONG, OPS, larger, smaller
from splitc_targets.gpu.loops.threads import Kernel, Threads, kernel
from splitc_targets.kernels.recurrent.cells import Gates, Maths
from splitc_targets.kernels.recurrent.geometry import Recurrent, phase_at
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Argument, Array, Code, Index, Value, const, tirx
from splitc_targets.machine.machine import Machine

THREADS = 256
MOST_HIDDEN = 4096
"""Units of a state: three of them are in memory that a block shares, which is 48 KiB."""


def _kept(code: Code, value: Value, _lanes: int) -> Value:
    register = code.local(1, name="kept")
    code.store(register, 0, value)
    return register.at(0)


_MATHS = Maths(
    {
        "exp": lambda code, lanes, x: tirx.exp(x),
        "sigmoid": lambda code, lanes, x: OPS["sigmoid"](x),
        "softplus": lambda code, lanes, x: LONG["softplus"](code, "float32", x),
        "tanh": lambda code, lanes, x: tirx.tanh(x),
    },
    _kept, larger, smaller,
)  # fmt: skip


def recurrent_kernel(name: str, spec: Recurrent, machine: Machine) -> Kernel:
    """The kernel of the parameters that the spec names.

    Args:
        name: The kernel's.
        spec: One direction of a layer.
        machine: For which its weights were packed, of vectors of one number.
    """
    arguments = [
        Argument(each, (max(1, spec.size(each, machine)),), dtype)
        for each, dtype in zip(spec.names, spec.types, strict=True)
    ]
    threads = min(THREADS, max(32, 1 << (spec.hidden - 1).bit_length()))

    def write(code: Threads, *arrays: Array) -> None:
        named = dict(zip(spec.names, arrays, strict=True))
        _Sequence(code, spec, machine, named, threads).write()

    return kernel(name, arguments, spec.batch, threads, write)


class _Sequence:
    """A block's sequence; `states` holds the state before and the next, in turns."""

    def __init__(
        self, code: Threads, spec: Recurrent, machine: Machine, arrays: dict[str, Array],
        threads: int,
    ) -> None:  # fmt: skip
        self.code, self.spec, self.machine, self.arrays = code, spec, machine, arrays
        self.threads, self.hidden = threads, spec.hidden
        self.states = code.shared(2 * spec.hidden, name="states")
        self.reset = code.shared(spec.hidden, name="reset") if "between" in arrays else None
        self.first = code.bind(code.block * spec.hidden, "first")
        self.gates = Gates(code, 1, spec.cell, _MATHS)

    def write(self) -> None:
        """All steps."""
        code, spec, arrays = self.code, self.spec, self.arrays
        length = self._length()

        def begin(unit: Index) -> None:
            for name, target, at in (("h", self.states, unit), ("c", None, self.first + unit)):
                if name in arrays:
                    value = arrays[name].at(self.first + unit)
                    if length is not None:
                        empty = tirx.EQ(length, const(0))
                        value = tirx.Select(empty, emit.number(0.0, 1), value)
                    code.store(target if target is not None else arrays["y_c"], at, value)

        self._units(begin)
        with code.loop("s", spec.steps) as s:
            old = code.bind(emit.mod(s, 2) * spec.hidden, "old")
            new = code.bind(spec.hidden - old, "new")
            for number, gates in enumerate(spec.cell.phases):
                code.meet()
                self._units(lambda unit, n=number, g=gates: self._step(n, g, unit, s, old, new,
                                                                       length))  # fmt: skip
        code.meet()
        last = spec.steps % 2 * spec.hidden
        self._units(
            lambda unit: code.store(arrays["y_h"], self.first + unit, self.states.at(last + unit))
        )

    def _length(self) -> Value | None:
        """How long the sequence is, where it says so: what it says may be anything."""
        if not self.spec.lengths:
            return None
        register = self.code.local(1, "int32", "length")
        given = self.arrays["lengths"].at(self.code.block)
        self.code.store(register, 0, emit.most(emit.least(given, self.spec.steps), 0))
        return register.at(0)

    def _units(self, do: Any) -> None:
        """`do` (unit) for each of a thread's units."""
        code = self.code
        with code.loop("u", -(-self.hidden // self.threads)) as u:
            unit = code.bind(u * self.threads + code.thread, "unit")
            if self.hidden % self.threads == 0:
                do(unit)
                return
            with code.when(tirx.LT(unit, const(self.hidden))):
                do(unit)

    def _step(
        self, number: int, gates: tuple[int, ...], unit: Index, s: Index, old: Index, new: Index,
        length: Value | None,
    ) -> None:  # fmt: skip
        """A phase of a step for one unit; where the sequence is over its state stays."""
        code, spec = self.code, self.spec
        sums = self._products(number, gates, unit, old)
        if length is None:
            time = spec.steps - 1 - s if spec.reverse else s
            self._end(number, gates, sums, unit, time, old, new)
            return
        goes_on = tirx.LT(emit.index(s), length)
        with code.when(goes_on):
            time = code.bind(length - 1 - s, "time") if spec.reverse else s
            self._end(number, gates, sums, unit, time, old, new)
        if number == len(spec.cell.phases) - 1:
            with code.when(tirx.Not(goes_on)):
                code.store(self.states, new + unit, self.states.at(old + unit))
                self._give(s, unit, emit.number(0.0, 1))

    def _products(self, number: int, gates: tuple[int, ...], unit: Index, old: Index) -> Array:
        code, hidden = self.code, self.hidden
        begin = phase_at(self.spec.cell, number, hidden, self.machine)
        sums = code.local(len(gates))
        for place in range(len(gates)):
            code.store(sums, place, emit.number(0.0, 1))
        with code.loop("k", hidden) as k:
            before = self.reset.at(k) if number and self.reset else self.states.at(old + k)
            state = code.bind(before, "h")
            at = code.bind(k * (len(gates) * hidden) + unit + begin, "at")
            for place in range(len(gates)):
                weight = self.arrays["r"].at(at + place * hidden)
                code.store(sums, place, sums.at(place) + state * weight)
        return sums

    def _give(self, time: Index, unit: Index, value: Value) -> None:
        spec = self.spec
        at = time * spec.y_step + self.code.block * spec.y_row + unit
        self.code.store(self.arrays["y"], at, value)

    def _end(
        self, number: int, gates: tuple[int, ...], sums: Array, unit: Index, time: Index,
        old: Index, new: Index,
    ) -> None:  # fmt: skip
        code, spec = self.code, self.spec
        x = code.bind(time * spec.x_step + code.block * spec.x_row + unit, "x")

        def given(gate: int) -> Value:
            return self.arrays["x"].at(x + gate * spec.hidden)

        def added(gate: int) -> Value:
            return sums.at(gates.index(gate))

        value = self._state(number, given, added, unit, old)
        if value is not None:
            value = self.gates.keep(value)
            code.store(self.states, new + unit, value)
            self._give(time, unit, value)

    def _state(self, phase: int, given: Any, added: Any, unit: Index, old: Index) -> Value | None:
        """The unit's next state; None where a phase leaves something for the next."""
        code, gates, at = self.code, self.gates, self.first + unit

        def gate(number: int) -> Value:
            return given(number) + added(number)

        def peephole(number: int) -> Value:
            return self.arrays["p"].at(number * self.hidden + unit)

        if self.spec.cell.kind == "rnn":
            return gates.active(0, gate(0))
        if self.spec.cell.kind == "lstm":
            before = gates.keep(self.arrays["y_c"].at(at))
            seen = peephole if self.spec.cell.peepholes else None
            h, c = gates.lstm(gate, before, seen)
            code.store(self.arrays["y_c"], at, c)
            return h
        h = gates.keep(self.states.at(old + unit))
        if self.reset is None:
            update, reset = gates.active(0, gate(0)), gates.active(0, gate(1))
            inner = added(2) + self.arrays["b"].at(unit)
            return gates.gru(update, gates.active(1, given(2) + reset * inner), h)
        if phase == 0:
            code.store(self.arrays["between"], at, gates.active(0, gate(0)))
            code.store(self.reset, unit, gates.active(0, gate(1)) * h)
            return None
        return gates.gru(self.arrays["between"].at(at), gates.active(1, gate(2)), h)
