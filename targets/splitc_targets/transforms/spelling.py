# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Operations in terms of others that rules compute quicker, or rightly at all."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from splitc_targets.graph.graph import Graph, Node, Value, constant, made
from splitc_targets.transforms.elementwise import INTEGERS


def spell(graph: Graph) -> None:
    """Rewrite in place what TVM's own loops would misjudge: see the functions below."""
    replaced: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        steps = None
        if len(node.outputs) == 1:
            steps = next((found for each in _SPELLINGS if (found := each(node)) is not None), None)
        if steps is None:
            nodes.append(node)
            continue
        more, value = steps
        nodes += more
        replaced[node.output] = value
    graph.nodes = nodes
    graph.replace(replaced)


Steps = tuple[list[Node], Value]
"""The nodes that stand for one, and what they give."""


def _of_nothing(node: Node) -> Steps | None:
    """A sum, product or bound of no elements: what it starts from, which TVM leaves unwritten."""
    op = node.op.removeprefix("tir.").rstrip("0123456789")
    if op not in _OF_NOTHING or not node.inputs or node.output.size == 0:
        return None
    if all(value.size for value in node.inputs):
        return None
    dtype, start = np.dtype(node.output.dtype), _OF_NOTHING[op]
    if dtype.kind in "iu" and start in _LIMITS:
        start = getattr(np.iinfo(dtype), _LIMITS[start])
    elif dtype.kind != "f" and not math.isfinite(start):
        return None
    return [], constant(np.full(node.output.shape, start, dtype))


_OF_NOTHING = {
    "matmul": 0.0, "einsum": 0.0, "sum": 0.0, "prod": 1.0, "mean": math.nan, "max": -math.inf,
    "min": math.inf,
}  # fmt: skip
_LIMITS = {-math.inf: "min", math.inf: "max"}


def _group_norm(node: Node) -> Steps | None:
    """Group normalisation as that of rows, a row being a group of channels.

    TVM's loops take the variance as a difference of means, which far from 0 cancels to below 0.
    """
    if node.op != "nn.group_norm" or node.output.dtype != "float32" or node.output.size == 0:
        return None
    x, attrs = node.args[0], node.attrs
    rank, groups = len(x.shape), attrs["num_groups"]
    every = [attrs["channel_axis"] % rank, *(a % rank for a in attrs["axes"])]
    if sorted(every) != list(range(1, rank)) or every[0] != 1:
        return None
    columns = x.size // (x.shape[0] * groups)
    flat = made("reshape", [x, (x.shape[0], groups, columns)], (x.shape[0], groups, columns),
                x.dtype)  # fmt: skip
    ones, zeros = (constant(np.full(columns, v, np.float32)) for v in (1, 0))
    normal = made("nn.layer_norm", [flat.output, ones, zeros], flat.output.shape, x.dtype,
                  axes=(2,), epsilon=attrs["epsilon"], center=False, scale=False)  # fmt: skip
    back = made("reshape", [normal.output, x.shape], x.shape, x.dtype)
    steps, value = [flat, normal, back], back.output
    for used, op, vector in (("scale", "multiply", 1), ("center", "add", 2)):
        if attrs[used]:
            shape = (x.shape[1], *[1] * (rank - 2))
            line = made("reshape", [node.args[vector], shape], shape, x.dtype)
            step = made(op, [value, line.output], x.shape, x.dtype)
            steps, value = [*steps, line, step], step.output
    return steps, value


def _scattered_slice(node: Node) -> Steps | None:
    """A tensor with a dense slice replaced: what is before it, the slice, what is behind it."""
    if node.op != "slice_scatter" or node.output.size == 0:
        return None
    x, slice_, *bounds = node.args
    if not all(isinstance(each, int) for each in bounds) or bounds[2] != 1:
        return None
    axis = node.attrs["axis"] % len(x.shape)
    size = x.shape[axis]
    first = min(max(bounds[0] + size if bounds[0] < 0 else bounds[0], 0), size)
    after = first + slice_.shape[axis]
    if slice_.dtype != x.dtype or after > size or not slice_.size:
        return None

    def part(start: int, end: int) -> Node:
        shape = (*x.shape[:axis], end - start, *x.shape[axis + 1 :])
        return made("strided_slice", [x, [axis], [start], [end], [1]], shape, x.dtype)

    before = [part(0, first)] if first else []
    behind = [part(after, size)] if after < size else []
    parts = [*(p.output for p in before), slice_, *(p.output for p in behind)]
    whole = made("concat", [parts], x.shape, x.dtype, axis=axis)
    return [*before, *behind, whole], whole.output


def _triangle(node: Node) -> Steps | None:
    """The part of matrices on one side of a diagonal: a choice by the places' own numbers."""
    if node.op not in ("tril", "triu") or node.output.size == 0:
        return None
    x, shift = node.args
    rows, columns = x.shape[-2:]
    if not isinstance(shift, int):
        return None
    if x.dtype == "bool" and rows * columns <= _STORED:
        side = np.triu if node.op == "triu" else np.tril
        kept = constant(side(np.ones((rows, columns), bool), shift))
        step = made("logical_and", [x, kept], x.shape, x.dtype)
        return [step], step.output
    if max(rows, columns) + abs(shift) > _COUNTED.get(x.dtype, 0):
        return None
    down, along = np.arange(rows) + shift, np.arange(columns)
    low, high = (down, along) if node.op == "triu" else (along, down)
    sides = [
        constant(side.astype(x.dtype).reshape((-1, 1) if side is down else (1, -1)))
        for side in (low, high)
    ]
    step = made("within", [*sides, x], x.shape, x.dtype)
    return [step], step.output


_COUNTED = {"float32": 2**24, "float64": 2**53, "int32": 2**31 - 1, "int64": 2**63 - 1}
"""Whole numbers up to which a type has them all."""

_STORED = 2**20
"""Truth values of a mask that is stored with the weights."""


def _softplus(node: Node) -> Steps | None:
    """max(x, 0) + log(1 + exp(-|x|)), as Softplus arrives: without rounding the sum with 1."""
    if node.op != "add" or node.output.dtype != "float32":
        return None
    bound, logarithm = (_producer(value) for value in node.args)
    one_more = _argument(logarithm, "log")
    power = _argument(_other(_producer(one_more), "add", 1.0), "exp")
    size = _argument(_argument(power, "negative"), "abs")
    x = _other(bound, "maximum", 0.0)
    if x is None or size is not x:
        return None
    step = made("softplus", [x], node.output.shape, node.output.dtype)
    return [step], step.output


def _log_sum_exp(node: Node) -> Steps | None:
    """log(sum(exp(x - max))) + max, as ReduceLogSumExp arrives: with infinities as they are.

    The maximum is taken off within finite bounds: infinity less itself is not a number.
    """
    if node.op != "add" or node.output.dtype != "float32":
        return None
    total = _producer(_argument(_producer(node.args[0]), "log"))
    largest = _producer(node.args[1])
    power = _argument(total, "sum") if total is not None else None
    away = _producer(_argument(power, "exp"))
    if total is None or largest is None or away is None:
        return None
    if (away.op, largest.op) != ("subtract", "max") or away.args[1] is not node.args[1]:
        return None
    x, top = away.args
    if x is not largest.args[0] or largest.attrs != total.attrs:
        return None
    limits = np.finfo(np.float32)
    low, high = (constant(np.array(limit, np.float32)) for limit in (limits.min, limits.max))
    steps = [made("maximum", [top, low], top.shape, top.dtype)]
    steps.append(made("minimum", [steps[-1].output, high], top.shape, top.dtype))
    steps.append(made("subtract", [x, steps[-1].output], x.shape, x.dtype))
    steps.append(made("exp", [steps[-1].output], x.shape, x.dtype))
    steps.append(made("sum", [steps[-1].output], total.output.shape, x.dtype, **total.attrs))
    steps.append(made("log", [steps[-1].output], total.output.shape, x.dtype))
    steps.append(made("add", [steps[-1].output, top], node.output.shape, x.dtype))
    return steps, steps[-1].output


def _producer(value: Value | None) -> Node | None:
    return value.producer if isinstance(value, Value) else None


def _argument(given: Node | Value | None, op: str) -> Value | None:
    """The operand of a unary operation; None where it is another."""
    node = given if isinstance(given, Node) else _producer(given)
    return node.args[0] if node is not None and node.op == op else None


def _other(node: Node | None, op: str, number: float) -> Value | None:
    """The operand of an operation that is not this number."""
    if node is None or node.op != op or len(node.args) != 2:
        return None
    for x, y in (node.args, node.args[::-1]):
        if y.data is not None and y.data.size == 1 and float(y.data.reshape(())) == number:
            return x
    return None


_SPELLINGS: tuple[Callable[[Node], Steps | None], ...] = (
    _of_nothing,
    _group_norm,
    _triangle,
    _softplus,
    _log_sum_exp,
    _scattered_slice,
)


_OF_STACK = {"sum": "add", "mean": "add", "max": "maximum", "min": "minimum"}
_STACKED: dict[str, frozenset[str]] = {
    "mean": frozenset({"float32", "float64"}),
    **dict.fromkeys(("sum", "max", "min"), frozenset({"float32", "float64"}) | INTEGERS),
}
"""Types of which one after the other gives what all at once do."""


def unstack(graph: Graph) -> None:
    """Reductions over stacked tensors, as ONNX's Sum, Mean, Max and Min arrive, step by step."""
    consumers = graph.consumers()
    outputs = set(graph.outputs)
    replaced: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        source = node.inputs[0].producer if node.inputs else None
        if (
            node.op in _OF_STACK
            and source is not None
            and source.op == "stack"
            and node.output.dtype in _STACKED[node.op]
            and node.attrs["axis"] == (source.attrs["axis"],)
            and not node.attrs["keepdims"]
            and len(consumers[source.output]) == 1
            and source.output not in outputs
        ):
            total, *rest = [_narrowed(value) for value in source.inputs]
            for term in rest:
                args = [total, term]
                step = made(_OF_STACK[node.op], args, node.output.shape, node.output.dtype)
                nodes.append(step)
                total = step.output
            if node.op == "mean":
                share = constant(np.array(1.0 / len(source.inputs), node.output.dtype))
                step = made("multiply", [total, share], node.output.shape, node.output.dtype)
                nodes.append(step)
                total = step.output
            replaced[node.output] = total
        else:
            nodes.append(node)
    graph.nodes = nodes
    graph.replace(replaced)
    graph.prune()


def _narrowed(value: Value) -> Value:
    """A constant without the dimensions that it only repeats itself along."""
    data = value.data
    if data is None:
        return value
    for axis in range(data.ndim):
        first = data.take([0], axis) if data.shape[axis] else data
        data = first if np.array_equal(np.broadcast_to(first, data.shape), data) else data
    return constant(data)


def spell_variance(graph: Graph) -> None:
    """The variance as the mean of squared distances from the mean."""
    replaced: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        x = node.inputs[0] if node.inputs else None
        if node.op != "variance" or x is None or x.dtype != "float32" or not node.attrs["axis"]:
            nodes.append(node)
            continue
        axes = [a % len(x.shape) for a in node.attrs["axis"]]
        kept = tuple(1 if d in axes else n for d, n in enumerate(x.shape))
        mean = made("mean", [x], kept, x.dtype, axis=node.attrs["axis"], keepdims=True)
        away = made("subtract", [x, mean.output], x.shape, x.dtype)
        square = made("multiply", [away.output, away.output], x.shape, x.dtype)
        out = made("mean", [square.output], node.output.shape, x.dtype, **node.attrs)
        nodes += [mean, away, square, out]
        replaced[node.output] = out.output
    graph.nodes = nodes
    graph.replace(replaced)


def spell_batch_norm(graph: Graph) -> None:
    """Batch normalisation at inference as a multiplication and an addition by constants."""
    replaced: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        stored = [value.data for value in node.inputs[1:]]
        if (
            node.op != "nn.batch_norm"
            or node.outputs[0].dtype != "float32"
            or node.attrs["training"]
            or any(data is None for data in stored)
        ):
            nodes.append(node)
            continue
        gamma, beta, mean, variance = (np.asarray(data, np.float64) for data in stored)
        shape = [1] * len(node.inputs[0].shape)
        shape[node.attrs["axis"]] = -1
        scale = 1.0 / np.sqrt(variance + node.attrs["epsilon"])
        scale = scale * gamma if node.attrs["scale"] else scale
        shift = -mean * scale + (beta if node.attrs["center"] else 0.0)
        out = node.outputs[0]
        scaled = made("multiply", [node.inputs[0], _stored(scale, shape)], out.shape, out.dtype)
        moved = made("add", [scaled.output, _stored(shift, shape)], out.shape, out.dtype)
        nodes += [scaled, moved]
        replaced[out] = moved.output
    graph.nodes = nodes
    graph.replace(replaced)


def spell_prelu(graph: Graph) -> None:
    """PReLU with its slopes in a shape that is broadcast as other operands are."""
    replaced: dict[Value, Value] = {}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op != "nn.prelu" or node.output.dtype != "float32":
            nodes.append(node)
            continue
        x, slopes = node.args[:2]
        shape = [1] * len(x.shape)
        if x.shape:
            shape[node.attrs["axis"]] = slopes.size
        if slopes.data is not None:
            beside = _stored(slopes.data, shape)
        else:
            nodes.append(made("reshape", [slopes, tuple(shape)], tuple(shape), slopes.dtype))
            beside = nodes[-1].output
        nodes.append(made("prelu", [x, beside], x.shape, x.dtype))
        replaced[node.output] = nodes[-1].output
    graph.nodes = nodes
    graph.replace(replaced)


def _stored(data: np.ndarray, shape: list[int]) -> Value:
    return constant(data.reshape(shape).astype(np.float32))


_WIDE_KERNEL = 16
"""Kernel columns up to which a convolution's code for tiles at the border may be written out."""


def pad_apart(graph: Graph) -> None:
    """Padding of very wide kernels as a copy of its own.

    Code for the border is written out for every kernel column of every tile that it touches,
    which for such kernels takes minutes to compile.
    """
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op in ("nn.conv1d", "nn.conv2d") and node.args[0].dtype == "float32":
            x, pads = node.args[0], tuple(node.attrs["padding"])
            sides = len(pads) // 2
            wide = node.args[1].shape[-1] > _WIDE_KERNEL and any(pads)
            plain = node.attrs["data_layout"] in ("NCHW", "NCW") and len(x.shape) == 2 + sides
            if wide and plain:
                widths = [0, 0, 0, 0]
                for before, after in zip(pads[:sides], pads[sides:], strict=True):
                    widths += [before, after]
                shape = tuple(n + widths[2 * d] + widths[2 * d + 1] for d, n in enumerate(x.shape))
                pad = made("nn.pad", [x], shape, x.dtype, pad_width=tuple(widths),
                           pad_mode="constant", pad_value=0.0)  # fmt: skip
                nodes.append(pad)
                node.args = [pad.output, *node.args[1:]]
                node.attrs = {**node.attrs, "padding": (0,) * len(pads)}
                node.call = None
        nodes.append(node)
    graph.nodes = nodes
