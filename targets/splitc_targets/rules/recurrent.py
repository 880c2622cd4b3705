# SPDX-License-Identifier: Apache-2.0
"""Recurrent layers: one direction a node, the products of its inputs made before."""

from __future__ import annotations

from typing import Any

from splitc_targets.graph.graph import Node, Value
from splitc_targets.graph.views import View, packed
from splitc_targets.kernels.recurrent import geometry, kernel, packing
from splitc_targets.kernels.recurrent.geometry import Activation, Cell, Recurrent
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules.maps import shapes_of


def cell_of(attrs: dict[str, Any]) -> Cell:
    """The cell that a node's attributes describe."""
    return Cell(
        attrs["kind"], tuple(Activation(*each) for each in attrs["activations"]), attrs["clip"],
        attrs["input_forget"], attrs["reset_after"], attrs["peepholes"],
    )  # fmt: skip


def _recurrent(planner: Planner, node: Node) -> bool:
    """(inputs' products [steps, batch, gates * hidden], weights, states, …, lengths?)."""
    x, y = node.args[0], node.outputs[0]
    cell, hidden = cell_of(node.attrs), y.shape[2]
    if x.size == 0 or not _fits(node, cell):
        return False
    source = planner.place(x)
    if source.strides[2] != 1 and x.shape[2] > 1:
        source = planner.laid(x, packed(x.shape))
    beside = dict(zip(cell.arguments, node.args[1:], strict=False))
    lengths = node.args[1 + len(cell.arguments) :]
    views = {name: planner.dense(value) for name, value in beside.items() if name != "r"}
    views["r"] = _weights(planner, beside["r"], cell)
    targets = [planner.result(value, packed(value.shape)) for value in node.outputs]
    targets = [_dense(planner, v, t) for v, t in zip(node.outputs, targets, strict=True)]
    spec = Recurrent(
        cell, x.shape[0], x.shape[1], hidden, node.attrs["reverse"], bool(lengths),
        source.strides[0], source.strides[1], targets[0].strides[0], targets[0].strides[1],
    )  # fmt: skip
    views |= {"x": source, **dict(zip(("y", "y_h", "y_c"), targets, strict=False))}
    if lengths:
        views["lengths"] = planner.dense(lengths[0])
    machine = planner.machine
    for name in ("state", "between"):
        if name in spec.names:
            size = spec.size(name, machine)
            views[name] = planner.fresh((size,), "float32", (1,))
    planner.step(
        ("recurrent", spec), lambda name: kernel.kernel(name, spec, machine),
        [views[name] for name in spec.names], "recurrent", cell.kind, shapes_of(x, y),
        spec.flops, spec.types,
    )  # fmt: skip
    return True


def _fits(node: Node, cell: Cell) -> bool:
    """Whether all that the kernel reads is of the sizes and types that it trusts."""
    x, hidden = node.args[0], node.outputs[0].shape[2]
    batch, rows = x.shape[1], cell.gates * hidden
    state = ((batch, hidden), "float32")
    wanted = {
        "r": ((rows, hidden), "float32"), "h": state, "c": state,
        "p": ((3 * hidden,), "float32"), "b": ((hidden,), "float32"),
    }  # fmt: skip
    kinds = [wanted[name] for name in cell.arguments]
    found = [(value.shape, value.dtype) for value in node.args[1:]]
    whole = x.shape[2] == rows and x.dtype == "float32"
    return whole and found in (kinds, [*kinds, ((batch,), "int32")])


def _dense(planner: Planner, value: Value, view: View) -> View:
    """Where a state is written: units side by side, and for the last states rows too."""
    if view.strides[-1] == 1 and (len(view.shape) == 3 or view.dense):
        return view
    target = planner.fresh(value.shape, value.dtype, packed(value.shape))
    planner.set(value, target)
    return target


def _weights(planner: Planner, weights: Value, cell: Cell) -> View:
    """The recurrent weights packed: now where they are known, else by a kernel in every run."""
    machine = planner.machine
    if weights.data is not None:
        return planner.constant(geometry.packed(weights.data, cell, machine))
    hidden, here = weights.shape[1], planner.place(weights)
    size = geometry.packed_size(cell, hidden, machine)
    target = planner.fresh((size,), "float32", (1,))
    if machine.lanes == 1:
        _transpose(planner, here, target, cell)
        return target
    spec = packing.Packing(cell, hidden, *here.strides)
    planner.step(
        ("recurrent weights", spec), lambda name: packing.kernel(name, spec, machine),
        [here, target], "recurrent weights", "pack", shapes_of(weights),
    )  # fmt: skip
    return target


def _transpose(planner: Planner, weights: View, target: View, cell: Cell) -> None:
    """Weights for vectors of one number: of each phase the transpose."""
    hidden, machine = weights.shape[1], planner.machine
    for number, gates in enumerate(cell.phases):
        some = weights.sliced(0, gates[0] * hidden, len(gates) * hidden)
        at = geometry.phase_at(cell, number, hidden, machine)
        turned = View(target.buffer, at, some.shape, (1, len(gates) * hidden))
        planner.copy(some, turned, "transpose")


RULES: dict[str, Rule] = {"recurrent": _recurrent}
