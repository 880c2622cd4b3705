# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Conversions to Relax that TVM's importer lacks, or has otherwise than PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax

from splitc_targets.aten import further_results
from splitc_targets.aten.constants import VALUE
from splitc_targets.operators import recurrent

Converter = Callable[[Any, Any], Any]
"""Takes a node and TVM's importer, which knows what the nodes before gave."""


def _constant(node: Any, importer: Any) -> Any:
    value = node.meta[VALUE]
    return importer._convert_torch_tensor_to_relax(value)


def _reduced(op: Any) -> Converter:
    """A reduction over some dimensions, or over all where none is named."""

    def convert(node: Any, importer: Any) -> Any:
        x = importer.env[node.args[0]]
        dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
        keep = node.args[2] if len(node.args) > 2 else node.kwargs.get("keepdim", False)
        if not len(x.ty.shape):
            return x
        named = [dims] if isinstance(dims, int) else list(dims or ())
        return importer.block_builder.emit(op(x, named or None, keepdims=keep))

    return convert


def _floor_divided(node: Any, importer: Any) -> Any:
    """A division of whole numbers, rounded down; a number has the tensor's element type."""
    left, right = (importer.env.get(each, each) for each in node.args[:2])
    kind = (left if isinstance(left, relax.Expr) else right).ty.dtype
    left, right = (
        each if isinstance(each, relax.Expr) else relax.const(each, kind) for each in (left, right)
    )
    return importer.block_builder.emit(relax.op.floor_divide(left, right))


def _topk(node: Any, importer: Any) -> Any:
    """In order, also where any order will do."""
    x, k, *rest = node.args
    dim, largest = (*rest, *(-1, True)[len(rest) :])[:2]
    x = importer.env[x]
    return importer.block_builder.emit(relax.op.topk(x, k, dim, largest=largest, dtype="int64"))


def _grid_sampled(node: Any, importer: Any) -> Any:
    """Pixels at given places; Relax has the two coordinates of a place as the second dimension."""
    data, grid = (importer.env[each] for each in node.args[:2])
    how, border, corners = (*node.args[2:], *(0, 0, False)[len(node.args) - 2 :])
    turned = importer.block_builder.emit(relax.op.permute_dims(grid, [0, 3, 1, 2]))
    return importer.block_builder.emit(
        relax.op.image.grid_sample(
            data,
            turned,
            method=("bilinear", "nearest", "bicubic")[how],
            layout="NCHW",
            padding_mode=("zeros", "border", "reflection")[border],
            align_corners=corners,
        )
    )


def _index_put(node: Any, importer: Any) -> Any:
    return importer._index_put(node)


def _scattered(node: Any, importer: Any) -> Any:
    """Values reduced where an index says; `scatter_add` has no word for how."""
    x, dim, index, source, *how = node.args
    kind = {"prod": "mul", "amax": "max", "amin": "min"}[how[0]] if how else "add"
    data, places, values = (importer.env[each] for each in (x, index, source))
    return importer.block_builder.emit(relax.op.scatter_elements(data, places, values, dim, kind))


def _recurrent(kind: str, *activations: str) -> Converter:
    """Layers of recurrent cells, in one call."""

    def convert(node: Any, importer: Any) -> Any:
        x, first, weights, biases, layers, _, _, both, batch_first = node.args
        states = first if isinstance(first, list | tuple) else [first]
        of = recurrent.Stack(kind, activations, layers, 1 + both, biases, batch_first)
        given = ([importer.env[each] for each in some] for some in (states, weights))
        return tuple(recurrent.from_torch(importer.block_builder, of, importer.env[x], *given))

    return convert


def converters() -> dict[str, Converter]:
    """Converters by operator, as `name.overload`."""
    return {
        **further_results.converters(),
        "constant": _constant,
        "amax.default": _reduced(relax.op.max),
        "amin.default": _reduced(relax.op.min),
        "_unsafe_index_put.default": _index_put,
        "grid_sampler_2d.default": _grid_sampled,
        "div.Tensor_mode": _floor_divided,
        "topk.default": _topk,
        "scatter_add.default": _scattered,
        "scatter_reduce.two": _scattered,
        "prod.dim_int": _reduced(relax.op.prod),
        "lstm.input": _recurrent("lstm"),
        "gru.input": _recurrent("gru"),
        "rnn_tanh.input": _recurrent("rnn"),
        "rnn_relu.input": _recurrent("rnn", "relu"),
    }
