# SPDX-License-Identifier: Apache-2.0
"""Matrix products: by a constant, as a 1x1 convolution; of two tensors, batched."""

from __future__ import annotations

import math

import numpy as np

from splitc_targets.graph.graph import Node, Value
from splitc_targets.graph.views import View, packed
from splitc_targets.kernels.product import dot, geometry
from splitc_targets.kernels.product import matmul as products
from splitc_targets.loops.fused import Operand
from splitc_targets.plan.choices import decided, filled
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules.maps import channel_vector, describe, shapes_of
from splitc_targets.rules.products import plan_product


def _matmul(planner: Planner, node: Node) -> bool:
    """By the node's family; by none of ours where it has none."""
    if not node.family:
        return False
    return _batched(planner, node) if node.family == "matmul" else _by_constant(planner, node)


def _by_constant(planner: Planner, node: Node) -> bool:
    """[…, K] x [K, N]: rows are pixels, columns output channels."""
    a, b = node.args[0], node.args[1]
    depth, columns = b.shape
    rows = a.size // depth
    view = _rows(planner.place(a), rows, depth)
    whole = {"dot": dot.FOUR, "pairs": geometry.PAIR}.get(node.family, 1)
    if view is None or view.strides[0] % whole:
        view = planner.dense(a).reshaped((rows, depth))
    target = planner.result(node.output, packed(node.output.shape))
    flat = target.reshaped((rows, columns))
    if view is None or flat is None or (columns > 1 and flat.strides[1] != 1):
        return False
    kinds: list[Operand] = []
    extras: list[View] = []
    for value in node.args[-1]:
        channel = channel_vector(planner, value, node)
        if channel is not None:
            kinds.append(Operand("channel"))
            extras.append(channel)
            continue
        beside = planner.dense(value).reshaped((rows, columns))
        if beside is None:
            return False
        kinds.append(Operand("tensor", columns, dtype=beside.buffer.dtype))
        extras.append(beside)
    pixel = view.strides[0] if rows > 1 else depth
    out = flat.strides[0] if rows > 1 else columns
    spec = geometry.Conv(
        batch=1, height=1, width=rows, channels=depth, groups=1,
        out_height=1, out_width=rows, out_channels=columns,
        kernel=(1, 1), stride=(1, 1), dilation=(1, 1), pad=(0, 0),
        x_pixel=pixel, x_row=pixel * rows, x_image=pixel * rows, x_channel=1,
        y_pixel=out, y_row=out * rows, y_image=out * rows,
        expression=node.attrs["expression"], operands=tuple(kinds), y_dtype=flat.buffer.dtype,
    )  # fmt: skip
    rule = "gemm" if rows > 1 else "gemv"
    weights = b.data.T[:, :, None, None]
    return plan_product(planner, node, spec, weights, [view, *extras, flat], rule)


def _batched(planner: Planner, node: Node) -> bool:
    """[…, M, K] x […, K, N] for any batch dimensions; a vector is a matrix of one row or column."""
    a, b = node.args[0], node.args[1]
    shape = node.output.shape
    depth = a.shape[-1]
    rows = a.shape[-2] if len(a.shape) > 1 else 1
    columns = b.shape[-1] if len(b.shape) > 1 else 1
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    pairs = math.prod(batch)
    x = _matrices(planner, a, (rows, depth), batch)
    w = _matrices(planner, b, (depth, columns), batch)
    target = planner.result(node.output, result_strides(planner, node))
    y = target.reshaped((pairs, rows, columns))
    if y is None:
        target = planner.fresh(shape, node.output.dtype, packed(shape))
        planner.set(node.output, target)
        y = target.reshaped((pairs, rows, columns))
    if x is None or w is None or y is None or (columns > 1 and y.strides[2] != 1):
        return False
    kinds: list[Operand] = []
    extras: list[View] = []
    for value in node.args[-1]:
        if value.size == 1:
            kinds.append(Operand("scalar"))
            extras.append(planner.dense(value))
            continue
        whole = _spread(planner, planner.dense(value).broadcast(shape), (pairs, rows, columns))
        kinds.append(Operand("tensor", columns, rows * columns, rows * columns))
        extras.append(whole)
    spec = geometry.Conv(
        batch=pairs, height=1, width=rows, channels=depth, groups=1,
        out_height=1, out_width=rows, out_channels=columns,
        kernel=(1, 1), stride=(1, 1), dilation=(1, 1), pad=(0, 0),
        x_pixel=x.strides[1], x_row=0, x_image=x.strides[0], x_channel=x.strides[2],
        y_pixel=y.strides[1], y_row=0, y_image=y.strides[0],
        expression=node.attrs["expression"], operands=tuple(kinds),
    )  # fmt: skip
    machine = planner.machine
    plain = geometry.Matmul(spec, *w.strides)
    choice = decided(planner.choices, plain, machine)
    product = geometry.sized(filled(plain, choice), machine)
    planner.step(
        ("matmul", product), lambda name: products.kernel(name, product, machine),
        [x, w, *extras, y], "matmul", describe(node), shapes_of(a, b, node.output), spec.flops,
        product=plain, choice=choice,
    )  # fmt: skip
    return True


def _matrices(
    planner: Planner, value: Value, sides: tuple[int, int], batch: tuple[int, ...]
) -> View | None:
    """A value as one matrix for each member of the batch."""
    own = (*value.shape[:-2], *sides)
    wanted = (math.prod(batch), *sides)
    here = planner.place(value).reshaped(own)
    found = here.broadcast((*batch, *sides)).reshaped(wanted) if here else None
    if found is not None:
        return found
    dense = planner.dense(value).reshaped(own)
    return None if dense is None else _spread(planner, dense.broadcast((*batch, *sides)), wanted)


def _spread(planner: Planner, view: View, wanted: tuple[int, ...]) -> View:
    """A view under another shape, dense; copied where it is not."""
    if not view.dense:
        target = planner.fresh(view.shape, view.buffer.dtype, packed(view.shape))
        planner.copy(view, target, "broadcast")
        view = target
    return View(view.buffer, view.offset, wanted, packed(wanted))


def result_strides(planner: Planner, node: Node) -> tuple[int, ...]:
    """Strides in the order that the only reader, a transpose, will give the result."""
    shape = node.output.shape
    readers = planner.readers(node.output)
    if len(readers) == 1 and readers[0].op == "permute_dims" and readers[0].attrs["axes"]:
        axes = readers[0].attrs["axes"]
        if axes[-1] == len(shape) - 1:
            inner = packed(readers[0].output.shape)
            strides = [0] * len(shape)
            for position, axis in enumerate(axes):
                strides[axis] = inner[position]
            return tuple(strides)
    return packed(shape)


def _rows(view: View, rows: int, depth: int) -> View | None:
    """The view as a matrix whose columns are dense, where it is one."""
    flat = view.reshaped((rows, depth))
    if flat is None or (depth > 1 and flat.strides[1] != 1) or math.prod(flat.shape) == 0:
        return None
    return flat


RULES: dict[str, Rule] = {"matmul": _matmul}
