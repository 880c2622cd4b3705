# SPDX-License-Identifier: Apache-2.0
"""FLOPs, parameter bytes and tensor bytes against hand counts and an outside counter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_tool
import pytest
from onnx import TensorProto, helper, numpy_helper

import splitc
from splitc import zoo
from splitc.ir.graph import Layer
from tests.helpers import model_of

Shapes = Mapping[str, Sequence[int]]
X4 = {"x": (2, 6, 8, 8)}


def layer_of(
    op: str,
    inputs: Shapes,
    weights: Shapes | None = None,
    *,
    opset: int = 17,
    **attributes: Any,
) -> Layer:
    """The one layer of a model of one node."""
    stored = {name: np.ones(shape, np.float32) for name, shape in (weights or {}).items()}
    node = helper.make_node(op, [*inputs, *stored], ["y"], "layer", **attributes)
    proto = model_of([node], dict(inputs), ["y"], stored, opset=opset)
    model = splitc.load(proto, simplify=False)
    return model.graph.layer("layer")


@pytest.mark.parametrize(
    ("weights", "attributes", "flops", "kind"),
    [
        # out 2x4x8x8, each of 6x3x3 multiply-adds
        ({"w": (4, 6, 3, 3)}, {"pads": [1] * 4}, 2 * (2 * 4 * 8 * 8) * (6 * 9), "conv3x3"),
        # the bias starts the sum
        ({"w": (4, 6, 3, 3), "b": (4,)}, {"pads": [1] * 4}, 2 * 512 * 54, "conv3x3"),
        ({"w": (4, 6, 1, 1)}, {}, 2 * 512 * 6, "conv1x1"),
        # stride 2: 4x4 places
        ({"w": (4, 6, 3, 3)}, {"pads": [1] * 4, "strides": [2, 2]}, 2 * (2 * 4 * 16) * 54, "conv"),
        # dilation 2 without padding: 8 - 2*2 = 4
        ({"w": (4, 6, 3, 3)}, {"dilations": [2, 2]}, 2 * (2 * 4 * 4 * 4) * 54, "conv"),
        # three groups: each output sees two channels
        ({"w": (9, 2, 3, 3)}, {"pads": [1] * 4, "group": 3}, 2 * (2 * 9 * 64) * (2 * 9), "conv"),
        # depthwise: each output sees one channel
        ({"w": (6, 1, 3, 3)}, {"pads": [1] * 4, "group": 6}, 2 * (2 * 6 * 64) * 9, "depthwise"),
        ({"w": (4, 6, 5, 3)}, {"pads": [2, 1, 2, 1]}, 2 * 512 * (6 * 15), "conv"),
    ],
)
def test_a_convolution_counts_two_for_each_weight_an_output_sees(
    weights: Shapes, attributes: dict[str, Any], flops: int, kind: str
) -> None:
    layer = layer_of("Conv", X4, weights, **attributes)
    assert layer.flops == flops
    assert layer.kind == kind
    assert layer.param_bytes == 4 * sum(int(np.prod(shape)) for shape in weights.values())


def test_a_transposed_convolution_counts_two_for_each_weight_an_input_meets() -> None:
    layer = layer_of("ConvTranspose", X4, {"w": (6, 4, 3, 3)}, strides=[2, 2])
    assert layer.flops == 2 * (2 * 6 * 8 * 8) * (4 * 3 * 3)
    grouped = layer_of("ConvTranspose", X4, {"w": (6, 4, 3, 3)}, group=2)
    assert grouped.flops == 2 * (2 * 6 * 8 * 8) * (4 * 3 * 3)
    assert grouped.outputs[0].shape == (2, 8, 10, 10)


@pytest.mark.parametrize(
    ("op", "inputs", "weights", "attributes", "flops"),
    [
        ("Gemm", {"x": (3, 5)}, {"w": (5, 7), "b": (7,)}, {}, 2 * 3 * 7 * 5),
        ("Gemm", {"x": (5, 3)}, {"w": (5, 7)}, {"transA": 1}, 2 * 3 * 7 * 5),
        ("Gemm", {"x": (3, 5)}, {"w": (7, 5)}, {"transB": 1, "alpha": 2.0}, 2 * 3 * 7 * 5),
        ("Gemm", {"x": (5, 3)}, {"w": (7, 5)}, {"transA": 1, "transB": 1}, 2 * 3 * 7 * 5),
        ("MatMul", {"x": (3, 5)}, {"w": (5, 7)}, {}, 2 * 3 * 7 * 5),
        ("MatMul", {"x": (4, 1, 3, 5), "z": (2, 5, 7)}, {}, {}, 2 * (4 * 2 * 3 * 7) * 5),
        ("MatMul", {"x": (5,)}, {"w": (5,)}, {}, 2 * 5),
        ("MatMul", {"x": (5,)}, {"w": (5, 7)}, {}, 2 * 7 * 5),
    ],
)
def test_a_matrix_product_counts_two_for_each_step_of_its_inner_loop(
    op: str,
    inputs: Shapes,
    weights: Shapes,
    attributes: dict[str, Any],
    flops: int,
) -> None:
    assert layer_of(op, inputs, weights, **attributes).flops == flops


@pytest.mark.parametrize(
    ("equation", "shapes", "flops"),
    [
        ("ij,jk->ik", [(3, 5), (5, 7)], 2 * 3 * 5 * 7),
        ("bij, bjk -> bik", [(2, 3, 5), (2, 5, 7)], 2 * 2 * 3 * 5 * 7),
        ("...ij,...jk->...ik", [(4, 1, 3, 5), (1, 2, 5, 7)], 2 * 4 * 2 * 3 * 5 * 7),
        ("ij,jk", [(3, 5), (5, 7)], 2 * 3 * 5 * 7),
        ("i,j->ij", [(3,), (5,)], 3 * 5),
        ("ij->ji", [(3, 5)], 0),
        ("ij->i", [(3, 5)], 3 * 5),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)], 3 * 2 * 3 * 4 * 5),
    ],
)
def test_einsum_counts_multiplications_and_one_addition_at_every_point_of_its_index_space(
    equation: str, shapes: list[Sequence[int]], flops: int
) -> None:
    inputs = {f"x{k}": shape for k, shape in enumerate(shapes)}
    assert layer_of("Einsum", inputs, equation=equation).flops == flops


def test_recurrent_layers_count_both_products_of_every_gate_at_every_step() -> None:
    steps, batch, width, hidden = 5, 2, 3, 4
    for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        for directions in (1, 2):
            weights = {
                "w": (directions, gates * hidden, width),
                "r": (directions, gates * hidden, hidden),
            }
            layer = layer_of(
                op,
                {"x": (steps, batch, width)},
                weights,
                hidden_size=hidden,
                direction="bidirectional" if directions == 2 else "forward",
            )
            products = steps * batch * directions * gates * hidden * (width + hidden)
            assert layer.flops == 2 * products
            assert layer.param_bytes == 4 * directions * gates * hidden * (width + hidden)
            assert layer.kind == "recurrent"


@pytest.mark.parametrize(
    ("op", "attributes", "flops"),
    [
        ("MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}, 2 * 6 * 4 * 4 * 4),
        ("AveragePool", {"kernel_shape": [3, 3]}, 2 * 6 * 6 * 6 * 9),
        ("GlobalAveragePool", {}, 2 * 6 * 8 * 8),
        ("GlobalMaxPool", {}, 2 * 6 * 8 * 8),
        ("LRN", {"size": 5}, 2 * 6 * 8 * 8 * (2 * 5 + 4)),
        ("ReduceMean", {"axes": [2, 3]}, 2 * 6 * 8 * 8),
        ("ReduceMax", {"axes": [1], "keepdims": 0}, 2 * 6 * 8 * 8),
        ("ArgMax", {"axis": 1}, 2 * 6 * 8 * 8),
        ("Softmax", {"axis": 1}, 2 * 6 * 8 * 8 * 5),
        ("LogSoftmax", {"axis": 1}, 2 * 6 * 8 * 8 * 5),
        ("Relu", {}, 2 * 6 * 8 * 8),
        ("Sigmoid", {}, 2 * 6 * 8 * 8 * 3),
        ("Erf", {}, 2 * 6 * 8 * 8),
        ("LeakyRelu", {}, 2 * 6 * 8 * 8 * 2),
        ("Transpose", {}, 0),
        ("Flatten", {}, 0),
        ("Identity", {}, 0),
        ("Cast", {"to": TensorProto.FLOAT16}, 0),
        ("DepthToSpace", {"blocksize": 1}, 0),
    ],
)
def test_pools_norms_and_elementwise_layers_follow_the_table(
    op: str, attributes: dict[str, Any], flops: int
) -> None:
    assert layer_of(op, X4, **attributes).flops == flops


def test_normalisations_count_what_each_element_goes_through() -> None:
    elements = 2 * 6 * 8 * 8
    batch = {"scale": (6,), "bias": (6,), "mean": (6,), "var": (6,)}
    layer = layer_of("BatchNormalization", X4, batch)
    assert (layer.flops, layer.param_bytes) == (2 * elements, 4 * 4 * 6)
    instance = layer_of("InstanceNormalization", X4, {"scale": (6,), "bias": (6,)})
    assert (instance.flops, instance.param_bytes) == (7 * elements, 2 * 4 * 6)
    norm = layer_of("LayerNormalization", X4, {"scale": (8,), "bias": (8,)}, axis=-1)
    assert (norm.flops, norm.param_bytes) == (7 * elements, 2 * 4 * 8)


def test_elementwise_layers_count_one_for_each_operand_past_the_first() -> None:
    two: Shapes = {"x": (2, 3), "z": (3,)}
    assert layer_of("Add", two).flops == 6
    three: Shapes = {"x": (2, 3), "z": (3,), "v": (1,)}
    assert layer_of("Sum", three).flops == 2 * 6
    assert layer_of("Max", three).flops == 2 * 6
    assert layer_of("Mean", three).flops == 3 * 6
    assert layer_of("Sum", {"x": (2, 3)}).flops == 0
    assert layer_of("Concat", {"x": (2, 3), "z": (1, 3)}, axis=0).flops == 0


def test_resizing_counts_two_for_each_neighbour_an_output_takes_from() -> None:
    def resized(mode: str, scales: list[float]) -> int:
        nodes = [helper.make_node("Resize", ["x", "", "scales"], ["y"], "layer", mode=mode)]
        stored = {"scales": np.array(scales, np.float32)}
        model = splitc.load(model_of(nodes, {"x": X4["x"]}, ["y"], stored), simplify=False)
        layer = model.graph.layer("layer")
        assert layer.outputs[0].shape == tuple(
            int(n * s) for n, s in zip(X4["x"], scales, strict=True)
        )
        return layer.flops

    assert resized("nearest", [1, 1, 2, 2]) == 0
    assert resized("linear", [1, 1, 2, 2]) == 2 * (2 * 6 * 16 * 16) * 4
    assert resized("linear", [1, 1, 2, 1]) == 2 * (2 * 6 * 16 * 8) * 2
    assert resized("cubic", [1, 1, 2, 2]) == 2 * (2 * 6 * 16 * 16) * 16


def test_attention_counts_two_products_and_a_softmax() -> None:
    inputs: Shapes = {"q": (2, 4, 5, 8), "k": (2, 4, 7, 8), "v": (2, 4, 7, 6)}
    layer = layer_of("Attention", inputs, opset=23)
    assert layer.outputs[0].shape == (2, 4, 5, 6)
    scores = 2 * 4 * 5 * 7
    assert layer.flops == scores * 2 * 8 + scores * 5 + scores * 2 * 6
    flat: Shapes = {"q": (2, 5, 32), "k": (2, 7, 32), "v": (2, 7, 24)}
    same = layer_of("Attention", flat, opset=23, q_num_heads=4, kv_num_heads=4)
    assert same.flops == layer.flops


def test_a_quantised_convolution_counts_like_a_plain_one_and_its_weights_a_byte_each() -> None:
    names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
    node = helper.make_node("QLinearConv", names, ["y"], "layer", pads=[1] * 4)
    scalars = {name: np.array(0.1, np.float32) for name in ("xs", "ws", "ys")}
    zeros = {"xz": np.array(3, np.uint8), "wz": np.array(1, np.uint8), "yz": np.array(0, np.uint8)}
    stored = {**scalars, **zeros, "w": np.ones((4, 6, 3, 3), np.uint8)}
    proto = helper.make_model(
        helper.make_graph(
            [node],
            "quantised",
            [helper.make_tensor_value_info("x", TensorProto.UINT8, X4["x"])],
            [helper.make_tensor_value_info("y", TensorProto.UINT8, (2, 4, 8, 8))],
            [numpy_helper.from_array(value, name) for name, value in stored.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    layer = splitc.load(proto, simplify=False).graph.layer("layer")
    assert layer.flops == 2 * (2 * 4 * 64) * 54
    assert layer.kind == "conv3x3"
    assert layer.param_bytes == 4 * 6 * 9 + 3 * 4 + 3
    assert layer.outputs[0].nbytes == 2 * 4 * 64


def test_a_weight_counts_through_the_constants_that_are_computed_from_it() -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "wt"], ["y"], "layer"),
    ]
    stored = {"w": np.ones((7, 5), np.float32)}
    layer = splitc.load(model_of(nodes, {"x": (3, 5)}, ["y"], stored), simplify=False).graph.layer(
        "layer"
    )
    assert layer.param_bytes == 4 * 35
    assert layer.flops == 2 * 3 * 7 * 5


@pytest.mark.parametrize(
    ("dtype", "shape", "expected"),
    [
        (TensorProto.FLOAT, (2, 3), 24),
        (TensorProto.FLOAT16, (2, 3), 12),
        (TensorProto.BFLOAT16, (2, 3), 12),
        (TensorProto.DOUBLE, (2, 3), 48),
        (TensorProto.INT8, (2, 3), 6),
        (TensorProto.BOOL, (5,), 5),
        (TensorProto.INT64, (), 8),
        (TensorProto.INT4, (3,), 2),
        (TensorProto.FLOAT8E4M3FN, (7,), 7),
        (TensorProto.FLOAT, (0, 4), 0),
    ],
)
def test_tensor_bytes_follow_shape_and_type(
    dtype: int, shape: Sequence[int], expected: int
) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "typed",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", dtype, shape)],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    assert splitc.load(proto, simplify=False).graph.tensors["y"].nbytes == expected


def test_an_operator_of_a_foreign_domain_is_not_taken_for_its_namesake() -> None:
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x"], ["y"], "layer", domain="my.own")],
        "foreign",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 3))],
    )
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("my.own", 1)]
    model = splitc.load(helper.make_model(graph, opset_imports=imports), simplify=False)
    assert model.graph.layer("layer").flops == 6


@pytest.mark.parametrize("name", sorted({*zoo.NAMES} - {"alexnet", "vgg19", "zfnet512"}))
def test_an_outside_counter_agrees_on_every_product_of_the_zoo(name: str) -> None:
    """onnx-tool counts multiply-adds, and one more for each output that a bias is added to."""
    model = splitc.load(zoo.build(name), simplify=False)
    outside: Any = onnx_tool.Model(model.proto, {"verbose": False}).graph
    outside.shape_infer(None)
    outside.profile()
    nodes = {node.name: node for node in model.proto.graph.node}
    products = [la for la in model.graph.layers if la.op in ("conv", "gemm", "matmul")]
    assert len(products) > 20
    for layer in products:
        biased = len(nodes[layer.name].input) == 3
        macs = outside.nodemap[layer.name].macs[0] - biased * (layer.outputs[0].elements or 0)
        assert layer.flops == 2 * macs, layer.name
    for layer in model.graph.layers:
        for tensor in layer.outputs[:1]:  # old operators say nothing of a dropout's mask
            shape = tuple(outside.tensormap[tensor.name].get_shape())
            assert shape == tensor.shape, tensor.name


def test_the_known_totals_of_two_networks() -> None:
    """4.1 G multiply-adds and 25.5 M weights of ResNet50; 1.24 M weights of SqueezeNet."""
    resnet = splitc.load(zoo.build("resnet50"), simplify=False).graph
    products = sum(la.flops for la in resnet.layers if la.op in ("conv", "gemm"))
    assert products == 2 * 4_089_184_256
    weights = sum(la.param_bytes for la in resnet.layers if la.op in ("conv", "gemm"))
    assert weights == 4 * (25_557_032 - 2 * 26_560)
    squeezenet = splitc.load(zoo.build("squeezenet"), simplify=False).graph
    assert sum(la.param_bytes for la in squeezenet.layers) == 4 * 1_235_496
