# SPDX-License-Identifier: Apache-2.0
"""Arithmetic, normalisations and reductions in the forms that TVM's front end reads rightly."""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto, helper

from splitc_targets.source.draft import Array, Node

SAYS_KEPT = 12
"""From this opset on Dropout's mask says what is kept."""
FLAT_BEFORE = 13
"""Before this opset Hardmax took all axes from its own on for one."""


def is_inf(node: Node) -> bool:
    """IsInf of one sign: TVM's front end asks for both."""
    given = node.given
    low, high = given.get("detect_negative", 1), given.get("detect_positive", 1)
    if low and high:
        return False
    draft, dtype = node.draft, np.dtype(node.dtype())
    if not low and not high:
        made = draft.add("IsNaN", node.input(0))
        draft.add("And", made, draft.add("Not", made), output=node.output(0))
        return True
    bound = draft.constant(np.array(np.inf if high else -np.inf, dtype))
    draft.add("Equal", node.input(0), bound, output=node.output(0))
    return True


def power(node: Node) -> bool:
    """Pow of integers or of two types: in float64 for integers, else in the operand's type."""
    base, exponent = node.dtype(0), node.dtype(1)
    if base == exponent and base.startswith("float"):
        return False
    draft = node.draft
    wide = base if base.startswith("float") else "float64"
    if not wide.startswith("float"):
        return False
    code = helper.np_dtype_to_tensor_dtype(np.dtype(wide))
    left = node.input(0) if base == wide else draft.add("Cast", node.input(0), to=code)
    right = draft.add("Cast", node.input(1), to=code)
    if base == wide:
        draft.add("Pow", left, right, output=node.output(0))
        return True
    made = draft.add("Pow", left, right)
    back = helper.np_dtype_to_tensor_dtype(np.dtype(base))
    draft.add("Cast", made, output=node.output(0), to=back)
    return True


def thresholded(node: Node) -> bool:
    """ThresholdedRelu as a choice: TVM multiplies by 0, which makes no number of -infinity."""
    draft = node.draft
    if not node.dtype().startswith("float"):
        return False
    dtype = np.dtype(node.dtype())
    bound = draft.constant(np.array(node.given.get("alpha", 1.0), dtype))
    above = draft.add("Greater", node.input(0), bound)
    zero = draft.constant(np.array(0, dtype))
    draft.add("Where", above, node.input(0), zero, output=node.output(0))
    return True


def shrink(node: Node) -> bool:
    """Shrink as two choices: what lies within the threshold is 0."""
    given, draft = node.given, node.draft
    if not node.dtype().startswith("float"):
        return False
    dtype, x = np.dtype(node.dtype()), node.input(0)
    threshold, bias = (np.array(given.get(k, d), dtype) for k, d in (("lambd", 0.5), ("bias", 0.0)))
    zero, moves = draft.constant(np.array(0, dtype)), draft.constant(bias)
    above = draft.add("Greater", x, draft.constant(threshold))
    below = draft.add("Less", x, draft.constant(-threshold))
    rest = draft.add("Where", below, draft.add("Add", x, moves), zero)
    draft.add("Where", above, draft.add("Sub", x, moves), rest, output=node.output(0))
    return True


def celu(node: Node) -> bool:
    """Celu of a number without axes, alpha elu(x / alpha): onnx's function gives it one."""
    draft = node.draft
    if node.dtype() != "float32":
        return False
    alpha = draft.constant(np.array(node.given.get("alpha", 1.0), np.float32))
    made = draft.add("Elu", draft.add("Div", node.input(0), alpha))
    draft.add("Mul", made, alpha, output=node.output(0))
    return True


def parametric_relu(node: Node) -> bool:
    """PRelu of a number without axes as a choice: TVM asks for an axis of slopes."""
    if node.shape() != ():
        return False
    draft = node.draft
    below = draft.constant(np.array(0, np.dtype(node.dtype())))
    below = draft.add("Less", node.input(0), below)
    sloped = draft.add("Mul", node.input(0), node.input(1))
    draft.add("Where", below, sloped, node.input(0), output=node.output(0))
    return True


def trained(node: Node) -> bool:
    """BatchNormalization in training mode: by this batch's own mean and variance.

    running = input * momentum + current * (1 - momentum); the variance is the population's.
    """
    given, shape, draft = node.given, node.shape(), node.draft
    if not given.get("training_mode") or shape is None or node.dtype() != "float32":
        return False
    axes = [k for k in range(len(shape)) if k != 1]
    row = draft.constant(np.array([-1 if k == 1 else 1 for k in range(len(shape))], np.int64))
    flat = draft.constant(np.array([shape[1]], np.int64))
    mean = draft.reduce("ReduceMean", node.input(0), axes)
    away = draft.add("Sub", node.input(0), mean)
    variance = draft.reduce("ReduceMean", draft.add("Mul", away, away), axes)
    epsilon = draft.constant(np.array(given.get("epsilon", 1e-5), np.float32))
    made = draft.add("Div", away, draft.add("Sqrt", draft.add("Add", variance, epsilon)))
    made = draft.add("Mul", made, draft.add("Reshape", node.input(1), row))
    draft.add("Add", made, draft.add("Reshape", node.input(2), row), output=node.output(0))
    momentum = np.float32(given.get("momentum", 0.9))
    for place, current in ((1, mean), (2, variance)):
        if node.output(place):
            old = draft.add("Mul", node.input(place + 2), draft.constant(np.array(momentum)))
            new = draft.add("Reshape", current, flat)
            new = draft.add("Mul", new, draft.constant(np.array(1 - momentum, np.float32)))
            draft.add("Add", old, new, output=node.output(place))
    return True


def mean_and_variance(node: Node) -> bool:
    """MeanVarianceNormalization: (x - mean) / (deviation + 1e-9), the deviation of x itself.

    TVM's form takes the difference of two means, which cancels for maps far from zero.
    """
    shape, draft = node.shape(), node.draft
    if shape is None or node.dtype() not in ("float32", "float64"):
        return False
    dtype = np.dtype(node.dtype())
    axes: list[int] = node.given.get("axes") or [0, 2, 3]
    away = draft.add("Sub", node.input(0), draft.reduce("ReduceMean", node.input(0), axes))
    variance = draft.reduce("ReduceMean", draft.add("Mul", away, away), axes)
    small = draft.constant(np.array(1e-9, dtype))
    deviation = draft.add("Add", draft.add("Sqrt", variance), small)
    draft.add("Div", away, deviation, output=node.output(0))
    return True


def root_mean_square(node: Node) -> bool:
    """RMSNormalization over several axes, or scaled by what is broadcast: x / rms * scale."""
    shape, given, draft = node.shape(), node.given, node.draft
    if shape is None or node.dtype() not in ("float32", "float16"):
        return False
    axis = given.get("axis", -1) % len(shape)
    if axis == len(shape) - 1 and node.shape(1) == shape[axis:]:
        return False
    half = node.dtype() == "float16"
    x, scale = node.input(0), node.input(1)
    if half:
        x = draft.add("Cast", x, to=TensorProto.FLOAT)
        scale = draft.add("Cast", scale, to=TensorProto.FLOAT)
    axes = list(range(axis, len(shape)))
    mean = draft.reduce("ReduceMean", draft.add("Mul", x, x), axes)
    epsilon = draft.constant(np.array(given.get("epsilon", 1e-5), np.float32))
    made = draft.add("Div", x, draft.add("Sqrt", draft.add("Add", mean, epsilon)))
    if half:
        made = draft.add("Mul", made, scale)
        draft.add("Cast", made, output=node.output(0), to=TensorProto.FLOAT16)
    else:
        draft.add("Mul", made, scale, output=node.output(0))
    return True


_ELEMENT = {"ReduceL1": "Abs", "ReduceL2": "Abs", "ReduceLogSum": "Log"}
"""What a reduction over no axes does to each element, beside the square of ReduceSumSquare."""


def axes_of(node: Node) -> list[int] | None:
    """The axes of a reduction, all or none of them where none is named; None if computed."""
    given, shape = node.given, node.shape()
    if shape is None:
        return None
    axes: list[int] = given.get("axes") or []
    if node.input(1):
        value = node.value(1)
        if value is None:
            return None
        axes = [int(k) for k in value.ravel()]
    if not axes and given.get("noop_with_empty_axes"):
        return []
    return [k % len(shape) for k in axes] if axes else list(range(len(shape)))


def reduction(node: Node) -> bool:
    """Reductions over no axes, and the largest and smallest of truth values."""
    axes, draft = axes_of(node), node.draft
    if axes is None:
        return False
    if not axes:
        if node.op == "ReduceSumSquare":
            draft.add("Mul", node.input(0), node.input(0), output=node.output(0))
        else:
            draft.add(_ELEMENT.get(node.op, "Identity"), node.input(0), output=node.output(0))
        return True
    if node.dtype() != "bool":
        return _named_axes(node, axes)
    made = draft.add("Cast", node.input(0), to=TensorProto.UINT8)
    result, node.proto.output[0] = node.output(0), draft.fresh("byte")
    draft.changed(node.proto, {0: made})
    draft.add("Cast", node.proto.output[0], output=result, to=TensorProto.BOOL)
    return True


def _named_axes(node: Node, axes: list[int]) -> bool:
    """An empty list of axes, which TVM's front end cannot read, left out."""
    if "axes" not in node.given or node.given["axes"]:
        return False
    node.draft.changed(node.proto, without=("axes",))
    return True


def eye_like(node: Node) -> bool:
    """EyeLike: a constant, as its shape is known."""
    shape, given = node.shape(), node.given
    if shape is None or len(shape) != 2:
        return False
    code = given.get("dtype")
    dtype = helper.tensor_dtype_to_np_dtype(code) if code else np.dtype(node.dtype())
    made = node.draft.constant(np.eye(shape[0], shape[1], given.get("k", 0), dtype))
    node.draft.add("Identity", made, output=node.output(0))
    return True


def clip(node: Node) -> bool:
    """Clip: bounds that were attributes are float32 whatever the operand is."""
    own = {place: node.value(place) for place in (1, 2) if node.input(place)}
    dtype = node.dtype()
    other = {k: v for k, v in own.items() if v is not None and v.dtype.name != dtype}
    if not other or not dtype.startswith("float"):
        return False
    draft = node.draft
    with np.errstate(over="ignore"):  # the least and largest float32 are infinite in float16
        made = {k: draft.constant(v.astype(dtype)) for k, v in other.items()}
    draft.changed(node.proto, made)
    return True


def one_hot(node: Node) -> bool:
    """OneHot: the on-value where a place along the new axis is the index, else the off-value.

    An index below zero counts from the end; one that is too large or small, or no whole number,
    is nowhere: onnx says that floats are cast, its reference and onnxruntime compare them.
    """
    depth, shape, draft = node.value(1), node.shape(), node.draft
    if depth is None or depth.size != 1 or shape is None:
        return False
    count = int(depth.ravel()[0])
    axis = node.given.get("axis", -1) % (len(shape) + 1)
    index, dtype = node.input(0), np.dtype(np.int64)
    if node.dtype().startswith("float"):
        dtype = np.dtype(node.dtype())
    elif node.dtype() != "int64":
        index = draft.add("Cast", index, to=TensorProto.INT64)
    below = draft.add("Less", index, draft.constant(np.array(0, dtype)))
    counted = draft.add("Add", index, draft.constant(np.array(count, dtype)))
    index = draft.add("Where", below, counted, index)
    index = draft.add("Unsqueeze", index, draft.constant(np.array([axis], np.int64)))
    places = np.arange(count).reshape([-1 if k == axis else 1 for k in range(len(shape) + 1)])
    hit = draft.add("Equal", index, draft.constant(places.astype(dtype)))
    off, on = (
        draft.add("Gather", node.input(2), draft.constant(np.array(k, np.int64))) for k in (0, 1)
    )
    draft.add("Where", hit, on, off, output=node.output(0))
    return True


def dropout(node: Node) -> bool:
    """Dropout that drops nothing: its operand, and a mask of nothing dropped."""
    training, ratio = node.value(2), node.value(1)
    shape, draft = node.shape(), node.draft
    never = ratio is not None and not ratio.any()
    if node.input(2) and not never and (training is None or bool(training)):
        return False
    if node.reads(1) and draft.was < SAYS_KEPT:
        return False
    draft.add("Identity", node.input(0), output=node.output(0))
    if node.reads(1):
        if shape is None:
            return False
        mask = draft.constant(np.ones(shape, bool))
        draft.add("Identity", mask, output=node.output(1))
    return True


def hardmax(node: Node) -> bool:
    """Hardmax of one axis: 1 where a place along it is that of the first largest, else 0."""
    shape, draft = node.shape(), node.draft
    if shape is None or not shape or not node.dtype().startswith("float"):
        return False
    if draft.was < FLAT_BEFORE and node.given.get("axis", 1) not in (-1, len(shape) - 1):
        return False
    axis: int = node.given.get("axis", -1 if draft.was >= FLAT_BEFORE else 1) % len(shape)
    place = draft.add("ArgMax", node.input(0), axis=axis, keepdims=1)
    row = [-1 if k == axis else 1 for k in range(len(shape))]
    hit = draft.add("Equal", place, draft.constant(np.arange(shape[axis]).reshape(row)))
    code = helper.np_dtype_to_tensor_dtype(np.dtype(node.dtype()))
    draft.add("Cast", hit, output=node.output(0), to=code)
    return True


def flat_hardmax(node: Node) -> bool:
    """Hardmax before opset 13: one maximum of all axes from its own on."""
    shape, draft = node.shape(), node.draft
    axis = node.given.get("axis", 1)
    if draft.was >= FLAT_BEFORE or shape is None or axis in (-1, len(shape) - 1):
        return False
    axis %= len(shape)
    flat = np.array([math.prod(shape[:axis]), math.prod(shape[axis:])], np.int64)
    made = draft.add("Reshape", node.input(0), draft.constant(flat))
    made = draft.add("Hardmax", made, axis=-1)
    whole: Array = np.array(shape, np.int64)
    draft.add("Reshape", made, draft.constant(whole), output=node.output(0))
    return True


def insert(node: Node) -> bool:
    """SequenceInsert before a place that counts from the end: TVM's front end puts it behind."""
    place = node.value(2)
    if place is None or int(place) >= 0:
        return False
    before = node.draft.constant(np.array(int(place) - 1, np.int64))
    node.draft.changed(node.proto, {2: before})
    return True


def to_sequence(node: Node) -> bool:
    """SplitToSequence as a Split by named lengths, the last of which may be shorter."""
    shape, given, draft = node.shape(), node.given, node.draft
    split = node.value(1) if node.input(1) else np.array(1)
    if shape is None or split is None:
        return False
    axis: int = given.get("axis", 0) % len(shape)
    extent = shape[axis]
    lengths = [int(n) for n in split] if split.ndim else []
    if not lengths:
        whole = int(split)
        lengths = [min(whole, extent - k) for k in range(0, extent, whole)]
    parts = [draft.fresh(f"part{k}") for k in range(len(lengths))]
    if len(lengths) == 1:
        draft.add("Identity", node.input(0), output=parts[0])
    else:
        sizes = draft.constant(np.array(lengths, np.int64))
        draft.add_many("Split", (node.input(0), sizes), parts, axis=axis)
    if not node.input(1) and not given.get("keepdims", 1):
        gone = draft.constant(np.array([axis], np.int64))
        parts = [draft.add("Squeeze", part, gone) for part in parts]
    draft.add("SequenceConstruct", *parts, output=node.output(0))
    return True
