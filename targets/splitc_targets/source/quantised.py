# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Operators on quantised tensors, written as the arithmetic that defines them.

TVM 0.27 has no converters for most. Products of dequantised tensors are products of the integers
too, scaled afterwards. The arithmetic is on floats that hold integers: products
and their sums are exact below 2^24, and the schedules keep them so: what would round them is left
out for weights that are whole numbers, but for Winograd's algorithm where the sums are scaled and
rounded next. Scaling, rounding and clipping are elementwise and fuse behind it. Between two such
operators values stay floats; they become integers only for operators that are not known here, and
for results. The schedules hold them as bytes where that serves (transforms/element_types.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from splitc.frontend.onnx.older import opset_of
from splitc.ir.graph import Tensor
from splitc_targets.source.quantised_nodes import Array, Rehearsal, Writer, f32, has_body
from splitc_targets.source.small_types import cast, dequantised, stored_small

CONTRIB = "com.microsoft"
EXACT = 2**24
"""Up to here floats hold every integer."""
OLDEST_OPSET = 11
"""The first whose Clip takes its limits as inputs."""
_UNKNOWN: Mapping[str, Tensor] = MappingProxyType({})
NARROW = (np.dtype(np.uint8), np.dtype(np.int8))


def in_floats(proto: ModelProto, tensors: Mapping[str, Tensor] = _UNKNOWN) -> ModelProto:
    """The same model with quantised operators as arithmetic; the given one stays as it is.

    An operator stays where its scales or weights are computed, not stored, or a zero point is
    that an input that is quantised as it comes does not have.

    Args:
        proto: The model.
        tensors: Shape and type of its tensors, where they are known.
    """
    if opset_of(proto) < OLDEST_OPSET:
        return proto
    small = any(map(stored_small, proto.graph.initializer))
    if not small and not any((n.domain, n.op_type) in REWRITTEN for n in proto.graph.node):
        return proto
    writer = Writer({t.name: t for t in proto.graph.initializer}, tensors)
    for node in proto.graph.node:
        write = REWRITTEN.get((node.domain, node.op_type)) or _USUAL.get(node.op_type)
        if (write is None or not write(writer, node)) and not _moved(writer, node):
            writer.keep(node)
    writer.need(*(output.name for output in proto.graph.output))
    made = ModelProto()
    made.CopyFrom(proto)
    del made.graph.node[:], made.graph.initializer[:]
    made.graph.node.extend(writer.nodes)
    read = {name for node in writer.nodes for name in node.input}
    kept = {t.name for t in proto.graph.initializer}
    if not any(map(has_body, writer.nodes)):
        kept &= read | {output.name for output in proto.graph.output}
    made.graph.initializer.extend(t for t in proto.graph.initializer if t.name in kept)
    made.graph.initializer.extend(writer.stored)
    return made


def can_write(
    node: NodeProto, known: Mapping[str, TensorProto], tensors: Mapping[str, Tensor] = _UNKNOWN
) -> bool:
    """Whether an operator of `REWRITTEN` becomes arithmetic, given what is stored."""
    return REWRITTEN[node.domain, node.op_type](Rehearsal(dict(known), tensors), node)


def _zero(dtype: Any = np.uint8) -> Array:
    return np.zeros((), dtype)


def _narrow(*zeros: Array) -> bool:
    return all(zero.dtype in NARROW for zero in zeros)


def _scalar(*values: Array) -> bool:
    return all(value.size == 1 for value in values)


def _along(value: Array, axis: int, rank: int) -> Array:
    """A vector along one axis of tensors of a rank; a scalar as it is."""
    if value.size == 1:
        return value.reshape(())
    shape = [1] * rank
    shape[axis] = -1
    return value.reshape(shape)


def in_blocks(node: NodeProto) -> bool:
    """Whether a tensor is quantised with a scale for each block of elements along an axis."""
    return node.op_type in _LINEAR and any(a.name == "block_size" and a.i for a in node.attribute)


_LINEAR = ("QuantizeLinear", "DequantizeLinear")


def _of_elements(value: Array, node: NodeProto, shape: Sequence[int]) -> Array | None:
    """Scales or zero points as they broadcast to a tensor's elements.

    Those of blocks once for each element; of the last block there may be fewer. None where their
    shape is not that of the blocks.
    """
    given = {attribute.name: attribute.i for attribute in node.attribute}
    axis, size = given.get("axis", 1), given.get("block_size", 0)
    if not size:
        return _along(value, axis, len(shape))
    if value.ndim != len(shape) or not -value.ndim <= axis < value.ndim:
        return None
    each = np.arange(shape[axis]) // size
    blocks = list(shape)
    blocks[axis] = -(-shape[axis] // size)
    return value.take(each, axis) if list(value.shape) == blocks else None


def _scales_and_zeros(
    to: Writer, node: NodeProto, scale: Array, zero: Array
) -> tuple[Array, Array] | None:
    """Those of what is computed, as they broadcast; None where they are left to TVM."""
    if scale.dtype != np.float32 or not _narrow(zero):
        return None
    if not in_blocks(node):
        return (scale.reshape(()), zero.reshape(())) if _scalar(scale, zero) else None
    tensor = to.tensors.get(node.input[0])
    if tensor is None or tensor.elements is None:
        return None
    shape = tensor.static_shape
    scales = _of_elements(scale, node, shape)
    zeros = _of_elements(zero, node, shape) if zero.ndim else zero
    return None if scales is None or zeros is None else (scales, zeros)


def _quantize_linear(to: Writer, node: NodeProto) -> bool:
    """y = clip(round(x / scale) + zero)."""
    attributes = {a.name: a.i for a in node.attribute}
    kinds = {0: np.uint8, TensorProto.UINT8: np.uint8, TensorProto.INT8: np.int8}
    kind = kinds.get(attributes.get("output_dtype", 0))
    scale, zero = to.value(node, 1), to.value(node, 2, None if kind is None else _zero(kind))
    if scale is None or zero is None:
        return False
    if attributes.get("precision", 0) not in (0, TensorProto.FLOAT):
        return False
    found = _scales_and_zeros(to, node, scale, zero)
    if found is None:
        return False
    scales, zeros = found
    to.rounded(to.add("Div", node.input[0], to.constant(scales)), zeros, node.output[0])
    return True


def _dequantize_linear(to: Writer, node: NodeProto) -> bool:
    """y = (x - zero) scale; done here and now where x is stored."""
    scale, stored = to.value(node, 1), to.value(node, 0)
    zero = to.value(node, 2, _zero(np.uint8 if stored is None else stored.dtype))
    if scale is None or zero is None:
        return False
    if stored is not None:
        return _stored_dequantised(to, node, stored, zero, scale)
    kind = next((a.i for a in node.attribute if a.name == "output_dtype"), 0)
    found = _scales_and_zeros(to, node, scale, zero)
    if found is None or kind not in (0, TensorProto.FLOAT):
        return False
    scales, zeros = found
    centred = to.centred(node.input[0], zeros)
    to.add("Mul", centred, to.constant(scales), output=node.output[0])
    if not scales.ndim:
        to.dequantised[node.output[0]] = (centred, scales)
    return True


def _stored_dequantised(
    to: Writer, node: NodeProto, stored: Array, zero: Array, scale: Array
) -> bool:
    """(x - zero) scale of what is stored, as a stored tensor; False where TVM knows the type."""
    small = stored_small(to.known[node.input[0]])
    if scale.dtype != np.float32 and not small and not in_blocks(node):
        return False
    scales = _of_elements(scale, node, stored.shape)
    zeros = _of_elements(zero, node, stored.shape) if zero.ndim else zero
    if scales is None or zeros is None:
        return False
    kind = np.float32 if small else np.int64  # which hold every number of the types exactly
    whole = (stored.astype(kind) - zeros.astype(kind)).astype(np.float32)
    if scales.dtype == np.float32 and np.array_equal(whole, np.rint(whole)):
        to.stored_whole[node.output[0]] = (whole, scales)
    made = dequantised(whole, scales, _result_type(node, scales))
    to.store(numpy_helper.from_array(made, node.output[0]))
    return True


def _result_type(node: NodeProto, scales: Array) -> np.dtype[Any]:
    """The type that DequantizeLinear gives: of the scales, unless it names one."""
    kind = next((a.i for a in node.attribute if a.name == "output_dtype"), 0)
    return helper.tensor_dtype_to_np_dtype(kind) if kind else scales.dtype


def _cast(to: Writer, node: NodeProto) -> bool:
    """A Cast of what is stored in few bits, as a stored tensor; to floats, of what is in floats."""
    kind = next(a.i for a in node.attribute if a.name == "to")
    if node.input[0] in to.owed and kind == TensorProto.FLOAT:
        to.add("Identity", to.floats[node.input[0]], output=node.output[0])
        return True
    tensor = to.known.get(node.input[0])
    value = cast(node, tensor) if tensor is not None and stored_small(tensor) else None
    if value is None:
        return False
    to.store(value)
    return True


def _dynamic(to: Writer, node: NodeProto) -> bool:
    """DynamicQuantizeLinear: scale and zero point from the values' range, with 0 in it."""
    x, (y, scale, zero) = node.input[0], (*node.output, "", "")[:3]
    none, top = to.constant(np.zeros((), np.float32)), to.constant(np.array(255, np.float32))
    low = to.add("Clip", to.add("ReduceMin", x, keepdims=0), "", none)
    high = to.add("Clip", to.add("ReduceMax", x, keepdims=0), none)
    one = to.constant(np.ones((), np.float32))
    # Of zeros alone, whose range would be a divisor of 0, the step is 1.
    wide = to.add("Sub", high, low)
    flat = to.add("Sub", one, to.add("Clip", to.add("Ceil", wide), "", one))
    step = to.add("Add", to.add("Div", wide, top), flat, output=scale)
    start = to.add("Round", to.add("Sub", none, to.add("Div", low, step)))
    start = to.add("Clip", start, none, top)
    made = to.add("Add", to.add("Round", to.add("Div", x, step)), start)
    to.floats[y], to.owed[y] = to.add("Clip", made, none, top), TensorProto.UINT8
    if zero:
        to.floats[zero], to.owed[zero] = start, TensorProto.UINT8
    return True


def _whole_weights(to: Writer, node: NodeProto) -> tuple[Array, Array] | None:
    """The integers of a product's weights and their scales, one or one for each result channel."""
    if node.domain not in ("", "ai.onnx") or len(node.input) < 2:
        return None
    if node.input[0] not in to.dequantised or node.input[1] not in to.stored_whole:
        return None
    whole, scale = to.stored_whole[node.input[1]]
    given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Gemm":
        if given.get("transA", 0) or any(given.get(n, 1.0) != 1.0 for n in ("alpha", "beta")):
            return None
        if given.get("transB", 0):
            whole, scale = whole.T, scale.T
    channels, rank = (0, whole.ndim) if node.op_type == "Conv" else (1, 2)
    if whole.ndim != rank or scale.size not in (1, whole.shape[channels]):
        return None
    if scale.size > 1 and scale.shape[channels] != scale.size:
        return None
    return whole, scale.reshape(-1)


def _dequantised_product(to: Writer, node: NodeProto) -> bool:
    """Conv, Gemm or MatMul of dequantised tensors: of the integers, then scaled."""
    weights = _whole_weights(to, node)
    if weights is None:
        return False
    (x, x_scale), (whole, w_scale) = to.dequantised[node.input[0]], weights
    conv, scale = node.op_type == "Conv", x_scale * w_scale

    def placed(value: Array) -> Array:
        """A vector over the result's channels, or a matrix beside the result."""
        return _along(value, 1, whole.ndim) if conv else _row(value)

    bias = node.input[2] if len(node.input) > 2 else ""
    if conv and bias and bias not in to.known:
        return False
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute} if conv else {}
    made = to.add("Conv" if conv else "MatMul", x, to.constant(whole), **attributes)
    start, start_scale = to.stored_whole.get(bias, (None, scale))
    if start is not None and start.size in (1, whole.shape[0 if conv else 1]):
        # One number for each channel, and not for each row of as many.
        flat = start.ndim < 2 or start.size == start.shape[-1]
        if flat and np.allclose(start_scale.reshape(-1), scale, rtol=1e-6, atol=0.0):
            made, bias = to.add("Add", made, to.constant(placed(start.reshape(-1)))), ""
    if not bias:
        to.add("Mul", made, to.constant(f32(placed(scale))), output=node.output[0])
        return True
    if conv:
        bias = to.constant(placed(numpy_helper.to_array(to.known[bias])))
    to.add("Add", to.scaled(made, placed(scale)), bias, output=node.output[0])
    return True


def _convolution(to: Writer, node: NodeProto, x: str, weights: str) -> str:
    """Integers convolved, as floats."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return to.add("Conv", x, weights, **attributes)


def _q_linear_conv(to: Writer, node: NodeProto) -> bool:
    """y = clip(round((conv(x - x_zero, w - w_zero) + b) x_scale w_scale / y_scale) + y_zero)."""
    found = [to.value(node, k) for k in range(1, 8)]
    bias = to.value(node, 8, np.zeros(1, np.int32))
    if any(each is None for each in (*found, bias)):
        return False
    x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = (np.asarray(each) for each in found)
    assert bias is not None
    if not _scalar(x_scale, x_zero, y_scale, y_zero) or not _narrow(x_zero, y_zero):
        return False
    whole = f32(w) - f32(_along(w_zero, 0, w.ndim))
    x = to.centred(node.input[0], x_zero.reshape(()))
    made = _convolution(to, node, x, to.constant(whole))
    if bias.any():
        made = to.add("Add", made, to.constant(f32(_along(bias, 1, w.ndim))))
    scale = f32(x_scale).reshape(()) * f32(w_scale) / f32(y_scale).reshape(())
    made = to.scaled(made, _along(scale, 1, w.ndim))
    to.rounded(made, y_zero.reshape(()), node.output[0])
    return True


def _sums_hold(weights: Array, axes: tuple[int, ...]) -> bool:
    """Whether sums over the axes, times bytes less their zero point, are exact as floats.

    The numbers of bytes lie 255 apart with 0 among them, so a sum is largest where all that go
    with weights of one sign are farthest from 0, and those with the other are 0.
    """
    wide = weights.astype(np.float64)
    above, below = (np.maximum(sign * wide, 0).sum(axes).max(initial=0.0) for sign in (1, -1))
    return bool(_BYTE * max(above, below) < EXACT)


_BYTE = 255
"""The farthest that two numbers of a byte lie apart."""


def _less_zero(to: Writer, node: NodeProto, place: int, zero: int) -> str | None:
    """A quantised tensor as floats, less its zero point: one for all, stored or computed."""
    known = to.value(node, zero, _zero())
    if known is not None:
        return to.centred(node.input[place], known.reshape(())) if _scalar(known) else None
    if to.elements(node.input[zero]) != 1:
        return None
    number = to.add("Reshape", to.centred(node.input[zero], _zero()), to.constant(_NO_AXES))
    return to.add("Sub", to.centred(node.input[place], _zero()), number)


_NO_AXES = np.zeros(0, np.int64)


def _conv_integer(to: Writer, node: NodeProto) -> bool:
    """y = conv(x - x_zero, w - w_zero), int32."""
    w, w_zero = to.value(node, 1), to.value(node, 3, _zero())
    if w is None or w_zero is None:
        return False
    whole = f32(w) - f32(_along(w_zero, 0, w.ndim))
    if not _sums_hold(whole, tuple(range(1, w.ndim))):
        return False
    x = _less_zero(to, node, 0, 2)
    if x is None:
        return False
    to.whole(_convolution(to, node, x, to.constant(whole)), node.output[0])
    return True


def _operand(to: Writer, node: NodeProto, place: int, zero: Array) -> str:
    """A matrix as floats, its zero point taken off."""
    stored = to.value(node, place)
    if stored is None:
        return to.centred(node.input[place], zero)
    return to.constant(f32(stored) - f32(zero))


def _row(value: Array) -> Array:
    """A scale or zero point of each column, as a row; a scalar as it is."""
    return value.reshape(()) if value.size == 1 else value


def _q_linear_mat_mul(to: Writer, node: NodeProto) -> bool:
    """y = clip(round((a - a_zero)(b - b_zero) a_scale b_scale / y_scale) + y_zero)."""
    found = [to.value(node, k) for k in (1, 2, 4, 5, 6, 7)]
    if any(each is None for each in found):
        return False
    a_scale, a_zero, b_scale, b_zero, y_scale, y_zero = (np.asarray(each) for each in found)
    if not _scalar(a_scale, a_zero, y_scale, y_zero) or not _narrow(y_zero):
        return False
    left = _operand(to, node, 0, a_zero.reshape(()))
    right = _operand(to, node, 3, _row(b_zero))
    scale = f32(a_scale).reshape(()) * _row(f32(b_scale)) / f32(y_scale).reshape(())
    to.rounded(to.scaled(to.add("MatMul", left, right), scale), y_zero.reshape(()), node.output[0])
    return True


def _mat_mul_integer(to: Writer, node: NodeProto) -> bool:
    """y = (a - a_zero)(b - b_zero), int32."""
    b, b_zero = to.value(node, 1), to.value(node, 3, _zero())
    if b is None or b_zero is None or b.ndim < 2:
        return False
    whole = f32(b) - f32(_row(b_zero))
    if not _sums_hold(whole, (-2,)):
        return False
    left = _less_zero(to, node, 0, 2)
    if left is None:
        return False
    to.whole(to.add("MatMul", left, to.constant(whole)), node.output[0])
    return True


def _q_gemm(to: Writer, node: NodeProto) -> bool:
    """y = (alpha (a - a_zero)(b - b_zero) + c) a_scale b_scale, quantised if it has a scale."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    found = [to.value(node, k) for k in (1, 2, 3, 4, 5)]
    bias, y_scale = (to.value(node, k, np.zeros(0)) for k in (6, 7))
    y_zero = to.value(node, 8, _zero())
    if any(each is None for each in (*found, bias, y_scale, y_zero)):
        return False
    a_scale, a_zero, b, b_scale, b_zero = (np.asarray(each) for each in found)
    bias, y_scale, y_zero = (np.asarray(each) for each in (bias, y_scale, y_zero))
    if not _scalar(a_scale, a_zero) or b.ndim != 2 or attributes.get("transA", 0):
        return False
    b = b.T if attributes.get("transB", 0) else b
    right = to.constant(f32(b) - f32(_row(b_zero)))
    made = to.add("MatMul", to.centred(node.input[0], a_zero.reshape(())), right)
    scale = f32(a_scale).reshape(()) * _row(f32(b_scale))
    if bias.any():
        made = to.add("Add", made, to.constant(f32(bias)))
    scale = scale * np.float32(attributes.get("alpha", 1.0))
    if y_scale.size:
        scale = scale / f32(y_scale).reshape(())
        to.rounded(to.scaled(made, scale), y_zero.reshape(()), node.output[0])
    else:
        to.add("Mul", made, to.constant(scale), output=node.output[0])
    return True


def _q_linear_concat(to: Writer, node: NodeProto) -> bool:
    """The values that tensors stand for, one behind another, quantised alike."""
    found = [to.value(node, k) for k in range(2) ] + [
        to.value(node, k + more) for k in range(2, len(node.input), 3) for more in (1, 2)
    ]  # fmt: skip
    if any(each is None or each.size != 1 for each in found):
        return False
    y_scale, y_zero, *scales = (np.asarray(each).reshape(()) for each in found)
    parts = [
        to.scaled(to.centred(name, zero), scale)
        for name, scale, zero in zip(node.input[2::3], scales[::2], scales[1::2], strict=True)
    ]
    axis = next(a.i for a in node.attribute if a.name == "axis")
    made = to.add("Concat", *parts, axis=axis)
    to.rounded(to.add("Div", made, to.constant(f32(y_scale))), y_zero, node.output[0])
    return True


def _elementwise(op: str) -> Callable[[Writer, NodeProto], bool]:
    """An operator of two quantised tensors: on the values they stand for, then quantised."""

    def write(to: Writer, node: NodeProto) -> bool:
        found = [to.value(node, k, _zero()) for k in (1, 2, 4, 5, 6, 7)]
        if any(each is None or each.size != 1 for each in found):
            return False
        a_scale, a_zero, b_scale, b_zero, y_scale, y_zero = (np.asarray(e) for e in found)
        left = to.scaled(to.centred(node.input[0], a_zero.reshape(())), a_scale.reshape(()))
        right = to.scaled(to.centred(node.input[3], b_zero.reshape(())), b_scale.reshape(()))
        made = to.add("Div", to.add(op, left, right), to.constant(f32(y_scale.reshape(()))))
        to.rounded(made, y_zero.reshape(()), node.output[0])
        return True

    return write


def _unary(op: str) -> Callable[[Writer, NodeProto], bool]:
    """An operator of one quantised tensor: on the values it stands for, then quantised."""

    def write(to: Writer, node: NodeProto) -> bool:
        found = [to.value(node, k, _zero()) for k in (1, 2, 3, 4)]
        given = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        if any(each is None or each.size != 1 for each in found) or given.pop("channels_last", 0):
            return False
        flat = op == "Softmax" and given.pop("opset", 13) < 13
        if flat and given.get("axis", -1) != -1:
            return False  # one softmax of all axes from that one on
        x_scale, x_zero, y_scale, y_zero = (np.asarray(each).reshape(()) for each in found)
        value = to.scaled(to.centred(node.input[0], x_zero), x_scale)
        made = to.add("Div", to.add(op, value, **given), to.constant(f32(y_scale)))
        to.rounded(made, y_zero, node.output[0])
        return True

    return write


_MOVES = ("MaxPool", "Reshape", "Transpose", "Split", "Squeeze", "Unsqueeze", "Flatten", "Slice",
          "Gather", "Identity", "Concat")  # fmt: skip
"""Operators that give values of their first input; Concat of all."""


def _moved(to: Writer, node: NodeProto) -> bool:
    """Move the floats, where there are only those."""
    data = node.input if node.op_type == "Concat" else node.input[:1]
    known = all(name in to.owed for name in data)
    if not known or node.domain not in ("", "ai.onnx") or node.op_type not in _MOVES:
        return False
    types = {to.owed[name] for name in data}
    if "" in node.output or len(types) != 1 or (node.op_type == "MaxPool" and len(node.output) > 1):
        return False
    to.need(*node.input[len(data) :])
    moved = NodeProto()
    moved.CopyFrom(node)
    moved.input[: len(data)] = [to.floats[name] for name in data]
    moved.output[:] = [f"{name}.floats" for name in node.output]
    to.nodes.append(moved)
    for name in node.output:
        to.floats[name], to.owed[name] = f"{name}.floats", min(types)
    return True


REWRITTEN: dict[tuple[str, str], Callable[[Writer, NodeProto], bool]] = {
    ("", "QuantizeLinear"): _quantize_linear,
    ("", "DequantizeLinear"): _dequantize_linear,
    ("", "DynamicQuantizeLinear"): _dynamic,
    ("", "QLinearConv"): _q_linear_conv,
    ("", "QLinearMatMul"): _q_linear_mat_mul,
    ("", "ConvInteger"): _conv_integer,
    ("", "MatMulInteger"): _mat_mul_integer,
    (CONTRIB, "QLinearAdd"): _elementwise("Add"),
    (CONTRIB, "QLinearMul"): _elementwise("Mul"),
    (CONTRIB, "QLinearSigmoid"): _unary("Sigmoid"),
    (CONTRIB, "QLinearLeakyRelu"): _unary("LeakyRelu"),
    (CONTRIB, "QLinearGlobalAveragePool"): _unary("GlobalAveragePool"),
    (CONTRIB, "QLinearAveragePool"): _unary("AveragePool"),
    (CONTRIB, "QLinearSoftmax"): _unary("Softmax"),
    (CONTRIB, "QLinearConcat"): _q_linear_concat,
    (CONTRIB, "QGemm"): _q_gemm,
}
"""Operators by domain and name; those of onnxruntime's own domain are what its quantiser writes."""

_USUAL: dict[str, Callable[[Writer, NodeProto], bool]] = {
    "Cast": _cast,
    "Conv": _dequantised_product,
    "Gemm": _dequantised_product,
    "MatMul": _dequantised_product,
}
"""Operators of the usual domain whose operands may be dequantised, or stored in few bits."""
