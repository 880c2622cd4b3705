# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Products of bytes: the integers that onnxruntime's quantised operators give, every one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime import quantization

from splitc.cost.board import load_board
from splitc.errors import SplitcError
from splitc_targets import pipeline
from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.kernels.window.bytes import ByteWindows
from splitc_targets.machine.machine import machine_of
from splitc_targets.tvm import adapter
from tests.helpers import save
from tests.targets.emulated import emulated
from tests.targets.nets import Net, compiled, computed

Array = np.ndarray[Any, Any]
U8, FLOAT = TensorProto.UINT8, TensorProto.FLOAT
HAS_DOT = machine_of(load_board("host")).multiplying("int8") is not None
MOVES = ("layout", "cast")
needs_dot = pytest.mark.skipif(not HAS_DOT, reason="this processor has no products of bytes")


class Quantised:
    """Quantised operators under construction; scales keep results within a byte's range."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[NodeProto] = []
        self.stored: dict[str, Array] = {}
        self.inputs: dict[str, Array] = {}
        self.outputs: dict[str, int] = {}

    def keep(self, value: Any, dtype: Any = None) -> str:
        """A stored tensor."""
        name = f"c{len(self.stored)}"
        self.stored[name] = np.asarray(value, dtype)
        return name

    def input(self, *shape: int, dtype: Any = np.uint8) -> str:
        """An input of any bytes."""
        limits = np.iinfo(dtype)
        name = f"x{len(self.inputs)}"
        values = self.rng.integers(limits.min, limits.max + 1, shape)
        self.inputs[name] = values.astype(dtype)
        return name

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """An operator's result."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, domain=domain, **attributes))
        return name

    def product(self, depth: int, out: int, zero: int, dtype: Any) -> list[str]:
        """Scale and zero point of the weights and the result, for sums of that many products."""
        scale = self.rng.uniform(0.2, 1.8, out) / (74 * 74 * np.sqrt(depth))
        return [self.keep(scale, np.float32), self.keep(np.zeros(out), np.int8),
                self.keep(0.02, np.float32), self.keep(zero, dtype)]  # fmt: skip

    def conv(self, x: str, channels: int, out: int, kernel: tuple[int, int], zero: int = 0,
             dtype: Any = np.uint8, bias: bool = True, **attributes: Any) -> str:  # fmt: skip
        """A QLinearConv with a scale for each channel."""
        depth = channels // attributes.get("group", 1)
        w = self.keep(self.rng.integers(-127, 128, (out, depth, *kernel)), np.int8)
        w_scale, w_zero, y_scale, y_zero = self.product(
            depth * kernel[0] * kernel[1], out, int(self.rng.integers(0, 128)), dtype
        )
        given = [x, self.keep(1.0, np.float32), self.keep(zero, dtype), w, w_scale, w_zero,
                 y_scale, y_zero]  # fmt: skip
        if bias:
            given.append(self.keep(self.rng.integers(-9000, 9000, out), np.int32))
        return self.op("QLinearConv", *given, **attributes)

    def matmul(self, x: str, depth: int, out: int, zero: int = 0) -> str:
        """A QLinearMatMul with a scale for each column."""
        w = self.keep(self.rng.integers(-127, 128, (depth, out)), np.int8)
        w_scale, w_zero, y_scale, y_zero = self.product(depth, out, 128, np.uint8)
        return self.op("QLinearMatMul", x, self.keep(1.0, np.float32), self.keep(zero, np.uint8),
                       w, w_scale, w_zero, y_scale, y_zero)  # fmt: skip

    def result(self, name: str, kind: int = U8) -> None:
        """Compare a value."""
        self.outputs[name] = kind

    def proto(self) -> ModelProto:
        """The model."""
        graph = helper.make_graph(
            self.nodes, "quantised",
            [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
             for n, a in self.inputs.items()],
            [helper.make_tensor_value_info(n, kind, None) for n, kind in self.outputs.items()],
            [numpy_helper.from_array(a, n) for n, a in self.stored.items()],
        )  # fmt: skip
        versions = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=versions, ir_version=8)

    def wanted(self) -> list[Array]:
        """Results by onnxruntime, nothing fused."""
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(self.proto().SerializeToString(), options)
        return [np.asarray(each) for each in session.run(None, dict(self.inputs))]


def assert_equal(net: Quantised, got: list[Array]) -> None:
    """The very same integers, and not all at a bound."""
    want = net.wanted()
    for name, a, b in zip(net.outputs, got, want, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
        if b.size > 40:
            limits = np.iinfo(b.dtype)
            assert np.mean((b > limits.min) & (b < limits.max)) > 0.3


@needs_dot
@settings(max_examples=24, deadline=None)
@given(
    seed=st.integers(0, 2**16),
    batch=st.integers(1, 3),
    channels=st.sampled_from([1, 3, 4, 8, 12, 20, 31]),
    out=st.sampled_from([1, 5, 16, 33, 70]),
    size=st.tuples(st.integers(1, 19), st.integers(1, 19)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    strides=st.lists(st.integers(1, 3), min_size=2, max_size=2),
    dilations=st.lists(st.integers(1, 3), min_size=2, max_size=2),
    pads=st.lists(st.integers(0, 4), min_size=4, max_size=4),
    zero=st.integers(0, 255),
    signed=st.booleans(),
    bias=st.booleans(),
)
def test_convolutions(
    seed: int, batch: int, channels: int, out: int, size: tuple[int, int], kernel: tuple[int, int],
    strides: list[int], dilations: list[int], pads: list[int], zero: int, signed: bool, bias: bool,
) -> None:  # fmt: skip
    for axis in range(2):
        reach = (kernel[axis] - 1) * dilations[axis] + 1
        if size[axis] + pads[axis] + pads[axis + 2] < reach:
            return
    net = Quantised(seed)
    dtype = np.int8 if signed else np.uint8
    x = net.input(batch, channels, *size, dtype=dtype)
    y = net.conv(x, channels, out, kernel, zero - 128 * signed, dtype, bias,
                 strides=strides, dilations=dilations, pads=pads)  # fmt: skip
    net.result(y, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    proto = net.proto()
    code = compiled(proto)
    rules = {kernel.rule for kernel in code.kernels}
    # A layer whose every weight is 0 or -1 is simplified before families are chosen.
    trivial = set(net.stored["c0"].ravel().tolist()) <= {-1, 0, 1}
    assert "dot" in rules or trivial or net.wanted()[0].size == 0
    np.testing.assert_array_equal(computed(code, proto, net.inputs)[0], net.wanted()[0])


def several() -> Quantised:
    """Every way that bytes are written and read."""
    net = Quantised(0)
    x = net.input(2, 8, 13, 11)
    net.result(net.conv(x, 8, 16, (1, 1), 3))
    net.result(net.conv(x, 8, 20, (3, 3), 0, pads=[1, 1, 1, 1], group=2))
    net.result(net.conv(x, 8, 12, (3, 3), 7, group=2, pads=[2, 1, 0, 1]))
    net.result(net.conv(x, 8, 9, (3, 2), 200, strides=[2, 2], pads=[1, 0, 2, 1]))
    chain = net.conv(x, 8, 24, (3, 3), 0, pads=[1, 1, 1, 1])
    deep = net.conv(chain, 24, 24, (3, 3), 5, group=24, pads=[1, 1, 1, 1])
    net.result(net.conv(deep, 24, 33, (1, 1), 9))
    pooled = net.op("MaxPool", chain, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    net.result(net.conv(pooled, 24, 10, (3, 3), 5, pads=[1, 1, 1, 1]))
    joined = net.op("Concat", pooled, pooled, axis=1)
    net.result(net.conv(joined, 48, 7, (1, 1), 2))
    net.result(net.op("Transpose", chain, perm=[0, 2, 3, 1]))
    few = net.input(1, 3, 17, 15)
    net.result(net.conv(few, 3, 16, (3, 3), 128, strides=[2, 2], pads=[1, 1, 1, 1]))
    signed = net.input(1, 12, 6, 7, dtype=np.int8)
    y = net.conv(signed, 12, 8, (2, 2), -5, np.int8, pads=[1, 1, 0, 0], dilations=[2, 1])
    net.result(y, TensorProto.INT8)
    rows = net.input(5, 32)
    net.result(net.matmul(net.matmul(rows, 32, 20, 77), 20, 19, 128))
    net.result(net.matmul(net.input(2, 3, 16), 16, 65, 1))
    return net


@needs_dot
def test_every_way_of_writing_and_reading_bytes() -> None:
    net = several()
    proto = net.proto()
    code = compiled(proto)
    assert_equal(net, computed(code, proto, net.inputs))
    assert not code.fallbacks
    products = sum(kernel.calls for kernel in code.kernels if kernel.rule == "dot")
    assert products == sum(node.op_type.startswith("QLinear") for node in proto.graph.node) - 1


@pytest.mark.slow
def test_on_a_core_with_dot_products(tmp_path: Path, qemu: None) -> None:
    net = several()
    found, rules = emulated(net.proto(), "rpi5", list(net.inputs.values()), tmp_path)
    assert "dot" in rules
    assert_equal(net, found)


@pytest.mark.slow
def test_ends_within_bytes_on_a_core_that_saturates(tmp_path: Path, qemu: None) -> None:
    """Sums far beyond a byte, bounds at its ends and within, zero points, signed or not."""
    net = Quantised(1)
    x = net.input(1, 8, 7, 9)
    for number, (dtype, zero) in enumerate(((np.uint8, 0), (np.uint8, 200), (np.int8, -30))):
        y = net.op("Conv", net.op("DequantizeLinear", x, net.keep(1.0, np.float32),
                                  net.keep(9, np.uint8)),
                   net.op("DequantizeLinear", net.keep(net.rng.integers(-127, 128, (13, 8, 3, 3)),
                          np.int8), net.keep(0.01, np.float32), net.keep(0, np.int8)),
                   pads=[1, 1, 1, 1])  # fmt: skip
        low, high = net.keep(-40.0, np.float32), net.keep((50.0, 1e5, 3.0)[number], np.float32)
        y = net.op("Clip", y, low, high)
        scale = net.keep((0.5, 4.0, 0.3)[number], np.float32)
        y = net.op("QuantizeLinear", y, scale, net.keep(zero, dtype))
        net.result(y, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))
    found, rules = emulated(net.proto(), "rpi5", list(net.inputs.values()), tmp_path)
    assert "dot" in rules
    for got, want in zip(found, net.wanted(), strict=True):
        # Scales of input and weights are multiplied first here: a last bit moves a tie.
        far = np.abs(got.astype(int) - want.astype(int))
        assert far.max() <= 1
        assert far.mean() < 0.01
        assert len(np.unique(want)) > 2


def at_the_bounds() -> Quantised:
    """Sums just within and beyond 2^22, ends just within and beyond 16 bits, ties, zero points."""
    net = Quantised(2)
    one, none = net.keep(1.0, np.float32), net.keep(0, np.uint8)
    for depth in (129, 130):  # of products of 255 and 127: 4.18 and 4.21 million
        x = net.input(1, depth, 5, 7)
        net.inputs[x][0, :, 0, :2] = [[255, 0]] * depth
        for out, scale, zero in ((7, 1 / 256, 0), (24, 1 / 256, 3), (12, 1 / 128, 128),
                                 (16, 1 / 512, 77)):  # fmt: skip
            w = net.rng.integers(-1, 2, (out, depth, 1, 1))
            w[0], w[1], w[2] = 127, -127, np.resize([127, -127], (depth, 1, 1))
            y = net.op("QLinearConv", x, one, none, net.keep(w, np.int8),
                       net.keep(scale * 2.0 ** np.arange(out).clip(0, 3), np.float32),
                       net.keep(np.zeros(out), np.int8), one, net.keep(zero, np.uint8))  # fmt: skip
            net.result(y)
    x = net.input(1, 20, 6, 9)
    for scale, zero in ((0.5, 0), (1 / 16, 3), (1 / 64, 128)):
        w = net.keep(net.rng.integers(-127, 128, (20, 1, 3, 3)), np.int8)
        y = net.op("QLinearConv", x, one, none, w, net.keep(np.full(20, scale), np.float32),
                   net.keep(np.zeros(20), np.int8), one, net.keep(zero, np.uint8),
                   group=20, pads=[1, 1, 1, 1])  # fmt: skip
        net.result(y)
    return net


def test_bounds_of_sums_and_ends_are_known() -> None:
    """All four cases stand in the network that is held against onnxruntime below."""
    steps = pipeline.plan_module(adapter.lower(at_the_bounds().proto()), load_board("rpi5")).steps
    specs = [spec for step in steps if isinstance(step.key, tuple) for spec in step.key]
    known = {(s.near_sums, s.near_ends) for s in specs if isinstance(s, (Conv, ByteWindows))}
    assert known == {(a, b) for a in (True, False) for b in (True, False)}


@pytest.mark.slow
def test_sums_and_ends_at_the_bounds_of_what_is_added(tmp_path: Path, qemu: None) -> None:
    net = at_the_bounds()
    found, rules = emulated(net.proto(), "rpi5", list(net.inputs.values()), tmp_path)
    assert {"dot", "depthwise_dot"} <= rules
    for name, got, want in zip(net.outputs, found, net.wanted(), strict=True):
        np.testing.assert_array_equal(got, want, err_msg=name)


@pytest.mark.slow
def test_a_core_without_dot_products_says_so(
    tmp_path: Path, qemu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Quantised(0)
    net.result(net.conv(net.input(1, 4, 3, 3), 4, 4, (1, 1)))
    monkeypatch.setenv("QEMU_CPU", "cortex-a72")
    with pytest.raises(SplitcError, match=r"\+dotprod.*does not have"):
        emulated(net.proto(), "rpi5", list(net.inputs.values()), tmp_path)


def test_other_cores_give_the_same() -> None:
    """But for what lies half way between two integers, where Winograd's algorithm rounds."""
    net = several()
    net.result(net.conv(net.input(1, 64, 28, 28), 64, 64, (3, 3), 3, pads=[1, 1, 1, 1]))
    proto = net.proto()
    code = compiled(proto, "x86-64-v2")
    rules = {kernel.rule for kernel in code.kernels}
    assert "dot" not in rules
    assert rules & {"winograd2", "winograd4"}
    for got, want in zip(computed(code, proto, net.inputs), net.wanted(), strict=True):
        far = np.abs(got.astype(int) - want.astype(int))
        assert far.max() <= 1
        assert far.mean() < 0.001


@needs_dot
def test_sums_beyond_what_floats_hold_are_exact() -> None:
    """1,600 products of 255 and 127 are 5e7, beyond 2^24."""
    net = Quantised(0)
    net.inputs["x0"] = np.full((1, 1600, 2, 2), 255, np.uint8)
    net.inputs["x0"][0, :7, 0, 0] = 254
    w = np.full((4, 1600, 1, 1), 127)
    scale, zero = net.keep(1 / 2**18, np.float32), net.keep(0, np.uint8)
    one, w_zero = net.keep(1.0, np.float32), net.keep(0, np.int8)
    y = net.op("QLinearConv", "x0", one, zero, net.keep(w, np.int8), scale, w_zero, one, zero)
    net.result(y)
    proto = net.proto()
    np.testing.assert_array_equal(computed(compiled(proto), proto, net.inputs)[0], net.wanted()[0])


@needs_dot
def test_residuals_are_read_as_bytes() -> None:
    """What a convolution adds from beside is neither widened first nor copied."""
    net = Quantised(3)
    x = net.conv(net.input(1, 16, 9, 9), 16, 16, (3, 3), 0, pads=[1, 1, 1, 1])
    y = net.conv(x, 16, 16, (3, 3), 0, pads=[1, 1, 1, 1])
    part = [net.keep(0.02, np.float32), net.keep(0, np.uint8)]
    total = net.op("QLinearAdd", y, *part, x, *part, net.keep(0.03, np.float32),
                   net.keep(3, np.uint8), domain="com.microsoft")  # fmt: skip
    net.result(net.conv(total, 16, 16, (1, 1), 3))
    proto = net.proto()
    code = compiled(proto)
    assert {k.rule for k in code.kernels if "x9x9" in k.shapes and k.op not in MOVES} == {"dot"}
    got, want = computed(code, proto, net.inputs)[0].astype(int), net.wanted()[0].astype(int)
    # onnxruntime adds in another order: what lies half way between may fall to either side.
    assert np.abs(got - want).max() <= 1
    assert np.mean(got != want) < 0.02


class Images(quantization.CalibrationDataReader):
    """Random inputs."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        rng = np.random.default_rng(5)
        self.left = [{"x": rng.standard_normal(shape).astype(np.float32)} for _ in range(4)]

    def get_next(self) -> Any:
        """The next, None at the end."""
        return self.left.pop() if self.left else None


def network() -> ModelProto:
    """Convolutions with and without bias, a residual, pooling, fully connected layers."""
    net = Net(0)
    x = net.name("x").replace("1", "")
    net.inputs[x] = net.random(1, 3, 16, 16)
    y = net.op("Conv", x, net.random(16, 3, 3, 3), net.random(16), pads=[1, 1, 1, 1])
    y = net.op("MaxPool", net.op("Relu", y), kernel_shape=[2, 2], strides=[2, 2])
    z = net.op("Conv", y, net.random(16, 16, 3, 3) / 12, pads=[1, 1, 1, 1])
    z = net.op("Relu", net.op("Conv", z, net.random(16, 1, 3, 3) / 3, group=16, pads=[1, 1, 1, 1]))
    z = net.op("Conv", z, net.random(16, 16, 1, 1) / 4, net.random(16))
    y = net.op("Relu", net.op("Add", y, z))
    y = net.op("Flatten", net.op("GlobalAveragePool", y))
    y = net.op("Relu", net.op("Gemm", y, net.random(24, 16), net.random(24), transB=1))
    net.outputs = [net.op("MatMul", y, net.random(24, 10))]
    return net.proto()


@needs_dot
@pytest.mark.parametrize("per_channel", [False, True], ids=["one scale", "scale a channel"])
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_both_forms_that_onnxruntime_quantises_to(
    form: str, per_channel: bool, tmp_path: Path
) -> None:
    """Every product of a quantised network is one of bytes, but for the depthwise one."""
    plain, made = save(network(), tmp_path / "plain.onnx"), tmp_path / "made.onnx"
    quantization.quantize_static(
        str(plain), str(made), Images((1, 3, 16, 16)), per_channel=per_channel,
        quant_format=quantization.QuantFormat[form], weight_type=quantization.QuantType.QInt8,
        extra_options={"ForceQuantizeNoInputCheck": True},
    )  # fmt: skip
    proto = onnx.load(made)
    code = compiled(proto)
    calls = Counter[str]()
    for kernel in code.kernels:
        calls[kernel.rule] += kernel.calls
    assert (calls["dot"], calls["depthwise"], calls["conv"]) == (5, 1, 0)
    x = np.random.default_rng(1).standard_normal((1, 3, 16, 16)).astype(np.float32)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    want = np.asarray(session.run(None, {"x": x})[0])
    (got,) = computed(code, proto, {"x": x})
    np.testing.assert_allclose(got, want, atol=0.01 * float(np.ptp(want)))
