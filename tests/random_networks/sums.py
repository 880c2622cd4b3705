# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Products, reductions, softmax and normalisations."""

from __future__ import annotations

import math
from typing import Any

from tests.random_networks.drawing import (
    FLOATS,
    WIDTHS,
    Draw,
    axes_of,
    axis_of,
    named,
    picked,
    read,
)
from tests.random_networks.network import Network, UnusableError


def product(draw: Draw, n: Network) -> str:
    """MatMul with a stored, computed or given operand on either side."""
    x = picked(draw, n, [*FLOATS, "int32", "int64"], (2, 3, 4, 1))
    value = n[x]
    dtype, shape = value.dtype, list(value.shape)
    kind = "normal" if dtype[0] == "f" else "whole"
    form = draw.one_of("right", "left", "batched", "own transposed", "vector")
    if form == "own transposed" and len(shape) > 1:
        turn = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
        return n.op("MatMul", x, n.op("Transpose", x, perm=turn))
    if form == "vector":
        return n.op("MatMul", x, n.weight(dtype, (shape[-1],), kind))
    make = n.input if draw.one_of(0, 0, 1) else n.weight
    width = draw.one_of(*WIDTHS)
    batch = shape[:-2] if form == "batched" else []
    if form == "batched" and not batch:
        batch = [draw.one_of(2, 1, 3)]
    if form == "left" and len(shape) > 1:
        return n.op("MatMul", make(dtype, (width, shape[-2]), kind), x)
    return n.op("MatMul", x, make(dtype, (*batch, shape[-1], width), kind))


def gemm(draw: Draw, n: Network) -> str:
    """Gemm of every form."""
    x = picked(draw, n, FLOATS, (2,))
    a, b = n[x].shape
    dtype = n[x].dtype
    given: dict[str, Any] = {}
    if draw.yes():
        given["transA"] = 1
        a, b = b, a
    columns = draw.one_of(*WIDTHS)
    shape = (b, columns)
    if draw.yes():
        given["transB"] = 1
        shape = (columns, b)
    if draw.yes():
        given |= {"alpha": 0.5, "beta": -2.0}
    reads = [x, n.weight(dtype, shape, "normal")]
    if n.opset < 11 or draw.yes():
        form = draw.one_of((columns,), (1, columns), (a, 1), (), (1,), (a, columns))
        reads.append(n.weight(dtype, form, "normal"))
    return n.op("Gemm", *reads, **given)


def einsum(draw: Draw, n: Network) -> str:
    """Einsum of the forms that attention and mixers write."""
    if n.opset < 12:
        raise UnusableError
    x = picked(draw, n, ["float32"], (2, 3, 4))
    shape = n[x].shape
    letters = "abcd"[: len(shape)]
    form = draw.one_of("ij,jk->ik", "turned", "outer", "trace", "batched")
    if form == "turned":
        return n.op("Einsum", x, equation=f"{letters}->{letters[::-1]}")
    if form == "trace":
        return n.op("Einsum", x, equation=f"{letters}->{letters[0]}")
    if form == "outer":
        w = n.weight("float32", (draw.one_of(3, 1, 5),), "normal")
        return n.op("Einsum", x, w, equation=f"{letters},z->{letters}z")
    if form == "batched":
        w = n.weight("float32", shape, "normal")
        last, inner = letters[:-2], letters[-2:]
        equation = f"{last}{inner},{last}z{inner[1]}->{last}{inner[0]}z"
        return n.op("Einsum", x, w, equation=equation)
    w = n.weight("float32", (shape[-1], draw.one_of(3, 8)), "normal")
    return n.op("Einsum", x, w, equation=f"{letters},{letters[-1]}z->{letters[:-1]}z")


REDUCTIONS = (
    "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceProd",
    "ReduceSumSquare", "ReduceL1", "ReduceLogSumExp", "ReduceLogSum",
)  # fmt: skip


def reduction(draw: Draw, n: Network) -> str:
    """A reduction over some or all axes."""
    kind = draw.one_of(*REDUCTIONS)
    kinds = [*FLOATS, "int32", "int64"]
    kinds += ["uint8", "int8"] if kind in ("ReduceMax", "ReduceMin") and n.opset >= 12 else []
    x = picked(draw, n, kinds)
    rank = n[x].array.ndim
    if kind == "ReduceLogSum":
        x = n.op("Add", n.op("Abs", x), n.put(1, n[x].dtype))
    since = 13 if kind == "ReduceSum" else 18
    more = {"keepdims": 0} if draw.yes() else {}
    if not rank or draw.one_of(0, 0, 0, 1):
        if draw.yes() and n.opset >= since:
            more["noop_with_empty_axes"] = draw.one_of(0, 1)
        return n.op(kind, x, **more)
    axes = axes_of(draw, rank)
    axes = [a % rank for a in axes] if n.opset < 11 else axes
    return n.op(kind, x, *read(n, since, axes), **named(n, since, "axes", axes), **more)


def place_of_most(draw: Draw, n: Network) -> str:
    """ArgMax and ArgMin, with ties."""
    kinds = [*FLOATS, "int32", "uint8", "int8"] if n.opset >= 13 else ["float32", "int32"]
    x = picked(draw, n, kinds)
    axis = axis_of(draw, n[x].array.ndim)
    axis = axis % (n[x].array.ndim or 1) if n.opset < 11 else axis
    more = {"keepdims": 0} if draw.yes() else {}
    if n.opset >= 12 and draw.one_of(0, 0, 1):
        more["select_last_index"] = 1
    return n.op(draw.one_of("ArgMax", "ArgMin"), x, axis=axis, **more)


def softmax(draw: Draw, n: Network) -> str:
    """Softmax, LogSoftmax, Hardmax; before opset 13 over all axes from one on."""
    x = picked(draw, n, FLOATS)
    rank = n[x].array.ndim
    kind = draw.one_of("Softmax", "LogSoftmax", "Softmax", "Hardmax")
    axis = axis_of(draw, rank)
    axis = axis % (rank or 1) if n.opset < 11 else axis
    return n.op(kind, x, **({} if draw.yes() else {"axis": axis}))


def running_sum(draw: Draw, n: Network) -> str:
    """CumSum, exclusive and backwards too."""
    x = picked(draw, n, ["float32", "float64", "int32", "int64"])
    if not n[x].shape or n.opset < 11:
        raise UnusableError
    more = {name: 1 for name in ("exclusive", "reverse") if draw.yes()}
    axis = n.put(axis_of(draw, n[x].array.ndim), draw.one_of("int64", "int32"))
    return n.op("CumSum", x, axis, **more)


def normalisation(draw: Draw, n: Network) -> str:
    """Batch, instance, layer, group, local and unit norms."""
    kinds = ["BatchNormalization", "InstanceNormalization", "LRN", "LpNormalization"]
    kinds += ["MeanVarianceNormalization"] if n.opset >= 9 else []
    kinds += ["LayerNormalization", "by hand"] if n.opset >= 17 else []
    kinds += ["GroupNormalization"] if n.opset >= 21 else []
    kinds += ["RMSNormalization"] if n.opset >= 23 else []
    kind = draw.one_of(*kinds)
    x = picked(draw, n, ["float32", "float16"], (4, 3, 2, 5))
    dtype, shape = n[x].dtype, n[x].shape
    rank, c = len(shape), shape[1]

    def scale(*of: int) -> str:
        return n.weight(dtype, of, "positive")

    def shift(*of: int) -> str:
        return n.weight(dtype, of, "normal")

    epsilon = {"epsilon": draw.one_of(1e-2, 1e-3)} if draw.yes() else {}
    if kind == "BatchNormalization":
        reads = [scale(c), shift(c), shift(c), scale(c)]
        return n.op(kind, x, *reads, **epsilon)
    if kind == "InstanceNormalization":
        return n.op(kind, x, scale(c), shift(c), **epsilon)
    if kind == "LRN":
        more = {"beta": draw.one_of(0.5, 1.0)} if draw.yes() else {}
        more |= {"alpha": 0.5, "bias": 2.0} if draw.yes() else {}
        return n.op(kind, x, size=draw.one_of(3, 5, 1), **more)
    if kind == "LpNormalization":
        more = {"axis": axis_of(draw, rank)} if draw.yes() else {}
        return n.op(kind, x, p=draw.one_of(2, 1), **more)
    if kind == "MeanVarianceNormalization":
        more = (
            {}
            if draw.yes() and rank == 4
            else {"axes": sorted(a % rank for a in axes_of(draw, rank))}
        )
        return n.op(kind, x, **more)
    if kind == "GroupNormalization":
        groups = draw.one_of(1, c, *(g for g in range(2, c) if c % g == 0))
        return n.op(kind, x, scale(c), shift(c), num_groups=groups, **epsilon)
    axis = axis_of(draw, rank)
    inner = shape[axis:]
    if kind == "RMSNormalization":
        return n.op(kind, x, scale(*inner), axis=axis, **epsilon)
    if kind == "LayerNormalization":
        reads = [scale(*inner), *([shift(*inner)] if draw.yes() else [])]
        return n.op(kind, x, *reads, axis=axis, **epsilon)
    mean = n.op("ReduceMean", x, *read(n, 18, [-1]), **named(n, 18, "axes", [-1]))
    away = n.op("Sub", x, mean)
    square = n.op("Pow", away, n.put(2, dtype))
    spread = n.op("ReduceMean", square, *read(n, 18, [-1]), **named(n, 18, "axes", [-1]))
    root = n.op("Sqrt", n.op("Add", spread, n.put(1e-2, dtype)))
    return n.op("Div", away, root)


def attention(draw: Draw, n: Network) -> str:
    """Heads split by reshape and transpose, two products, softmax between."""
    x = picked(draw, n, ["float32", "float16"], (3,))
    batch, tokens, width = n[x].shape
    dtype = n[x].dtype
    heads = draw.one_of(*(h for h in (1, 2, 3, 4) if width % h == 0))
    parts = []
    for turn in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
        y = n.op("MatMul", x, n.weight(dtype, (width, width), "normal"))
        y = n.op("Mul", y, n.put(round(0.5 / math.sqrt(width), 3), dtype))
        y = n.op("Reshape", y, n.put([batch, tokens, heads, width // heads], "int64"))
        parts.append(n.op("Transpose", y, perm=turn))
    q, k, v = parts
    axis = -1 if n.opset >= 11 else 3
    scores = n.op("Softmax", n.op("MatMul", q, k), axis=axis)
    y = n.op("Transpose", n.op("MatMul", scores, v), perm=[0, 2, 1, 3])
    y = n.op("Reshape", y, n.put([batch, tokens, width], "int64"))
    return n.op("Add", x, y)


FAMILY = (
    reduction, product, softmax, normalisation, normalisation, gemm, reduction, place_of_most,
    running_sum, einsum, attention,
)  # fmt: skip
