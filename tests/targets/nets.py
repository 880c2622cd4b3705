# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Small ONNX models of one family of operators each, for sweeps over what rules plan."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from splitc.cost.board import load_board
from splitc_targets import pipeline
from splitc_targets.pipeline import Code
from splitc_targets.tvm import adapter

Array = NDArray[Any]


class Net:
    """A model under construction: values are names, arrays among an operator's inputs constants."""

    def __init__(self, seed: int, opset: int = 17) -> None:
        self.rng = np.random.default_rng(seed)
        self.opset = opset
        self.nodes: list[NodeProto] = []
        self.inputs: dict[str, Array] = {}
        self.weights: dict[str, Array] = {}
        self.outputs: list[str] = []
        self._names = 0

    def __repr__(self) -> str:
        given_ = ", ".join(f"{n}: {a.dtype}{list(a.shape)}" for n, a in self.inputs.items())
        lines = [
            f"{', '.join(n.output)} = {n.op_type}({', '.join(map(self._words, n.input))}"
            + "".join(f", {a.name}={helper.get_attribute_value(a)}" for a in n.attribute)
            + ")"
            for n in self.nodes
        ]
        return "\n".join(["", given_, *lines, "-> " + ", ".join(self.outputs)])

    def _words(self, name: str) -> str:
        data = self.weights.get(name)
        if data is None:
            return name
        return f"{data.dtype}{list(data.shape)}{data.tolist() if data.size < 9 else ''}"

    def name(self, start: str) -> str:
        """A name of its own."""
        self._names += 1
        return f"{start}{self._names}"

    def random(self, *shape: int, dtype: str = "float32") -> Array:
        """Numbers of either sign, about one."""
        values = self.rng.standard_normal(shape)
        if np.dtype(dtype).kind == "b":
            return np.asarray(values > 0)
        return np.asarray(values * (1 if np.dtype(dtype).kind == "f" else 5)).astype(dtype)

    def positive(self, *shape: int) -> Array:
        """Numbers from a half to two."""
        return np.asarray(0.5 + 1.5 * self.rng.random(shape)).astype(np.float32)

    def input(self, *shape: int, values: Array | None = None, dtype: str = "float32") -> str:
        """A new input of the model."""
        name = self.name("x")
        self.inputs[name] = self.random(*shape, dtype=dtype) if values is None else values
        return name

    def ops(self, kind: str, *args: str | Array | None, results: int, **attrs: Any) -> list[str]:
        """Append an operator of several results."""
        names = []
        for arg in args:
            if isinstance(arg, str) or arg is None:
                names.append(arg or "")
            else:
                names.append(self.name("c"))
                self.weights[names[-1]] = np.asarray(arg)
        outs = [self.name("t") for _ in range(results)]
        self.nodes.append(helper.make_node(kind, names, outs, **attrs))
        return outs

    def op(self, kind: str, *args: str | Array | None, **attrs: Any) -> str:
        """Append an operator of one result."""
        return self.ops(kind, *args, results=1, **attrs)[0]

    def shape(self, name: str) -> tuple[int, ...]:
        """A value's shape, by ONNX's inference."""
        if name in self.inputs:
            return self.inputs[name].shape
        if name in self.weights:
            return self.weights[name].shape
        found = {v.name: v for v in self._inferred([name]).graph.output}[name]
        return tuple(d.dim_value for d in found.type.tensor_type.shape.dim)

    def _inferred(self, outputs: list[str]) -> ModelProto:
        kinds = {n: helper.np_dtype_to_tensor_dtype(a.dtype) for n, a in self.inputs.items()}
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info(n, kinds[n], a.shape) for n, a in self.inputs.items()],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(a, n) for n, a in self.weights.items()],
        )
        imports = [helper.make_opsetid("", self.opset)]
        made = helper.make_model(graph, opset_imports=imports, ir_version=8)
        return onnx.shape_inference.infer_shapes(made, data_prop=True)

    def proto(self) -> ModelProto:
        """The model."""
        made = self._inferred(self.outputs)
        for value in made.graph.output:
            if not value.type.tensor_type.elem_type:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
        return made


def of_any_types(net: Net) -> ModelProto:
    """A network of opset 21 or later, its stored tensors of any type, its results of float32."""
    graph = helper.make_graph(
        net.nodes, "net",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
         for n, a in net.inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in net.outputs],
        [numpy_helper.from_array(a, n) for n, a in net.weights.items()],
    )  # fmt: skip
    imports = [helper.make_opsetid("", net.opset)]
    made = helper.make_model(graph, opset_imports=imports, ir_version=10 + (net.opset > 22))
    return onnx.shape_inference.infer_shapes(made, strict_mode=True)


def wanted(proto: ModelProto, inputs: dict[str, Array]) -> list[Array]:
    """The model's results by onnxruntime, as written: without its rewrites."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    return [np.asarray(a) for a in session.run(None, dict(inputs))]


def compiled(proto: ModelProto, board: str = "host") -> Code:
    """The model compiled as `splitc compile` does it."""
    return pipeline.compile_module(adapter.lower(proto), load_board(board))


def computed(code: Code, proto: ModelProto, inputs: dict[str, Array]) -> list[Array]:
    """A compiled model's results."""
    order = [inputs[value.name] for value in proto.graph.input]
    return code.here()(*order)


def assert_same(got: list[Array], want: list[Array], rtol: float = 2e-5) -> None:
    """Equal shapes, types, infinities and not-a-numbers; values within `rtol` of the largest."""
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        if b.dtype.kind != "f":
            np.testing.assert_array_equal(a, b)
            continue
        finite = np.isfinite(b)
        np.testing.assert_array_equal(a[~finite], b[~finite])
        scale = float(np.abs(b[finite]).max(initial=0.0))
        step = 2e-3 if b.dtype == np.float16 else rtol
        a64, b64 = a[finite].astype(np.float64), b[finite].astype(np.float64)
        np.testing.assert_allclose(a64, b64, rtol=0, atol=step * scale + 1e-37)


def assert_right(net: Net, rtol: float = 2e-5) -> Code:
    """Compiled, the model gives what onnxruntime gives."""
    proto = net.proto()
    want = wanted(proto, net.inputs)
    code = compiled(proto)
    assert_same(computed(code, proto, net.inputs), want, rtol)
    return code


Draw = st.DrawFn
SEEDS = st.integers(0, 99)
SIDES = st.sampled_from((1, 2, 3, 5, 7, 8, 13, 17))
WIDTHS = st.sampled_from((1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 24, 33))


def one_of(draw: Draw, *values: Any) -> Any:
    """One of a few values, the first the simplest."""
    return draw(st.sampled_from(values))


def map_input(draw: Draw, net: Net, rank: int = 4) -> str:
    """A float map [N, C, …] of odd sizes."""
    batch = one_of(draw, 1, 2, 3)
    return net.input(batch, draw(WIDTHS), *(draw(SIDES) for _ in range(rank - 2)))


def convolution(draw: Draw, net: Net, x: str) -> str:
    """A convolution of any stride, dilation, padding and groups that fits a map."""
    _, channels, *sides = net.shape(x)
    form = one_of(draw, "plain", "depthwise", "grouped", "multiplied", "pointwise")
    groups = {"plain": 1, "pointwise": 1}.get(form, channels)
    if form == "grouped":
        groups = draw(st.sampled_from([g for g in range(1, channels + 1) if channels % g == 0]))
    out = draw(WIDTHS) if groups == 1 else groups * one_of(draw, 1, 2, 3)
    out = channels if form == "depthwise" else out
    kernel, pads, strides, dilations = [], [], [], []
    for side in sides:
        size = 1 if form == "pointwise" else one_of(draw, 3, 1, 2, 4, 5, 7, 11)
        dilation = one_of(draw, 1, 1, 2, 3)
        before, after = one_of(draw, 1, 0, 2, 3), one_of(draw, 1, 0, 2, 5)
        if form == "pointwise":
            before, after = one_of(draw, 0, 0, 1), 0
        missing = dilation * (size - 1) + 1 - side - before - after
        kernel.append(size)
        dilations.append(dilation)
        strides.append(one_of(draw, 1, 1, 2, 3))
        pads.append((before + max(0, missing), after))
    weights = net.random(out, channels // groups, *kernel) / math.sqrt(
        math.prod(kernel) * channels / groups
    )
    args: list[Any] = [x, weights.astype(np.float32)]
    if draw(st.booleans()):
        args.append(net.random(out))
    return net.op(
        "Conv", *args, kernel_shape=kernel, strides=strides, dilations=dilations, group=groups,
        pads=[p[0] for p in pads] + [p[1] for p in pads],
    )  # fmt: skip


def transposed(draw: Draw, net: Net, x: str) -> str:
    """A transposed convolution of any stride, padding, output padding, dilation and groups."""
    _, channels, *sides = net.shape(x)
    groups = one_of(draw, 1, 1, *(g for g in range(2, channels + 1) if channels % g == 0))
    out = one_of(draw, 1, 3, 8, 17)
    kernel, pads, strides, extra, dilations = [], [], [], [], []
    for side in sides:
        size, stride = one_of(draw, 2, 3, 1, 4, 5), one_of(draw, 2, 1, 3)
        dilation = one_of(draw, 1, 1, 1, 2)
        more = one_of(draw, *range(stride))
        full = (side - 1) * stride + dilation * (size - 1) + 1 + more
        before = draw(st.integers(0, min(2, full - 1)))
        after = draw(st.integers(0, min(2, full - 1 - before)))
        kernel.append(size)
        strides.append(stride)
        dilations.append(dilation)
        extra.append(more)
        pads.append((before, after))
    args: list[Any] = [x, net.random(channels, out, *kernel)]
    if draw(st.booleans()):
        args.append(net.random(out * groups))
    return net.op(
        "ConvTranspose", *args, kernel_shape=kernel, strides=strides, group=groups,
        dilations=dilations, output_padding=extra, pads=[p[0] for p in pads] + [p[1] for p in pads],
    )  # fmt: skip


def pooling(draw: Draw, net: Net, x: str) -> str:
    """A pooling of any window, with and without ceil_mode and count_include_pad."""
    _, _, *sides = net.shape(x)
    kind = one_of(draw, "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")
    if kind.startswith("Global"):
        return net.op(kind, x)
    kernel, pads, strides = [], [], []
    for side in sides:
        size = min(one_of(draw, 2, 3, 1, 5, side), side)
        kernel.append(size)
        strides.append(one_of(draw, 1, 2, 3))
        pads.append((draw(st.integers(0, (size - 1) // 2)), draw(st.integers(0, (size - 1) // 2))))
    attrs: dict[str, Any] = {"ceil_mode": one_of(draw, 0, 1)}
    if kind == "AveragePool":
        attrs["count_include_pad"] = one_of(draw, 0, 1)
    pads = [p[0] for p in pads] + [p[1] for p in pads]
    return net.op(kind, x, kernel_shape=kernel, strides=strides, pads=pads, **attrs)


def _scalar(value: float) -> Array:
    return np.array(value, np.float32)


UNARY: dict[str, Callable[[Net, str], str]] = {
    "relu": lambda n, x: n.op("Relu", x),
    "relu6": lambda n, x: n.op("Clip", x, _scalar(0), _scalar(6)),
    "floor at": lambda n, x: n.op("Clip", x, _scalar(-0.5)),
    "cap at": lambda n, x: n.op("Clip", x, None, _scalar(0.5)),
    "sigmoid": lambda n, x: n.op("Sigmoid", x),
    "hard swish": lambda n, x: n.op("HardSwish", x),
    "hard sigmoid": lambda n, x: n.op("HardSigmoid", x, alpha=0.3, beta=0.4),
    "leaky": lambda n, x: n.op("LeakyRelu", x, alpha=0.1),
    "leaky default": lambda n, x: n.op("LeakyRelu", x),
    "leaky steep": lambda n, x: n.op("LeakyRelu", x, alpha=1.5),
    "elu": lambda n, x: n.op("Elu", x, alpha=0.7),
    "selu": lambda n, x: n.op("Selu", x),
    "tanh": lambda n, x: n.op("Tanh", x),
    "erf": lambda n, x: n.op("Erf", x),
    "exp": lambda n, x: n.op("Exp", x),
    "abs": lambda n, x: n.op("Abs", x),
    "neg": lambda n, x: n.op("Neg", x),
    "softplus": lambda n, x: n.op("Softplus", x),
    "softsign": lambda n, x: n.op("Softsign", x),
    "mish": lambda n, x: n.op("Mul", x, n.op("Tanh", n.op("Softplus", x))),
    "silu": lambda n, x: n.op("Mul", x, n.op("Sigmoid", x)),
    "gelu": lambda n, x: n.op(
        "Mul", n.op("Mul", x, _scalar(0.5)),
        n.op("Add", n.op("Erf", n.op("Div", x, _scalar(math.sqrt(2)))), _scalar(1)),
    ),
    "gelu tanh": lambda n, x: n.op(
        "Mul", n.op("Mul", x, _scalar(0.5)), n.op("Add", _scalar(1), n.op("Tanh", n.op(
            "Mul", _scalar(0.79788), n.op("Add", x, n.op(
                "Mul", n.op("Pow", x, _scalar(3)), _scalar(0.044715)))))),
    ),
    "root": lambda n, x: n.op("Sqrt", n.op("Abs", x)),
    "log": lambda n, x: n.op("Log", n.op("Add", n.op("Abs", x), _scalar(0.5))),
    "square": lambda n, x: n.op("Pow", x, _scalar(2)),
    "power": lambda n, x: n.op("Pow", n.op("Abs", x), _scalar(1.3)),
    "over": lambda n, x: n.op("Div", _scalar(2), n.op("Add", n.op("Abs", x), _scalar(1))),
    "reciprocal": lambda n, x: n.op("Reciprocal", n.op("Add", n.op("Abs", x), _scalar(1))),
    "divided": lambda n, x: n.op("Div", x, _scalar(3)),
    "from one": lambda n, x: n.op("Sub", _scalar(1), x),
    "sine": lambda n, x: n.op("Sin", x),
    "cosine": lambda n, x: n.op("Cos", x),
    "thresholded": lambda n, x: n.op("ThresholdedRelu", x, alpha=0.3),
    "sign": lambda n, x: n.op("Sign", x),
    "identity": lambda n, x: n.op("Identity", x),
    "max with": lambda n, x: n.op("Max", _scalar(0.1), x),
    "least with": lambda n, x: n.op("Min", x, _scalar(0.2)),
}  # fmt: skip
"""Activations and other maps of one tensor, as models spell them."""


def _per_channel(net: Net, x: str, values: Callable[..., Array]) -> Array:
    shape = net.shape(x)
    return values(1, shape[1], *(1 for _ in shape[2:]))


def _batch_norm(net: Net, x: str) -> str:
    c = net.shape(x)[1]
    return net.op(
        "BatchNormalization", x, net.positive(c), net.random(c), net.random(c), net.positive(c)
    )


def _prelu(net: Net, x: str) -> str:
    shape = net.shape(x)
    return net.op("PRelu", x, net.random(shape[1], *(1 for _ in shape[2:])))


AFFINE: dict[str, Callable[[Net, str], str]] = {
    "batch norm": _batch_norm,
    "bias": lambda n, x: n.op("Add", x, _per_channel(n, x, n.random)),
    "scale": lambda n, x: n.op("Mul", x, _per_channel(n, x, n.random)),
    "channel bias less": lambda n, x: n.op("Sub", _per_channel(n, x, n.random), x),
    "per channel over": lambda n, x: n.op("Div", x, _per_channel(n, x, n.positive)),
    "image": lambda n, x: n.op("Add", x, n.random(*n.shape(x)[2:])),
    "column": lambda n, x: n.op("Mul", n.random(n.shape(x)[-1]), x),
    "scaled": lambda n, x: n.op("Mul", x, _scalar(-1.7)),
    "prelu": _prelu,
    "one slope": lambda n, x: n.op("PRelu", x, np.array([0.2], np.float32)),
    "whole": lambda n, x: n.op("Mul", x, n.random(*n.shape(x))),
}
"""Maps of one tensor [N, C, …] and constants."""


def elementwise(draw: Draw, net: Net, x: str, others: list[str]) -> str:
    """One elementwise step over a value, with one of the others where shapes allow."""
    form = one_of(draw, "unary", "affine", "binary", "binary")
    if form == "affine" and len(net.shape(x)) > 2:
        return AFFINE[draw(st.sampled_from(sorted(AFFINE)))](net, x)
    if form == "binary":
        other = draw(st.sampled_from(others))
        kind = one_of(draw, "Add", "Mul", "Sub", "Max", "Min", "Div", "Sum", "Mean")
        if kind == "Div":
            other = net.op("Add", net.op("Abs", other), _scalar(0.5))
        pair = (x, other) if draw(st.booleans()) else (other, x)
        pair = (x, other) if kind == "Div" else pair
        return net.op(kind, *pair)
    return UNARY[draw(st.sampled_from(sorted(UNARY)))](net, x)


def grown(draw: Draw, net: Net, start: str, beside: list[str], steps: int) -> None:
    """Elementwise steps on what has this shape so far, some of them outputs too."""
    known = [start]
    for _ in range(steps):
        x = known[-1] if draw(st.integers(0, 3)) else draw(st.sampled_from(known))
        known.append(elementwise(draw, net, x, known + beside))
    net.outputs = [known[-1]]
    for name in draw(st.lists(st.sampled_from(known), max_size=2, unique=True)):
        if name not in net.outputs:
            net.outputs.insert(0, name)


@st.composite
def convolutions(draw: Draw, rank: int = 4) -> Net:
    """One or two convolutions."""
    net = Net(draw(SEEDS))
    y = convolution(draw, net, map_input(draw, net, rank))
    if draw(st.booleans()):
        y = convolution(draw, net, y)
    net.outputs = [y]
    return net


@st.composite
def transposed_convolutions(draw: Draw, rank: int = 4) -> Net:
    """A transposed convolution, something behind it."""
    net = Net(draw(SEEDS))
    batch, channels = one_of(draw, 1, 2), one_of(draw, 1, 4, 6, 17)
    y = transposed(draw, net, net.input(batch, channels, *(draw(SIDES) for _ in range(rank - 2))))
    grown(draw, net, y, [net.input(*net.shape(y))], draw(st.integers(0, 2)))
    return net


@st.composite
def epilogues(draw: Draw) -> Net:
    """Elementwise steps behind a kernel that takes them in, or alone."""
    net = Net(draw(SEEDS))
    form = one_of(draw, "conv", "pool", "matmul", "alone", "gemm")
    if form == "matmul":
        x = net.input(one_of(draw, 1, 2), draw(SIDES), draw(WIDTHS))
        y = net.op("MatMul", x, net.random(net.shape(x)[-1], draw(WIDTHS)))
    elif form == "gemm":
        x = net.input(one_of(draw, 1, 3), draw(WIDTHS))
        columns = draw(WIDTHS)
        y = net.op("Gemm", x, net.random(net.shape(x)[1], columns), net.random(columns))
    else:
        x = map_input(draw, net, one_of(draw, 4, 4, 3))
        y = {"conv": convolution, "pool": pooling, "alone": lambda d, n, v: v}[form](draw, net, x)
    shape = net.shape(y)
    some = tuple(1 if draw(st.integers(0, 2)) == 0 else n for n in shape)
    beside = [net.input(*shape), net.input(*some)]
    if shape == net.shape(x):
        beside.append(x)
    grown(draw, net, y, beside, draw(st.integers(1, 6)))
    unread = set(net.inputs) - {name for node in net.nodes for name in node.input}
    for name in unread - set(net.outputs):
        del net.inputs[name]
    return net


@st.composite
def poolings(draw: Draw) -> Net:
    """One or two poolings."""
    net = Net(draw(SEEDS))
    y = pooling(draw, net, map_input(draw, net, one_of(draw, 4, 4, 3)))
    if draw(st.booleans()):
        y = pooling(draw, net, y)
    net.outputs = [y]
    return net


@st.composite
def concatenations(draw: Draw) -> Net:
    """Concatenations of what kernels, views and other concatenations give."""
    net = Net(draw(SEEDS))
    batch, side, other = one_of(draw, 1, 2), one_of(draw, 3, 1, 4), one_of(draw, 5, 1, 2)
    known = [net.input(batch, one_of(draw, 3, 8, 16), side, other)]
    for _ in range(draw(st.integers(2, 6))):
        x = draw(st.sampled_from(known[-3:]))
        form = one_of(draw, "concat", "conv", "relu", "pool", "split", "add", "concat", "dw", "lrn")
        c = net.shape(x)[1]
        if form == "concat":
            parts = draw(st.lists(st.sampled_from(known), min_size=1, max_size=4))
            known.append(net.op("Concat", *parts, axis=one_of(draw, 1, 1, -3)))
        elif form == "split" and c > 1:
            first = draw(st.integers(1, c - 1))
            sizes = np.array([first, c - first], np.int64)
            known += net.ops("Split", x, sizes, results=2, axis=1)
        elif form == "conv":
            w = net.random(one_of(draw, 4, 16, 5), c, 3, 3) / (3 * math.sqrt(c))
            known.append(net.op("Conv", x, w.astype(np.float32), pads=[1, 1, 1, 1]))
        elif form == "dw":
            known.append(net.op("Conv", x, net.random(c, 1, 3, 3), pads=[1, 1, 1, 1], group=c))
        elif form == "pool":
            attrs = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
            known.append(net.op(one_of(draw, "MaxPool", "AveragePool"), x, **attrs))
        elif form == "lrn":
            known.append(net.op("LRN", x, size=one_of(draw, 3, 5), beta=one_of(draw, 0.75, 0.6)))
        elif form == "add":
            known.append(net.op("Add", x, x))
        else:
            known.append(net.op("Relu", x))
    axis = one_of(draw, None, 0, 2, 3)
    last = known[-1]
    if axis is not None:
        last = net.op("Concat", last, net.op("Sigmoid", last), last, axis=axis)
    net.outputs = [last]
    more = draw(st.lists(st.sampled_from(known), max_size=2, unique=True))
    net.outputs += [name for name in more if name != last]
    return net


def _moved(draw: Draw, net: Net, x: str) -> str:  # noqa: PLR0912
    """One step that moves or renames elements."""
    shape = net.shape(x)
    rank = len(shape)
    axis = draw(st.integers(-rank, rank - 1)) if rank else 0
    size = shape[axis] if rank else 1
    form = one_of(
        draw, "Transpose", "Reshape", "Slice", "Split", "Unsqueeze", "Squeeze", "Flatten",
        "Expand", "Gather", "Pad", "Tile", "Relu", "Add", "GatherScalar", "Scale",
    )  # fmt: skip
    if form == "Reshape":
        factors = [f for n in shape for f in _primes(n)]
        cuts = sorted(draw(st.lists(st.integers(0, len(factors)), max_size=3)))
        ends = [0, *cuts, len(factors)]
        new = [math.prod(factors[a:b]) for a, b in itertools.pairwise(ends)]
        return net.op("Reshape", x, np.array(new, np.int64))
    if form == "Unsqueeze" and rank < 6:
        return net.op("Unsqueeze", x, np.array([draw(st.integers(0, rank))], np.int64))
    if form == "Relu" or not rank:
        return net.op("Relu", x)
    if form == "Add":
        return net.op("Add", x, net.random(*(one_of(draw, 1, n) for n in shape)))
    if form == "Scale":
        return net.op("Mul", x, net.random(shape[-1]))
    if form == "Transpose":
        return net.op("Transpose", x, perm=draw(st.permutations(range(rank))))
    if form == "Squeeze" and 1 in shape:
        return net.op("Squeeze", x, np.array([shape.index(1)], np.int64))
    if form == "Flatten":
        return net.op("Flatten", x, axis=draw(st.integers(0, rank)))
    if form == "Split" and size > 1:
        first = draw(st.integers(1, size - 1))
        sizes = np.array([first, size - first], np.int64)
        return net.ops("Split", x, sizes, results=2, axis=axis)[draw(st.integers(0, 1))]
    if form == "Expand" and math.prod(shape) < 500:
        return net.op("Expand", x, np.array([one_of(draw, 2, 1), *shape], np.int64))
    if form == "Gather":
        some = draw(st.lists(st.integers(-size, size - 1), min_size=1, max_size=4))
        return net.op("Gather", x, np.array(some, np.int64), axis=axis)
    if form == "GatherScalar":
        return net.op("Gather", x, np.array(draw(st.integers(-size, size - 1))), axis=axis)
    if form == "Tile" and math.prod(shape) < 500:
        return net.op("Tile", x, np.array([one_of(draw, 1, 2) for _ in shape], np.int64))
    if form == "Pad":
        mode = one_of(draw, "constant", "edge", "reflect")
        most = [min(2, n - 1) if mode == "reflect" else 2 for n in shape]
        widths = [draw(st.integers(0, m)) for m in most + most]
        args = [np.array(widths, np.int64), *([_scalar(1.5)] if mode == "constant" else [])]
        return net.op("Pad", x, *args, mode=mode)
    step = one_of(draw, 1, 2, 3, -1, -2)
    begin, end = (draw(st.integers(-size, size)) for _ in range(2))
    taken = range(size)[begin:end:step]
    if not taken:
        begin, end = (size - 1, -size - 1) if step < 0 else (0, size)
    numbers = [np.array([n], np.int64) for n in (begin, end, axis, step)]
    return net.op("Slice", x, *numbers)


def _primes(n: int) -> list[int]:
    found, p = [], 2
    while n > 1:
        while n % p == 0:
            found.append(p)
            n //= p
        p += 1
    return found


@st.composite
def movements(draw: Draw) -> Net:
    """Chains of views, copies and slices over tensors of any rank."""
    net = Net(draw(SEEDS))
    known = [net.input(*draw(st.lists(st.sampled_from((1, 2, 3, 4, 6)), max_size=4)))]
    for _ in range(draw(st.integers(1, 7))):
        known.append(_moved(draw, net, draw(st.sampled_from(known[-2:]))))
    net.outputs = [known[-1]]
    more = draw(st.lists(st.sampled_from(known), max_size=1))
    net.outputs += [name for name in more if name != known[-1]]
    return net


@st.composite
def rearrangements(draw: Draw) -> Net:
    """Resizing, depth to space, channel shuffles and padding of maps between convolutions."""
    net = Net(draw(SEEDS))
    batch, c = one_of(draw, 1, 2), one_of(draw, 4, 8, 36, 16)
    x = net.input(batch, c, one_of(draw, 4, 6, 2), one_of(draw, 6, 2, 4))
    if draw(st.booleans()):
        x = net.op("Conv", x, net.random(c, c, 1, 1))
    _, _, height, width = net.shape(x)
    form = one_of(draw, "nearest", "linear", "depth", "space", "shuffle", "pad", "cubic", "focus")
    if form in ("nearest", "linear", "cubic"):
        mode = one_of(draw, "asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel")
        attrs: dict[str, Any] = {"mode": form, "coordinate_transformation_mode": mode}
        if form == "nearest":
            attrs["nearest_mode"] = one_of(
                draw, "floor", "round_prefer_floor", "round_prefer_ceil", "ceil"
            )
        if draw(st.booleans()):
            scales = [1, 1, one_of(draw, 2, 3, 1, 0.5, 4), one_of(draw, 2, 1, 3, 0.5)]
            y = net.op("Resize", x, None, np.array(scales, np.float32), **attrs)
        else:
            sizes = [batch, c, draw(st.integers(1, 13)), draw(st.integers(1, 13))]
            y = net.op("Resize", x, None, None, np.array(sizes, np.int64), **attrs)
    elif form == "depth":
        y = net.op("DepthToSpace", x, blocksize=2, mode=one_of(draw, "DCR", "CRD"))
    elif form == "space":
        y = net.op("SpaceToDepth", x, blocksize=2)
    elif form == "shuffle":
        groups = one_of(draw, 2, 4)
        y = net.op("Reshape", x, np.array([batch, groups, c // groups, height, width], np.int64))
        y = net.op("Transpose", y, perm=[0, 2, 1, 3, 4])
        y = net.op("Reshape", y, np.array([batch, c, height, width], np.int64))
    elif form == "pad":
        mode = one_of(draw, "constant", "reflect", "edge")
        widths = [0, 0, one_of(draw, 1, 0), 1, 0, 0, one_of(draw, 0, 1), one_of(draw, 1, 0)]
        y = net.op("Pad", x, np.array(widths, np.int64), mode=mode)
    else:
        parts = []
        for a, b in ((0, 0), (1, 0), (0, 1), (1, 1)):
            numbers = ([a, b], [height, width], [2, 3], [2, 2])
            parts.append(net.op("Slice", x, *(np.array(n, np.int64) for n in numbers)))
        y = net.op("Concat", *parts, axis=1)
    if draw(st.booleans()):
        y = net.op("Conv", y, net.random(5, net.shape(y)[1], 1, 1))
    net.outputs = [y]
    return net


@st.composite
def products(draw: Draw) -> Net:
    """Matrix products of all ranks, operands on either side constant or transposed."""
    net = Net(draw(SEEDS))
    rows, depth, columns = draw(WIDTHS), draw(WIDTHS), draw(WIDTHS)
    if draw(st.integers(0, 3)) == 0:
        ta, tb = one_of(draw, 0, 1), one_of(draw, 0, 1)
        a = net.input(*((depth, rows) if ta else (rows, depth)))
        b: Any = net.random(*((columns, depth) if tb else (depth, columns)))
        b = net.input(values=b) if draw(st.booleans()) else b
        c = one_of(draw, None, (columns,), (1, columns), (rows, 1), (), (rows, columns), (1,))
        args = [a, b] if c is None else [a, b, net.random(*c)]
        alpha, beta = one_of(draw, 1.0, 0.3), one_of(draw, 1.0, -2.0)
        net.outputs = [net.op("Gemm", *args, transA=ta, transB=tb, alpha=alpha, beta=beta)]
        return net
    batches = one_of(
        draw, ((), ()), ((2,), ()), ((), (3,)), ((2,), (2,)), ((2, 1), (3,)), ((1, 3), (2, 1)),
        ((2, 3), (2, 3)),
    )  # fmt: skip
    shapes = [[*batches[0], rows, depth], [*batches[1], depth, columns]]
    vector = one_of(draw, None, None, None, 0, 1)
    if vector is not None:
        shapes[vector] = [depth]
    sides: list[Any] = []
    constant = one_of(draw, 1, 0, None)
    for k, shape in enumerate(shapes):
        turn = len(shape) > 1 and draw(st.booleans())
        stored = [*shape[:-2], shape[-1], shape[-2]] if turn else shape
        axes = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
        if k == constant:
            sides.append(net.random(*shape))
        elif turn:
            sides.append(net.op("Transpose", net.input(*stored), perm=axes))
        else:
            sides.append(net.input(*shape))
    y = net.op("MatMul", *sides)
    grown(draw, net, y, [net.input(*net.shape(y))], draw(st.integers(0, 2)))
    return net


@st.composite
def attentions(draw: Draw) -> Net:
    """Attention: heads split by reshape and transpose, two products, softmax between."""
    net = Net(draw(SEEDS))
    batch, tokens = one_of(draw, 1, 2), one_of(draw, 1, 5, 17)
    heads, size = one_of(draw, 1, 2, 3), one_of(draw, 4, 1, 9)
    width = heads * size
    x = net.input(batch, tokens, width)
    x = net.op("LayerNormalization", x, net.random(width), net.random(width)) if width > 1 else x
    parts = []
    for turn in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
        y = net.op("Add", net.op("MatMul", x, net.random(width, width)), net.random(width))
        y = net.op("Reshape", y, np.array([batch, tokens, heads, size], np.int64))
        parts.append(net.op("Transpose", y, perm=turn))
    q, k, v = parts
    scores = net.op("Softmax", net.op("Mul", net.op("MatMul", q, k), _scalar(0.2)), axis=-1)
    y = net.op("Transpose", net.op("MatMul", scores, v), perm=[0, 2, 1, 3])
    y = net.op("Reshape", y, np.array([batch, tokens, width], np.int64))
    y = net.op("Add", x, net.op("MatMul", y, net.random(width, width)))
    net.outputs = [y, *([scores] if draw(st.booleans()) else [])]
    return net


@st.composite
def normalisations(draw: Draw) -> Net:  # noqa: PLR0912
    """Softmax, normalisations and reductions over any axes."""
    net = Net(draw(SEEDS))
    shape = tuple(draw(st.lists(st.sampled_from((3, 1, 2, 5, 8, 17)), min_size=1, max_size=4)))
    x = net.input(*shape)
    if draw(st.booleans()):
        x = net.op("Transpose", x, perm=draw(st.permutations(range(len(shape)))))
        shape = net.shape(x)
    rank = len(shape)
    axis = draw(st.integers(-rank, rank - 1))
    form = one_of(
        draw, "Softmax", "LogSoftmax", "LayerNormalization", "reduce", "reduce",
        "InstanceNormalization", "LRN", "ArgMax", "group", "layer by hand", "LpNormalization",
        "Hardmax", "CumSum",
    )  # fmt: skip
    if form == "LayerNormalization":
        inner = shape[axis:]
        args = [net.random(*inner), *([net.random(*inner)] if draw(st.booleans()) else [])]
        y = net.op(form, x, *args, axis=axis)
    elif form in ("InstanceNormalization", "group") and rank > 2:
        c = shape[1]
        if form == "group":
            flat = net.op("Reshape", x, np.array([shape[0], 1, -1], np.int64))
            y = net.op("InstanceNormalization", flat, np.ones(1, "f"), np.zeros(1, "f"))
            y = net.op("Reshape", y, np.array(shape, np.int64))
            y = net.op("Mul", y, net.random(c, *(1 for _ in shape[2:])))
        else:
            y = net.op(form, x, net.random(c), net.random(c))
    elif form == "LRN" and rank == 4:
        attrs = {"size": one_of(draw, 5, 3, 1, 7), "beta": one_of(draw, 0.75, 0.5, 1.0, 0.9, 2.0)}
        y = net.op(form, x, **attrs, alpha=one_of(draw, 1e-4, 0.5), bias=one_of(draw, 1.0, 2.0))
    elif form == "ArgMax":
        y = net.op(form, x, axis=axis, keepdims=one_of(draw, 0, 1))
    elif form == "CumSum":
        y = net.op(form, x, np.array(axis, np.int64))
    elif form == "layer by hand":
        away = net.op("Sub", x, net.op("ReduceMean", x, axes=[-1]))
        spread = net.op("ReduceMean", net.op("Pow", away, _scalar(2)), axes=[-1])
        y = net.op("Div", away, net.op("Sqrt", net.op("Add", spread, _scalar(1e-2))))
    elif form in ("Softmax", "LogSoftmax", "LpNormalization", "Hardmax"):
        y = net.op(form, x, axis=axis)
    else:
        kind = one_of(
            draw, "ReduceMean", "ReduceMax", "ReduceSum", "ReduceL2", "ReduceMin", "ReduceProd",
            "ReduceSumSquare", "ReduceL1", "ReduceLogSumExp",
        )  # fmt: skip
        axes = draw(st.lists(st.integers(0, rank - 1), min_size=1, unique=True))
        keep = one_of(draw, 0, 1)
        if kind == "ReduceSum":
            y = net.op(kind, x, np.array(axes, np.int64), keepdims=keep)
        else:
            y = net.op(kind, x, axes=axes, keepdims=keep)
    if draw(st.booleans()) and form != "ArgMax":
        y = net.op("Sigmoid", y)
    net.outputs = [y]
    return net


@st.composite
def types(draw: Draw) -> Net:
    """Tensors of other types, comparisons, conditions, casts, scalars and empty dimensions."""
    net = Net(draw(SEEDS))
    sizes = (2, 3, 1, 5, 0) if draw(st.integers(0, 3)) == 0 else (2, 3, 1, 5)
    shape = draw(st.lists(st.sampled_from(sizes), max_size=3))
    dtype = one_of(draw, "float32", "int64", "float64", "float16", "int32", "uint8", "int8", "bool")
    a, b = net.input(*shape, dtype=dtype), net.input(*shape, dtype=dtype)
    known = [a, b]
    kinds = {a: dtype, b: dtype}
    for _ in range(draw(st.integers(1, 5))):
        x = draw(st.sampled_from(known))
        same = [n for n in known if kinds[n] == kinds[x]]
        other = draw(st.sampled_from(same))
        form = one_of(
            draw, "Cast", "binary", "compare", "Where", "Not", "Concat", "Reshape", "Slice"
        )
        kind = kinds[x]
        if form == "Cast":
            kind = one_of(draw, "float32", "int64", "int32", "bool", "float64", "float16")
            y = net.op("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(kind)))
        elif form == "binary" and kind not in ("bool", "uint8", "int8"):
            y = net.op(one_of(draw, "Add", "Mul", "Sub"), x, other)
        elif form == "compare" and kind in ("float32", "int64", "int32"):
            y, kind = net.op(one_of(draw, "Less", "Greater", "Equal"), x, other), "bool"
        elif form == "Where" and kind in ("float32", "int64") and "bool" in kinds.values():
            y = net.op("Where", next(n for n in known if kinds[n] == "bool"), x, other)
        elif form == "Not" and kind == "bool":
            y = net.op("Not", x)
        elif form == "Reshape":
            y = (
                net.op("Reshape", net.op("Flatten", x, axis=0), np.array(shape, np.int64))
                if 0 not in shape
                else net.op("Identity", x)
            )
        else:
            y = net.op("Identity", x)
        known.append(y)
        kinds[y] = kind
    net.outputs = [known[-1]]
    more = [n for n in known[2:-1] if draw(st.booleans())]
    net.outputs += more
    if shape and draw(st.booleans()):
        net.outputs.append(
            net.op("Concat", known[-1], known[-1], axis=draw(st.integers(0, len(shape) - 1)))
        )
    return net


SPECIAL = (
    0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 3e38, -3e38, 1e-38, -1e-38, 1e-42, -1e-45,
    88.8, -88.8, 104.5, -104.5, 0.5, -0.5, 1e10, -1e10, 20.0, -20.0, 6.0, 3.0, -3.0, 1e-8,
)  # fmt: skip


EXACT = (
    "relu", "relu6", "sigmoid", "leaky", "tanh", "exp", "abs", "neg", "root", "log", "square",
    "over", "reciprocal", "divided", "from one", "identity", "max with", "least with",
    "hard sigmoid",
)  # fmt: skip
"""Maps that give infinities and not-a-numbers where onnxruntime does."""


@st.composite
def extremes(draw: Draw) -> Net:
    """Maps of infinities, not-a-numbers, denormal and huge values."""
    net = Net(draw(SEEDS))
    values = np.array(SPECIAL, np.float32)
    shape = (1, len(SPECIAL)) if draw(st.booleans()) else (len(SPECIAL), 3)
    x = net.input(values=np.resize(net.rng.permutation(values), shape).astype(np.float32))
    form = one_of(draw, "unary", "binary", "softmax", "conv")
    if form == "unary":
        y = UNARY[draw(st.sampled_from(EXACT))](net, x)
    elif form == "binary":
        other = net.input(values=np.resize(net.rng.permutation(values), shape).astype(np.float32))
        y = net.op(one_of(draw, "Max", "Min", "Add", "Mul", "Sub", "Div"), x, other)
    elif form == "softmax":
        rows = np.stack([np.roll(values, k)[:5] for k in range(len(values))])
        x = net.input(values=rows)
        del net.inputs[next(iter(net.inputs))]
        y = net.op("Softmax", x, axis=-1)
    else:
        weight = np.ones((2, 1, 1, 1), np.float32)
        y = net.op("Conv", net.op("Reshape", x, np.array([1, 1, *shape], np.int64)), weight)
        y = UNARY[one_of(draw, "relu", "relu6", "leaky", "max with")](net, y)
    net.outputs = [y]
    return net
