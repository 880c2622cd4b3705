# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers as numbers: the cell, its gates, sizes, and how weights are laid out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from splitc_targets.machine.machine import Machine

Kind = Literal["lstm", "gru", "rnn"]

GATES: dict[str, int] = {"lstm": 4, "gru": 3, "rnn": 1}
"""Gates of a cell, in ONNX's order: input, output, forget, cell; update, reset, hidden."""


@dataclass(frozen=True)
class Activation:
    """A function of a gate.

    Args:
        name: ONNX's, in lower case.
        alpha, beta: Its numbers; 0 where it has none.
    """

    name: str
    alpha: float = 0.0
    beta: float = 0.0


@dataclass(frozen=True)
class Cell:
    """What a recurrent layer computes in a step.

    Args:
        kind: How its gates make a state.
        activations: Of the gates, of the candidate, and of an LSTM's cell.
        clip: What the numbers that activations are given are kept within, on either side.
        input_forget: Whether an LSTM forgets as much as it does not take in.
        reset_after: Whether a GRU's reset gate is applied behind the product and its bias, not
            before (ONNX's linear_before_reset).
        peepholes: Whether an LSTM's gates see its cell.
    """

    kind: Kind
    activations: tuple[Activation, ...]
    clip: float | None = None
    input_forget: bool = False
    reset_after: bool = False
    peepholes: bool = False

    @property
    def gates(self) -> int:
        """How many there are."""
        return GATES[self.kind]

    @property
    def phases(self) -> tuple[tuple[int, ...], ...]:
        """Gates whose products a step makes together: a GRU that resets before a product needs
        its reset gate whole before the candidate's begins."""
        if self.kind == "gru" and not self.reset_after:
            return (0, 1), (2,)
        return (tuple(range(self.gates)),)

    @property
    def arguments(self) -> tuple[str, ...]:
        """What a layer reads beside its inputs' products, in order; `r` are its weights."""
        names = ["r", "h"]
        if self.kind == "lstm":
            names.append("c")
        if self.peepholes:
            names.append("p")
        if self.kind == "gru" and self.reset_after:
            names.append("b")
        return tuple(names)


@dataclass(frozen=True)
class Recurrent:
    """One direction of a recurrent layer, its inputs' products known; distances in elements.

    Args:
        cell: What a step computes.
        steps, batch, hidden: Sizes.
        reverse: Whether it begins at the end.
        lengths: Whether each sequence has a length of its own.
        x_step, x_row: Distances between steps and sequences of the inputs' products, whose
            gates lie side by side.
        y_step, y_row: The same of the states that are given for each step.
    """

    cell: Cell
    steps: int
    batch: int
    hidden: int
    reverse: bool
    lengths: bool
    x_step: int
    x_row: int
    y_step: int
    y_row: int

    @property
    def flops(self) -> int:
        """Operations of the recurrent products, a multiply-add being 2."""
        return 2 * self.steps * self.batch * self.cell.gates * self.hidden * self.hidden

    @property
    def names(self) -> tuple[str, ...]:
        """The kernel's parameters."""
        lengths = ("lengths",) if self.lengths else ()
        between = ("between",) if len(self.cell.phases) > 1 else ()
        cell = ("y_c",) if self.cell.kind == "lstm" else ()
        return ("x", *self.cell.arguments, *lengths, "state", *between, "y", "y_h", *cell)

    @property
    def types(self) -> tuple[str, ...]:
        """Their element types."""
        return tuple("int32" if name == "lengths" else "float32" for name in self.names)

    def size(self, name: str, machine: Machine) -> int:
        """Elements of a parameter, from its first to its last."""
        state, gates = self.batch * self.hidden, self.cell.gates
        last = (self.steps - 1, self.batch - 1)
        return {
            "x": last[0] * self.x_step + last[1] * self.x_row + gates * self.hidden,
            "r": packed_size(self.cell, self.hidden, machine),
            "p": 3 * self.hidden, "b": self.hidden, "lengths": self.batch,
            "state": 2 * state, "between": 2 * state,
            "y": last[0] * self.y_step + last[1] * self.y_row + self.hidden,
        }.get(name, state)  # fmt: skip


@dataclass(frozen=True)
class Blocks:
    """Equal blocks of hidden units, behind one another.

    Args:
        first: The first vector of units.
        vectors: Of each block.
        count: Blocks.
        used: Units of a block's last vector.
    """

    first: int
    vectors: int
    count: int
    used: int


_SUMS = 8
"""Vectors of sums that hide a multiply-add's latency."""


def blocks(gates: int, hidden: int, machine: Machine) -> list[Blocks]:
    """The blocks of hidden units whose sums of so many gates are computed together.

    For threads, whose vectors are one number, all are one block: neighbours lie side by side.
    """
    lanes = machine.lanes
    if lanes == 1:
        return [Blocks(0, hidden, 1, 1)]
    whole, every = hidden // lanes, -(-hidden // lanes)
    vectors = max(1, min(_SUMS // gates, whole // machine.cores))
    full = whole // vectors
    found = [Blocks(0, vectors, full, lanes)] if full else []
    if every > full * vectors:
        used = hidden - (every - 1) * lanes
        found.append(Blocks(full * vectors, every - full * vectors, 1, used))
    return found


def rows_at_once(gates: int, vectors: int, batch: int, machine: Machine) -> int:
    """Sequences whose sums are held in registers together, their weights loaded once."""
    free = machine.registers - machine.spare - gates * vectors
    return max(1, min(batch, free // (gates * vectors + 1)))


def packed_size(cell: Cell, hidden: int, machine: Machine) -> int:
    """Elements of a cell's weights as they are packed."""
    return cell.gates * hidden * -(-hidden // machine.lanes) * machine.lanes


def packed(weights: np.ndarray[Any, Any], cell: Cell, machine: Machine) -> np.ndarray[Any, Any]:
    """Recurrent weights [gates * hidden, hidden] in the order that the kernel reads them.

    For each phase and block of units, and for each unit of the state before, the vectors of all
    gates lie side by side; those that hold fewer units end with zeros.
    """
    hidden, lanes = weights.shape[1], machine.lanes
    wide = -(-hidden // lanes) * lanes
    made = np.zeros((cell.gates, wide, hidden), np.float32)
    made[:, :hidden] = weights.reshape(cell.gates, hidden, hidden)
    pieces: list[np.ndarray[Any, Any]] = []
    for gates in cell.phases:
        some = made[list(gates)]
        for block in blocks(len(gates), hidden, machine):
            size = block.vectors * lanes
            start = block.first * lanes
            for at in range(start, start + block.count * size, size):
                pieces.append(some[:, at : at + size].transpose(2, 0, 1).reshape(-1))
    return np.concatenate(pieces)


def phase_at(cell: Cell, number: int, hidden: int, machine: Machine) -> int:
    """Where a phase's weights begin."""
    before = sum(len(gates) for gates in cell.phases[:number])
    return before * hidden * -(-hidden // machine.lanes) * machine.lanes


def activation_calls(spec: Recurrent) -> int:
    """Numbers that a run puts through activations."""
    each = {"lstm": 5, "gru": 3, "rnn": 1}[spec.cell.kind]
    return each * math.prod((spec.steps, spec.batch, spec.hidden))
