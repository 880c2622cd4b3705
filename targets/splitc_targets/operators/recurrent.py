# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Recurrent layers in Relax: the products of all inputs at once, then an operation of our own.

One direction is a product with the input weights and the biases, which rules know, and the
operation `recurrent`, which keeps its state through all steps. Both formats' layers come here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax

from splitc_targets.operators.own import own_call
from splitc_targets.source.recurrent import Direction, described, usual


@dataclass(frozen=True)
class Tensors:
    """What one direction of a layer reads, as Relax expressions.

    Args:
        x: [steps, batch, width].
        w: Input weights [gates * hidden, width].
        r: Recurrent weights [gates * hidden, hidden].
        w_bias, r_bias: [gates * hidden]; None where there are none.
        h: The first state [batch, hidden]; None for zeros.
        c: An LSTM's first cell; None for zeros.
        peepholes: [3 * hidden]; None where there are none.
        lengths: int32 [batch]; None where all sequences are whole.
    """

    x: Any
    w: Any
    r: Any
    w_bias: Any = None
    r_bias: Any = None
    h: Any = None
    c: Any = None
    peepholes: Any = None
    lengths: Any = None


def layer(builder: Any, of: Direction, given: Tensors) -> list[Any]:
    """States of all steps [steps, batch, hidden], the last one, and of an LSTM the last cell."""
    steps, batch, _ = sizes(given.x)
    hidden, dtype = sizes(given.r)[1], str(given.x.ty.dtype)
    emit, gates = builder.emit, sizes(given.r)[0] // hidden
    x = emit(relax.op.matmul(given.x, emit(relax.op.permute_dims(given.w))))
    biases = (given.w_bias, given.r_bias)
    apart = relax.const(np.zeros(hidden, dtype), dtype)
    if of.reset_after and given.r_bias is not None:  # The candidate's is reset with its product.
        apart = piece(builder, given.r_bias, 0, (gates - 1) * hidden, hidden)
        rest = piece(builder, given.r_bias, 0, 0, (gates - 1) * hidden)
        zeros = relax.const(np.zeros(hidden, dtype), dtype)
        biases = (given.w_bias, emit(relax.op.concat([rest, zeros], 0)))
    for bias in biases:
        x = x if bias is None else emit(relax.op.add(x, bias))
    nothing = relax.const(np.zeros((batch, hidden), dtype), dtype)
    first = (given.h, given.c)[: of.states]
    args = [x, given.r, *(nothing if state is None else state for state in first)]
    if given.peepholes is not None:
        args.append(given.peepholes)
    if of.reset_after:
        args.append(apart)
    if given.lengths is not None:
        args.append(given.lengths)
    kinds = [((steps, batch, hidden), dtype), *[((batch, hidden), dtype)] * of.states]
    attrs = {**of.attributes, "peepholes": given.peepholes is not None}
    made = emit(own_call("recurrent", args, attrs, kinds))
    return [emit(relax.TupleGetItem(made, k)) for k in range(len(kinds))]


def piece(builder: Any, tensor: Any, axis: int, start: int, count: int) -> Any:
    """A stretch of an axis; of a constant, a constant."""
    if isinstance(tensor, tvm.ir.GenericConst):
        found = np.take(tensor.value.numpy(), range(start, start + count), axis)
        return relax.const(found, str(tensor.ty.dtype))
    return builder.emit(relax.op.strided_slice(tensor, [axis], [start], [start + count]))


def sizes(tensor: Any) -> tuple[int, ...]:
    """A tensor's extents."""
    return tuple(int(size) for size in tensor.ty.shape.values)


def _of_direction(builder: Any, tensor: Any, number: int, axis: int = 0) -> Any:
    """One of what lies along the axis of directions; None of nothing."""
    if tensor is None:
        return None
    if isinstance(tensor, tvm.ir.GenericConst):
        return relax.const(np.take(tensor.value.numpy(), number, axis), str(tensor.ty.dtype))
    one = piece(builder, tensor, axis, number, 1)
    return builder.emit(relax.op.squeeze(one, [axis]))


def from_onnx(builder: Any, op: str, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """The results of an ONNX node: Y, Y_h and, of an LSTM, Y_c."""
    x, w, r, bias, lengths, h, c, peepholes = (*inputs, *[None] * (8 - len(inputs)))
    batch_first = bool(attrs.get("layout", 0))
    states_axis = 1 if batch_first else 0
    if batch_first:
        x = builder.emit(relax.op.permute_dims(x, [1, 0, 2]))
    found: list[list[Any]] = []
    for number, of in enumerate(described(op, attrs)):
        w_bias, r_bias = _halves(builder, _of_direction(builder, bias, number))
        given = Tensors(
            x=x, w=_of_direction(builder, w, number), r=_of_direction(builder, r, number),
            w_bias=w_bias, r_bias=r_bias, h=_of_direction(builder, h, number, states_axis),
            c=_of_direction(builder, c, number, states_axis),
            peepholes=_of_direction(builder, peepholes, number), lengths=lengths,
        )  # fmt: skip
        found.append(layer(builder, of, given))
    every, *last = zip(*found, strict=True)
    results = [_stacked(builder, each, states_axis) for each in last]
    y = _stacked(builder, every, 1)
    if batch_first:  # steps, directions, batch, hidden: to batch, steps, directions, hidden
        y = builder.emit(relax.op.permute_dims(y, [2, 0, 1, 3]))
    return relax.Tuple([y, *results])


def _halves(builder: Any, bias: Any) -> tuple[Any, Any]:
    """The biases of inputs and states, which lie behind one another; None twice of nothing."""
    if bias is None:
        return None, None
    half = sizes(bias)[0] // 2
    return piece(builder, bias, 0, 0, half), piece(builder, bias, 0, half, half)


def _stacked(builder: Any, tensors: Sequence[Any], axis: int) -> Any:
    """Tensors side by side along a new axis."""
    wide = [builder.emit(relax.op.expand_dims(each, axis)) for each in tensors]
    return wide[0] if len(wide) == 1 else builder.emit(relax.op.concat(wide, axis))


_ONNX_ORDER = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "rnn": (0,)}
"""PyTorch's gates in ONNX's order."""


@dataclass(frozen=True)
class Stack:
    """Recurrent layers upon one another, as PyTorch calls them.

    Args:
        kind: "lstm", "gru" or "rnn".
        activations: Where they are not the usual.
        layers: How many.
        directions: One or two.
        biases: Whether each direction has two.
        batch_first: Whether sequences are the first dimension of inputs and states given.
    """

    kind: str
    activations: tuple[str, ...]
    layers: int
    directions: int
    biases: bool
    batch_first: bool


def from_torch(
    builder: Any, of: Stack, x: Any, first: Sequence[Any], weights: Sequence[Any]
) -> list[Any]:
    """The results of a call of PyTorch's: all states of the last layer, and the last of each.

    Args:
        builder: Gets the calls.
        of: What is called.
        x: Its input.
        first: The first states, and of an LSTM cells: [layers * directions, batch, hidden].
        weights: For each layer and direction two matrices, and two biases where there are any.
    """
    each = 4 if of.biases else 2
    if of.batch_first:
        x = builder.emit(relax.op.permute_dims(x, [1, 0, 2]))
    last: list[list[Any]] = []
    for number in range(of.layers):
        found: list[Any] = []
        for way in range(of.directions):
            place = number * of.directions + way
            given = weights[place * each : (place + 1) * each]
            ordered = [_in_onnx_order(builder, one, of.kind) for one in given]
            states = [_of_direction(builder, state, place) for state in first]
            w, r, *biases = (*ordered, None, None)
            one = usual(of.kind, reverse=way == 1, names=of.activations)
            tensors = Tensors(x, w, r, biases[0], biases[1], *states)
            made = layer(builder, one, tensors)
            found.append(made[0])
            last.append(made[1:])
        x = found[0] if len(found) == 1 else builder.emit(relax.op.concat(found, 2))
    if of.batch_first:
        x = builder.emit(relax.op.permute_dims(x, [1, 0, 2]))
    return [x, *(_stacked(builder, some, 0) for some in zip(*last, strict=True))]


def _in_onnx_order(builder: Any, weights: Any, kind: str) -> Any:
    """Weights or biases whose gates are in ONNX's order."""
    order = _ONNX_ORDER[kind]
    if len(order) == 1:
        return weights
    shape = sizes(weights)
    places = np.arange(shape[0]).reshape(len(order), -1)[list(order)].reshape(-1)
    return builder.emit(relax.op.take(weights, relax.const(places, "int64"), axis=0))
