# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Operators that are written as others give what onnxruntime gives, in the forms no case of onnx's
has: other axes, lengths, directions and steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import splitc
from splitc.frontend.onnx.model import OnnxModel
from splitc_targets.source.check import unsupported
from tests.targets.nets import Net, assert_right


def whole(*values: int) -> Any:
    return np.array(values if len(values) != 1 else values[0], np.int64)


@pytest.mark.parametrize(
    ("shape", "length", "axis", "inverse", "onesided"),
    [
        ((2, 9, 1), 9, 1, 0, 0), ((2, 9, 1), 9, 1, 0, 1), ((2, 9, 1), 12, 1, 0, 1),
        ((2, 9, 1), 5, -2, 0, 0), ((3, 8, 4, 2), 8, 1, 1, 0), ((3, 8, 4, 2), 3, 2, 0, 0),
        ((1, 1, 1), 1, 1, 0, 0),
    ],
)  # fmt: skip
def test_fourier_transforms(
    shape: tuple[int, ...], length: int, axis: int, inverse: int, onesided: int
) -> None:
    net = Net(0, opset=20)
    net.outputs = [
        net.op("DFT", net.input(*shape), whole(length), whole(axis), inverse=inverse,
               onesided=onesided)
    ]  # fmt: skip
    assert_right(net, rtol=1e-4)


@pytest.mark.parametrize("given", [{}, {"alpha": 0.3}])
@pytest.mark.parametrize(("op", "opset", "operands"), [("Swish", 24, 1), ("SwiGLU", 28, 2)])
def test_a_function_in_a_function_is_put_in_with_its_defaults(
    op: str, opset: int, operands: int, given: dict[str, float]
) -> None:
    """onnxruntime knows no SwiGLU yet: onnx's reference."""
    from onnx.reference import ReferenceEvaluator

    from tests.targets.nets import assert_same, compiled, computed

    net = Net(0, opset)
    net.outputs = [net.op(op, *(net.input(2, 7) for _ in range(operands)), **given)]
    proto = net.proto()
    code = compiled(proto)
    assert not code.fallbacks
    wanted = ReferenceEvaluator(proto).run(None, net.inputs)
    assert_same(computed(code, proto, net.inputs), [np.asarray(each) for each in wanted])


@pytest.mark.parametrize("count", [8, 9])
def test_a_real_signal_is_what_half_of_its_transform_says(count: int) -> None:
    """onnxruntime has no such form: numpy's."""
    from tests.targets.nets import compiled, computed

    net = Net(0, opset=20)
    half = count // 2 + 1
    net.outputs = [
        net.op("DFT", net.input(2, half, 2), whole(count), whole(1), inverse=1, onesided=1)
    ]
    proto = net.proto()
    x = np.random.default_rng(0).standard_normal((2, half, 2), np.float32)
    (got,) = computed(compiled(proto), proto, {proto.graph.input[0].name: x})
    wanted = np.fft.irfft(x[..., 0] + 1j * x[..., 1], count, axis=1)
    np.testing.assert_allclose(got[..., 0], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("onesided", [0, 1])
def test_frames_are_transformed_under_their_window(onesided: int) -> None:
    net = Net(0, opset=17)
    window = np.hanning(6).astype(np.float32)
    net.outputs = [net.op("STFT", net.input(2, 21, 1), whole(4), window, onesided=onesided)]
    assert_right(net, rtol=1e-4)


def body() -> Any:
    """A running sum, times what the turn reads."""
    tensor = helper.make_tensor_value_info
    nodes = [
        helper.make_node("Add", ["state", "row"], ["sum"]),
        helper.make_node("Mul", ["sum", "row"], ["made"]),
    ]
    return helper.make_graph(
        nodes, "body",
        [tensor("state", TensorProto.FLOAT, [2]), tensor("row", TensorProto.FLOAT, [2])],
        [tensor("sum", TensorProto.FLOAT, [2]), tensor("made", TensorProto.FLOAT, [2])],
    )  # fmt: skip


@pytest.mark.parametrize(("axis", "back", "out_axis", "out_back"), [(0, 0, 0, 0), (1, 1, 1, 1)])
def test_a_scan_is_written_out(axis: int, back: int, out_axis: int, out_back: int) -> None:
    net = Net(0, opset=17)
    rows = net.input(*((5, 2) if axis == 0 else (2, 5)))
    net.outputs = net.ops(
        "Scan", net.input(2), rows, results=2, body=body(), num_scan_inputs=1,
        scan_input_axes=[axis], scan_input_directions=[back], scan_output_axes=[out_axis],
        scan_output_directions=[out_back],
    )  # fmt: skip
    assert_right(net)


def test_patches_are_added_up_where_they_lie() -> None:
    net = Net(0, opset=18)
    net.outputs = [
        net.op("Col2Im", net.input(2, 3 * 6, 12), whole(7, 9), whole(2, 3), dilations=[2, 1],
               pads=[1, 0, 0, 1], strides=[2, 2])
    ]  # fmt: skip
    assert_right(net)


@pytest.mark.parametrize("order", [0, 1])
def test_a_pool_tells_the_places_of_what_it_found(order: int) -> None:
    net = Net(0, opset=17)
    net.outputs = net.ops(
        "MaxPool", net.input(2, 3, 7, 8), results=2, kernel_shape=[3, 2], strides=[2, 1],
        pads=[1, 0, 1, 1], storage_order=order,
    )  # fmt: skip
    assert_right(net)


@pytest.mark.parametrize("power", [1, 2])
def test_norms_of_one(power: int) -> None:
    net = Net(0, opset=17)
    x = net.input(3, 4, values=np.array([[1, -2, 3, 0], [0, 0, 0, 0], [5, 5, -5, 5]], np.float32))
    net.outputs = [net.op("LpNormalization", x, axis=1, p=power)]
    assert_right(net)


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_determinants(rows: int) -> None:
    net = Net(0, opset=17)
    net.outputs = [net.op("Det", net.input(4, rows, rows))]
    assert_right(net, rtol=1e-4)


@pytest.mark.parametrize("masked", [False, True])
def test_windows_out_of_shape(masked: bool) -> None:
    net = Net(0, opset=19)
    given = [net.input(2, 4, 6, 7), net.random(6, 2, 3, 2), net.input(2, 2 * 6 * 2, 3, 6)]
    if masked:
        given += [net.random(6), net.input(2, 2 * 6, 3, 6)]
    net.outputs = [
        net.op("DeformConv", *given, group=2, offset_group=2, kernel_shape=[3, 2],
               strides=[2, 1], pads=[1, 0, 0, 0])
    ]  # fmt: skip
    assert_right(net)


def looped(net: Net, turns: int, inside: Any) -> Any:
    """A loop of so many turns that sums what is inside."""
    tensor = helper.make_tensor_value_info
    scalars = [tensor("turn", TensorProto.INT64, []), tensor("goes", TensorProto.BOOL, [])]
    return net.ops(
        "Loop", whole(turns), np.array(True), net.input(2), results=2,
        body=helper.make_graph(
            [*inside, helper.make_node("Identity", ["goes"], ["still"])], "body",
            [*scalars, tensor("state", TensorProto.FLOAT, [2])],
            [tensor("still", TensorProto.BOOL, []), tensor("sum", TensorProto.FLOAT, [2]),
             tensor("made", TensorProto.FLOAT, [2])],
            [numpy_helper.from_array(np.array([0.5, 2], np.float32), "weights")],
        ),
    )  # fmt: skip


SUMS = [
    helper.make_node("Constant", [], ["one"], value_floats=[1.0, -1.0]),
    helper.make_node("Mul", ["state", "weights"], ["made"]),
    helper.make_node("Add", ["made", "one"], ["sum"]),
]


def test_a_loop_is_written_out() -> None:
    net = Net(0, opset=17)
    net.outputs = looped(net, 5, SUMS)
    assert_right(net)


def test_loops_of_too_many_turns_are_refused() -> None:
    net = Net(0, opset=17)
    net.outputs = looped(net, 2000, SUMS)
    network = splitc.load(net.proto(), simplify=False)
    assert isinstance(network, OnnxModel)
    (found,) = unsupported(network)
    assert (found.op, "4,096 nodes" in found.why) == ("Loop", True)
