# SPDX-License-Identifier: Apache-2.0
"""What the ONNX front end reads, and the one form it brings it to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import splitc
from splitc.bundle.golden import seeded_inputs
from splitc.errors import BadModelError, IllegalCutError, UsageError
from splitc.frontend.onnx.model import OnnxModel
from splitc.ir.cut import Cut
from splitc.runtime.ort import Session
from tests.frontend.nets import Array, chain, model, value
from tests.frontend.splitting import assert_close, assert_split_equals, run_plain, several, single
from tests.helpers import small_network, two_headed_network


def names(loaded: OnnxModel) -> list[str]:
    return [layer.name for layer in loaded.graph.layers]


def assert_same_results(loaded: OnnxModel, source: ModelProto, tolerance: float = 1e-6) -> None:
    feed = seeded_inputs(loaded.graph.inputs, 3)
    results = [out.name for out in source.graph.output]
    expected = Session(source.SerializeToString()).run(results, feed)
    assert_close(loaded.run(feed), dict(zip(results, expected, strict=True)), tolerance)


def assert_splits(loaded: OnnxModel) -> None:
    feed = seeded_inputs(loaded.graph.inputs, 4)
    cuts = [*single(loaded.graph), *several(loaded, 3)]
    assert_split_equals(loaded, cuts, feed, run_plain(loaded.proto, feed))


NEWEST = onnx.defs.onnx_opset_version()


@pytest.mark.parametrize(
    ("opset", "simplify"),
    [*((opset, False) for opset in range(7, NEWEST + 1)), (7, True), (NEWEST, True)],
)
def test_a_model_of_any_opset_from_7_on_is_read(opset: int, simplify: bool) -> None:
    weight = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Add", ["r", "c"], ["y"], "add"),
    ]
    proto = model(
        nodes, [value("x", (1, 3, 6, 6))], [value("y", (1, 4, 4, 4))], {"w": weight}, opset=opset
    )
    loaded = splitc.load(proto, simplify=simplify)
    assert names(loaded) == ["x", "conv", "relu", "add"]
    head, tail = loaded.split(Cut.after(loaded.graph, ["conv"]))
    assert [o.version for o in head.proto.opset_import] == [opset]
    assert names(tail) == ["c", "relu", "add"]


def test_a_file_as_onnx_writes_it_today_is_run_and_written_for_onnxruntime() -> None:
    given = chain("Relu", "Tanh")
    given.ir_version = onnx.IR_VERSION
    loaded = splitc.load(given)
    x = np.full(loaded.graph.inputs[0].static_shape, 0.5, np.float32)
    (result,) = loaded.run({"x": x}).values()
    np.testing.assert_allclose(result, np.tanh(x), rtol=1e-6)
    Session(loaded.proto.SerializeToString())


def test_shapes_computed_from_shapes_are_known_in_old_opsets_without_simplifying() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("Shape", ["r"], ["s"], "shape"),
        helper.make_node("Gather", ["s", "zero"], ["n"], "gather", axis=0),
        helper.make_node("Unsqueeze", ["n"], ["n1"], "unsqueeze", axes=[0]),
        helper.make_node("Concat", ["n1", "rest"], ["to"], "concat", axis=0),
        helper.make_node("Reshape", ["r", "to"], ["flat"], "reshape"),
        helper.make_node("Sigmoid", ["flat"], ["y"], "sigmoid"),
    ]
    stored = {"zero": np.array(0, np.int64), "rest": np.array([-1], np.int64)}
    proto = model(nodes, [value("x", (2, 3, 4))], [value("y", None)], stored, opset=9)
    loaded = splitc.load(proto, simplify=False)
    assert loaded.graph.tensors["flat"].shape == (2, 12)
    assert loaded.graph.tensors["y"].shape == (2, 12)
    head, tail = loaded.split(Cut.after(loaded.graph, ["reshape"]))
    assert tail.graph.inputs[0].shape == (2, 12)
    assert head.graph.outputs == ("flat",)
    assert_splits(loaded)


# Functions, several inputs and results, dynamic extents ------------------------------------


def test_local_functions_are_inlined() -> None:
    inner = helper.make_function(
        "mine", "Inner", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    outer = helper.make_function(
        "mine", "Outer", ["a"], ["b"],
        [
            helper.make_node("Inner", ["a"], ["t"], domain="mine"),
            helper.make_node("Mul", ["t", "t"], ["b"]),
        ],
        [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)],
    )  # fmt: skip
    nodes = [
        helper.make_node("Outer", ["x"], ["o"], domain="mine"),
        helper.make_node("Outer", ["o"], ["p"], domain="mine"),
        helper.make_node("Add", ["p", "t"], ["y"], "last"),
    ]
    proto = model(
        nodes, [value("x", (1, 4))], [value("y", (1, 4))], {"t": np.ones(4, np.float32)},
        domains=["mine"], functions=[inner, outer],
    )  # fmt: skip
    for simplify in (False, True):
        loaded = splitc.load(proto, simplify=simplify)
        assert not loaded.proto.functions
        assert [la.op for la in loaded.graph.layers] == ["input", *["relu", "mul"] * 2, "add"]
        assert loaded.graph.layer("last").param_bytes == 16
        assert_same_results(loaded, proto)
        assert_splits(loaded)


def test_several_inputs_and_results_are_kept_in_order() -> None:
    proto = two_headed_network()
    loaded = splitc.load(proto)
    assert [t.name for t in loaded.graph.inputs] == ["a", "b"]
    assert loaded.graph.outputs == ("early", "late")
    head, tail = loaded.split(Cut.after(loaded.graph, ["tanh"]))
    assert [t.name for t in head.graph.inputs] == ["a", "b"]
    assert head.graph.outputs == ("s", "t", "early")
    assert tail.graph.outputs == ("late",)
    assert_splits(loaded)


def test_a_late_input_is_an_input_of_the_tail_too() -> None:
    nodes = [
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("Add", ["r", "b"], ["y"], "add"),
    ]
    proto = model(nodes, [value("a", (1, 4)), value("b", (1, 4))], [value("y", (1, 4))])
    loaded = splitc.load(proto)
    cut = Cut.after(loaded.graph, ["relu"])
    head, tail = loaded.split(cut)
    assert head.graph.outputs == ("r",)
    assert [t.name for t in tail.graph.inputs] == ["b", "r"]
    feed = seeded_inputs(loaded.graph.inputs, 1)
    assert_split_equals(loaded, [cut], feed, run_plain(loaded.proto, feed))


@pytest.mark.parametrize("declared", [("n", 3, "h", "w"), (-1, 3, 8, 8), (1, 3, 0, 8), None])
def test_dynamic_extents_are_fixed_by_the_user(declared: Sequence[int | str] | None) -> None:
    proto = model(
        [helper.make_node("GlobalMaxPool", ["x"], ["y"], "pool")],
        [value("x", declared)],
        [value("y", ("n", 3, 1, 1))],
    )
    loaded = splitc.load(proto, inputs={"x": (1, 3, 8, 8)}, simplify=False)
    assert loaded.graph.inputs[0].shape == (1, 3, 8, 8)
    assert loaded.graph.tensors["y"].shape == (1, 3, 1, 1)


@pytest.mark.parametrize(
    ("declared", "what", "hint"),
    [
        (("batch", 3, "h", 8), "input 'x' has dynamic extents: batchx3xhx8", "x:1x3x1x8"),
        ((-1, 3, 8, 8), "input 'x' has dynamic extents: -1x3x8x8", "x:1x3x8x8"),
        (None, "input 'x' has dynamic extents: ?", "x:1x3x224x224"),
    ],
)
def test_a_dynamic_extent_that_nobody_fixes_is_an_error_that_shows_the_flag(
    declared: Sequence[int | str] | None, what: str, hint: str
) -> None:
    proto = model(
        [helper.make_node("Relu", ["x"], ["y"])], [value("x", declared)], [value("y", None)]
    )
    with pytest.raises(BadModelError, match="dynamic extents") as caught:
        splitc.load(proto, simplify=False)
    assert caught.value.what == what
    assert caught.value.hint == f"fix them, for example --input {hint}"


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"x": (2, 4)}, r"input 'x' cannot be 2x4\n.*declares 1x\?"),
        ({"x": (1, 4, 1)}, "input 'x' cannot be 1x4x1"),
        ({"x": (1, -4)}, "input 'x' cannot be 1x-4"),
        ({"x": (1, 4), "X1": (1, 4)}, r"no input 'X1'\n.*did you mean 'x'"),
        ({"x": (1, 4), "w": (4,)}, "no input 'w'"),
    ],
)
def test_an_input_shape_that_cannot_be_is_a_usage_error(
    inputs: dict[str, tuple[int, ...]], expected: str
) -> None:
    proto = model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [value("x", (1, "n")), value("w", (4,))],
        [value("y", (1, 4))],
        {"w": np.ones(4, np.float32)},
    )
    with pytest.raises(UsageError, match=expected):
        splitc.load(proto, inputs=inputs, simplify=False)


# Control flow, quantisation, and odd corners of ONNX ----------------------------------------


def control_flow(op: str) -> ModelProto:
    """x -> relu -> r -> If, Loop or Scan that captures r and a weight -> tanh -> y."""
    body_nodes = [
        helper.make_node("Add", ["r", "w"], ["sum"]),
        helper.make_node("Mul", ["sum", "scale"], ["out"]),
    ]
    body_out = [value("out", (2, 3))]
    stored: dict[str, Array] = {
        "w": np.ones((2, 3), np.float32),
        "scale": np.full(1, 2, np.float32),
    }
    if op == "If":
        negated = helper.make_node("Neg", ["r"], ["minus"])
        nodes = [
            helper.make_node("ReduceMax", ["r"], ["m"], "max", keepdims=0),
            helper.make_node("Cast", ["m"], ["c"], "cast", to=TensorProto.BOOL),
            helper.make_node(
                "If", ["c"], ["u"], "control",
                then_branch=helper.make_graph(body_nodes, "then", [], body_out),
                else_branch=helper.make_graph([negated], "else", [], [value("minus", (2, 3))]),
            ),
        ]  # fmt: skip
    elif op == "Loop":
        body = helper.make_graph(
            [
                helper.make_node("Identity", ["cond"], ["cond_out"]),
                helper.make_node("Add", ["state", "r"], ["carried"]),
                helper.make_node("Mul", ["carried", "w"], ["out"]),
            ],
            "body",
            [value("i", (), TensorProto.INT64), value("cond", (), TensorProto.BOOL),
             value("state", (2, 3))],
            [value("cond_out", (), TensorProto.BOOL), *body_out],
        )  # fmt: skip
        stored["trips"] = np.array(3, np.int64)
        stored["start"] = np.zeros((2, 3), np.float32)
        stored.pop("scale")
        nodes = [helper.make_node("Loop", ["trips", "", "start"], ["u"], "control", body=body)]
    else:
        body = helper.make_graph(
            [
                helper.make_node("Add", ["state", "row"], ["next"]),
                helper.make_node("Mul", ["next", "bias"], ["row_out"]),
            ],
            "body",
            [value("state", (3,)), value("row", (3,))],
            [value("next", (3,)), value("row_out", (3,))],
        )
        stored = {"start": np.zeros(3, np.float32), "bias": np.full(3, 2, np.float32)}
        nodes = [
            helper.make_node(
                "Scan", ["start", "r"], ["last", "u"], "control", body=body, num_scan_inputs=1
            )
        ]
    return model(
        [
            helper.make_node("Relu", ["x"], ["r"], "relu"),
            *nodes,
            helper.make_node("Tanh", ["u"], ["y"], "tanh"),
        ],
        [value("x", (2, 3))],
        [value("y", (2, 3))],
        stored,
    )


@pytest.mark.parametrize("simplify", [False, True])
@pytest.mark.parametrize(
    ("op", "inputs", "weights"),
    [("If", {"c", "r"}, 24 + 4), ("Loop", {"r"}, 8 + 24 + 24), ("Scan", {"r"}, 12 + 12)],
)
def test_control_flow_is_one_layer_that_reads_what_its_bodies_capture(
    op: str, inputs: set[str], weights: int, simplify: bool
) -> None:
    proto = control_flow(op)
    loaded = splitc.load(proto, simplify=simplify)
    assert_same_results(loaded, proto)
    assert_splits(loaded)
    if simplify:
        return
    layer = loaded.graph.layer("control")
    assert (layer.op, layer.kind) == (op.lower(), "control")
    assert set(layer.inputs) == inputs
    assert layer.param_bytes == weights
    assert layer.flops > 0
    head, tail = loaded.split(Cut.after(loaded.graph, ["relu"]))
    assert not head.proto.graph.initializer
    assert "control" in names(tail)


def test_a_quantised_graph_keeps_its_quantise_and_dequantise_layers() -> None:
    stored: dict[str, Array] = {
        "s": np.array(0.05, np.float32),
        "z": np.array(3, np.uint8),
        "wq": np.random.default_rng(0).integers(0, 9, (4, 3, 3, 3), np.uint8),
        "ws": np.array(0.1, np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "quantise"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], "dequantise"),
        helper.make_node("DequantizeLinear", ["wq", "ws"], ["w"], "weight"),
        helper.make_node("Conv", ["d", "w"], ["c"], "conv"),
        helper.make_node("Relu", ["c"], ["y"], "relu"),
    ]
    proto = model(nodes, [value("x", (1, 3, 6, 6))], [value("y", (1, 4, 4, 4))], stored)
    loaded = splitc.load(proto, simplify=False)
    assert names(loaded) == ["x", "quantise", "dequantise", "conv", "relu"]
    conv = loaded.graph.layer("conv")
    assert conv.param_bytes == 4 * 27 + 4  # as stored, a byte each, and its scale
    assert loaded.graph.tensors["q"].nbytes == 3 * 36
    head, tail = loaded.split(Cut.after(loaded.graph, ["quantise"]))
    assert {t.name for t in head.proto.graph.initializer} == {"s", "z"}
    assert {t.name for t in tail.proto.graph.initializer} == {"s", "z", "wq", "ws"}
    assert tail.graph.inputs[0].dtype == "uint8"
    assert_same_results(loaded, proto)
    assert_splits(loaded)
    assert_splits(splitc.load(proto))


def test_initialisers_that_are_inputs_too_are_weights() -> None:
    proto = small_network()
    shapes = {t.name: t.dims for t in proto.graph.initializer}
    proto.graph.input.extend(value(name, [*dims]) for name, dims in shapes.items())
    loaded = splitc.load(proto)
    assert [t.name for t in loaded.graph.inputs] == ["x"]
    assert [v.name for v in loaded.proto.graph.input] == ["x"]


def test_dead_nodes_and_unread_weights_are_dropped() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "w"], ["dead1"], "dead1"),
        helper.make_node("Exp", ["dead1"], ["dead2"], "dead2"),
        helper.make_node("Tanh", ["r"], ["y"], "tanh"),
        helper.make_node("Neg", ["y"], ["dead3"], "dead3"),
    ]
    stored = {name: np.ones((4, 4), np.float32) for name in ("v", "w", "u")}
    loaded = splitc.load(
        model(nodes, [value("x", (1, 4))], [value("y", (1, 4))], stored), simplify=False
    )
    assert names(loaded) == ["x", "relu", "tanh"]
    assert len(loaded.proto.graph.node) == 2
    assert not loaded.proto.graph.initializer


def test_optional_inputs_and_outputs_may_be_left_empty() -> None:
    stored: dict[str, Array] = {
        "scales": np.array([1, 1, 2, 2], np.float32),
        "w": np.ones((1, 16, 36), np.float32) * np.float32(0.01),
        "r": np.ones((1, 16, 4), np.float32) * np.float32(0.1),
    }
    nodes = [
        helper.make_node("Resize", ["x", "", "scales"], ["big"], "resize"),
        helper.make_node("Squeeze", ["big", "axis"], ["rows"], "squeeze"),
        helper.make_node("LSTM", ["rows", "w", "r"], ["", "h"], "lstm", hidden_size=4),
        helper.make_node("Clip", ["h", "", "top"], ["y"], "clip"),
    ]
    stored |= {"axis": np.array([1], np.int64), "top": np.array(0.1, np.float32)}
    proto = model(nodes, [value("x", (2, 1, 3, 18))], [value("y", (1, 6, 4))], stored)
    loaded = splitc.load(proto, simplify=False)
    assert loaded.graph.layer("resize").inputs == ("x",)
    assert [t.name for t in loaded.graph.layer("lstm").outputs] == ["h"]
    assert_same_results(loaded, proto)
    assert_splits(loaded)


def test_tensors_without_axes_are_read_and_cross_the_link() -> None:
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], "sum", keepdims=0),
        helper.make_node("Mul", ["s", "k"], ["y"], "scale"),
    ]
    stored = {"k": np.array(2, np.float32)}
    loaded = splitc.load(model(nodes, [value("x", ())], [value("y", ())], stored), simplify=False)
    assert loaded.graph.tensors["s"].shape == ()
    assert loaded.graph.tensors["s"].nbytes == 4
    _, tail = loaded.split(Cut.after(loaded.graph, ["sum"]))
    assert tail.graph.inputs[0].shape == ()
    assert_splits(loaded)


def test_nodes_in_any_order_are_sorted_and_an_order_that_does_is_kept() -> None:
    proto = small_network()
    order = [node.name for node in proto.graph.node]
    assert names(splitc.load(proto, simplify=False))[1:] == order
    backwards = ModelProto()
    backwards.CopyFrom(proto)
    del backwards.graph.node[:]
    backwards.graph.node.extend(reversed(proto.graph.node))
    loaded = splitc.load(backwards, simplify=False)
    assert names(loaded)[1:] == order
    assert_same_results(loaded, proto)


def test_ten_thousand_nodes_backwards_take_no_longer_than_forwards() -> None:
    proto = chain(*["Relu"] * 10_000)
    nodes = [*proto.graph.node]
    for node in nodes:
        node.name = "same"
    del proto.graph.node[:]
    proto.graph.node.extend(reversed(nodes))
    graph = splitc.load(proto, simplify=False).graph
    assert len(graph) == 10_001
    assert graph.layers[-1].name == "same.10000"


def test_names_that_are_missing_twice_or_taken_are_made_unique_and_stay() -> None:
    ops = ["Relu", "Abs", "Neg", "Exp", "Sqrt", "Tanh", "Sin", "Cos"]
    proto = chain(*ops)
    given = ["", "n", "n", "", "x", "t4", "a, b", " "]
    for node, name in zip(proto.graph.node, given, strict=True):
        node.name = name
    expected = ["x", "t1", "n", "n.2", "t4.2", "x.2", "t4", "a_ b", "y"]
    assert names(splitc.load(proto, simplify=False)) == expected
    assert names(splitc.load(proto, simplify=False)) == expected
    assert names(splitc.load(proto, simplify=True)) == expected


def test_layers_are_called_as_the_nodes_are_and_simplifying_keeps_their_names() -> None:
    proto = small_network()
    loaded = splitc.load(proto)
    assert loaded.note == ""
    assert names(loaded) == ["x", *(node.name for node in proto.graph.node)]
    again = splitc.load(proto)
    assert str(again.graph) == str(loaded.graph)
    assert again.proto == loaded.proto
    assert again.fingerprint() == loaded.fingerprint()


def test_a_layer_called_like_a_boundary_tensor_does_not_disturb_the_tail() -> None:
    proto = chain("Relu", "Abs", "Exp")
    proto.graph.node[2].name = "t1"
    loaded = splitc.load(proto, simplify=False)
    assert names(loaded) == ["x", "n0", "n1", "t1"]
    _, tail = loaded.split(Cut.after(loaded.graph, ["n0"]))
    assert names(tail) == ["t1", "n1", "t1.2"]
    assert_splits(loaded)


def test_simplifying_folds_constants_and_batch_norms() -> None:
    stored: dict[str, Array] = {
        "w": np.random.default_rng(1).standard_normal((4, 3, 1, 1)).astype(np.float32),
        **{name: np.full(4, 0.5, np.float32) for name in ("scale", "bias", "mean", "var")},
        "shape": np.array([1, 4, 36], np.int64),
        "one": np.array([1], np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node(
            "BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["b"], "norm"
        ),
        helper.make_node("Reshape", ["b", "shape"], ["f"], "reshape"),
        helper.make_node("Exp", ["one"], ["e"], "constant"),
        helper.make_node("Mul", ["f", "e"], ["y"], "mul"),
    ]
    proto = model(nodes, [value("x", (1, 3, 6, 6))], [value("y", (1, 4, 36))], stored)
    plain, simpler = splitc.load(proto, simplify=False), splitc.load(proto)
    assert names(plain) == ["x", "conv", "norm", "reshape", "mul"]
    assert names(simpler) == ["x", "conv", "reshape", "mul"]
    assert plain.note == simpler.note == ""
    for loaded in (plain, simpler):
        assert_same_results(loaded, proto, 1e-5)
        assert_splits(loaded)


def test_constants_of_every_kind_are_weights_and_stand_only_where_they_are_read() -> None:
    def constant(name: str, **attribute: Any) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], **attribute)

    nodes = [
        constant("a", value=numpy_helper.from_array(np.full((1, 4), 2, np.float32))),
        constant("b", value_float=3.0),
        constant("c", value_floats=[1.0, 2.0, 3.0, 4.0]),
        constant("d", value_ints=[4]),
        constant("e", value_int=0),
        helper.make_node("Add", ["a", "c"], ["ac"], "both"),
        helper.make_node("Mul", ["x", "ac"], ["h1"], "first"),
        helper.make_node("Add", ["h1", "b"], ["h2"], "second"),
        helper.make_node("Reshape", ["h2", "d"], ["h3"], "third"),
        helper.make_node("Add", ["h3", "ac"], ["h4"], "fourth"),
        helper.make_node("Gather", ["h4", "e"], ["y"], "fifth"),
    ]
    proto = model(nodes, [value("x", (1, 4))], [value("y", (4,))])
    loaded = splitc.load(proto, simplify=False)
    assert names(loaded) == ["x", "first", "second", "third", "fourth", "fifth"]
    head, tail = loaded.split(Cut.after(loaded.graph, ["second"]))
    assert {t.name for t in head.proto.graph.initializer} == {"a", "b", "c"}
    assert {t.name for t in tail.proto.graph.initializer} == {"a", "c", "d", "e"}
    assert [node.name for node in head.proto.graph.node] == ["both", "first", "second"]
    assert [node.name for node in tail.proto.graph.node] == ["both", "third", "fourth", "fifth"]
    assert_splits(loaded)


def test_a_result_that_is_stored_or_an_input_is_made_by_a_part() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("Add", ["r", "w"], ["y"], "add"),
    ]
    shape = (1, 4)
    proto = model(
        nodes,
        [value("x", shape)],
        [value("y", shape), value("w", (4,)), value("x", shape)],
        {"w": np.ones(4, np.float32)},
    )
    for simplify in (False, True):
        loaded = splitc.load(proto, simplify=simplify)
        assert loaded.graph.outputs == ("y", "w", "x")
        assert_splits(loaded)


def test_a_result_that_folds_to_a_constant_is_still_made_by_a_layer() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"], "shape"),
        helper.make_node("Relu", ["x"], ["y"], "relu"),
    ]
    outputs = [value("y", (1, 4)), value("s", (2,), TensorProto.INT64)]
    proto = model(nodes, [value("x", (1, 4))], outputs)
    loaded = splitc.load(proto)
    np.testing.assert_array_equal(
        loaded.run({"x": np.zeros((1, 4), np.float32)})["s"], np.array([1, 4])
    )
    assert_splits(loaded)


@pytest.mark.parametrize("declared", [(), None, (-1, 4), ("n", "m")])
def test_a_result_that_declares_no_shape_gets_the_one_its_operators_give(
    declared: Sequence[int | str] | None,
) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("Tanh", ["r"], ["y"], "tanh"),
    ]
    proto = model(nodes, [value("x", (1, 4))], [value("y", declared)])
    loaded = splitc.load(proto)
    assert loaded.note == ""
    assert loaded.graph.tensors["y"].shape == (1, 4)
    assert_splits(loaded)


def test_what_a_model_says_of_tensors_in_between_is_not_believed() -> None:
    proto = chain("Relu", "Tanh")
    proto.graph.value_info.append(value("t1", (7, 7, 7)))
    assert splitc.load(proto).graph.tensors["t1"].shape == (1, 4)


def test_a_cut_whose_tensor_has_no_fixed_size_is_not_one() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("NonZero", ["r"], ["n"], "nonzero"),
        helper.make_node("Abs", ["n"], ["y"], "abs"),
    ]
    proto = model(nodes, [value("x", (2, 4))], [value("y", None, TensorProto.INT64)])
    loaded = splitc.load(proto)
    assert loaded.graph.tensors["n"].shape == (2, None)
    with pytest.raises(IllegalCutError, match=r"after 'nonzero'\n.*size of 'n' depends on data"):
        loaded.split(Cut.after(loaded.graph, ["nonzero"]))
    with pytest.raises(IllegalCutError, match=r"the tail would be empty"):
        loaded.split(Cut.after(loaded.graph, ["abs"]))
    _, tail = loaded.split(Cut.after(loaded.graph, ["relu"]))
    assert tail.graph.tensors["y"].shape == (2, None)
    assert_splits(loaded)


def test_running_names_the_input_that_is_missing_or_does_not_fit() -> None:
    loaded = splitc.load(chain("Relu"), simplify=False)
    with pytest.raises(BadModelError, match="no value for input 'x'"):
        loaded.run({})
    with pytest.raises(BadModelError, match="onnxruntime cannot run it"):
        loaded.run({"x": np.zeros((9, 9), np.float32)})


def test_a_saved_part_runs_on_its_own(tmp_path: Path) -> None:
    loaded = splitc.load(small_network())
    head, tail = loaded.split(Cut.after(loaded.graph, ["block_add"]))
    feed = seeded_inputs(loaded.graph.inputs, 5)
    assert head.save(tmp_path / "head.onnx") == [tmp_path / "head.onnx"]
    tail.save(tmp_path / "tail.onnx")
    sent = Session(tmp_path / "head.onnx").run(head.graph.outputs, feed)
    got = Session(tmp_path / "tail.onnx").run(
        tail.graph.outputs, dict(zip(head.graph.outputs, sent, strict=True))
    )
    assert_close(dict(zip(tail.graph.outputs, got, strict=True)), loaded.run(feed), 1e-6)
