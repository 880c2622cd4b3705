# SPDX-License-Identifier: Apache-2.0
"""Shapes of tensors, held against what is computed: by onnxruntime, and by onnx's own cases."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import splitc
from splitc.bundle.golden import seeded_inputs
from splitc.errors import BadModelError, SplitcError
from splitc.frontend.onnx.form import normalise
from splitc.frontend.onnx.shapes import infer
from splitc.ir.graph import Tensor
from splitc.runtime.ort import Session
from tests.frontend.nets import Array, model, value
from tests.helpers import save

_DATA = ("Compress", "ImageDecoder", "NonMaxSuppression", "NonZero", "Unique")
"""Operators whose results' extents hang on what is in the data."""
_OPEN = ("flexattention", "loop11", "scan_sum", "range_float16", "range_bfloat16")
"""Cases whose shapes hang on the body of an operator of its own, on a number of turns, or on
arithmetic that onnxruntime does not do."""


def shapes_of(proto: ModelProto) -> dict[str, Tensor]:
    return infer(normalise(ModelProto.FromString(proto.SerializeToString()), {}))


def undeclared(proto: ModelProto, stored: Mapping[str, Array]) -> ModelProto:
    """The model with some inputs stored, and results that declare a type alone."""
    proto = ModelProto.FromString(proto.SerializeToString())
    proto.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(a), n) for n, a in stored.items()
    )
    for out in proto.graph.output:
        out.type.tensor_type.ClearField("shape")
    return proto


def node_cases() -> list[tuple[str, ModelProto, list[Any], list[Any]]]:
    """Every case of a single operator that onnx carries and splitc reads, with its values."""
    from onnx.backend.test.case.node import collect_testcases

    found: list[tuple[str, ModelProto, list[Any], list[Any]]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases: list[Any] = collect_testcases(None)  # pyright: ignore[reportArgumentType]
        for case in cases:
            proto = case.model
            if proto is None or case.name.endswith("_expanded") or "_cast" in case.name:
                continue
            opset = max((o.version for o in proto.opset_import if not o.domain), default=0)
            tensors = all(
                v.type.HasField("tensor_type") and v.type.tensor_type.elem_type != 8
                for v in (*proto.graph.input, *proto.graph.output)
            )
            if tensors and opset >= 7 and not any(word in case.name for word in _OPEN):
                inputs, outputs = case.data_sets[0]
                found.append((case.name, proto, list(inputs), list(outputs)))
    return found


def is_small(given: Any, floats: bool) -> bool:
    """Whether it may be one of the values that a shape hangs on."""
    if isinstance(given, TensorProto | list):
        return False
    array: Array = np.asarray(given)
    return array.size <= 64 and array.dtype.kind in ("biuf" if floats else "iu")


def extents(array: Any) -> tuple[int, ...]:
    return tuple(array.dims) if isinstance(array, TensorProto) else np.asarray(array).shape


def test_the_shapes_of_all_operators_are_those_of_their_results() -> None:
    wrong: list[str] = []
    operators: set[str] = set()
    for name, proto, inputs, outputs in node_cases():
        op = proto.graph.node[0].op_type
        small = {
            v.name: np.asarray(a)
            for k, (v, a) in enumerate(zip(proto.graph.input, inputs, strict=False))
            if is_small(a, k > 0 or op == "Range")
        }
        found = shapes_of(undeclared(proto, small))
        operators.add(op)
        for out, array in zip(proto.graph.output, outputs, strict=True):
            shape, right = found[out.name].shape, extents(array)
            open_too = op in _DATA and shape is not None and len(shape) == len(right)
            same = shape == right or (
                open_too and all(a in (None, b) for a, b in zip(shape or (), right, strict=True))
            )
            if not same:
                wrong.append(f"{name}: {out.name} {shape} instead of {right}")
    assert not wrong, "\n".join(wrong)
    assert len(operators) > 150


def window_node(rng: np.random.Generator) -> tuple[NodeProto, list[int], dict[str, Array]]:
    """A pool or transposed convolution with attributes at random, and its input's shape."""
    op = str(rng.choice(["AveragePool", "LpPool", "MaxPool", "ConvTranspose"]))
    axes = int(rng.integers(1, 4))

    def some(low: int, high: int, count: int = axes) -> list[int]:
        return [int(n) for n in rng.integers(low, high, count)]

    given: dict[str, Any] = {"kernel_shape": some(1, 5), "strides": some(1, 5)}
    if rng.random() < 0.3:
        given["dilations"] = some(1, 4)
    padding = rng.random()
    if padding < 0.5:
        given["pads"] = some(0, 3, 2 * axes)
    elif padding < 0.8:
        given["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    shape = [1, 2, *some(1, 10)]
    if op != "ConvTranspose":
        given["ceil_mode"] = int(rng.random() < 0.6)
        return helper.make_node(op, ["x"], ["y"], **given), shape, {}
    if rng.random() < 0.4:
        given["output_padding"] = some(0, 3)
    if rng.random() < 0.3:
        given["output_shape"] = some(1, 12)
    weight = rng.standard_normal((2, 3, *given["kernel_shape"])).astype(np.float32)
    group = int(rng.choice([1, 2]))
    return helper.make_node(op, ["x", "w"], ["y"], group=group, **given), shape, {"w": weight}


@pytest.mark.parametrize("opset", [13, 18, 22])
def test_windows_have_the_extents_that_onnxruntime_gives(opset: int) -> None:
    rng = np.random.default_rng(opset)
    right = 0
    for _ in range(500):
        node, shape, stored = window_node(rng)
        proto = model([node], [value("x", shape)], [value("y", None)], stored, opset=opset)
        feed = {"x": np.ones(shape, np.float32)}
        try:
            (given,) = Session(proto.SerializeToString()).run(["y"], feed)
        except BadModelError:
            continue
        try:
            found = shapes_of(proto)["y"].shape
        except BadModelError as error:
            assert "does not fit into" in error.why, (node, given.shape)
            continue
        assert found == given.shape, (node, shape)
        right += 1
    assert right > 150


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool", "LpPool"])
def test_a_result_declared_as_onnx_infers_it_wrongly_is_what_onnxruntime_gives(op: str) -> None:
    window: dict[str, Any] = {"kernel_shape": [2], "strides": [3], "pads": [0, 1], "ceil_mode": 1}
    nodes = [helper.make_node(op, ["x"], ["p"], **window), helper.make_node("Relu", ["p"], ["y"])]
    bare = model(nodes, [value("x", [1, 2, 6])], [value("y", None)], {}, opset=18)
    proto = onnx.shape_inference.infer_shapes(bare)
    (given,) = Session(bare.SerializeToString()).run(["y"], {"x": np.ones((1, 2, 6), np.float32)})
    declared = [dim.dim_value for dim in proto.graph.output[0].type.tensor_type.shape.dim]
    assert declared != list(given.shape)
    loaded = splitc.load(proto)
    assert loaded.graph.output_tensors[0].shape == given.shape
    (ran,) = loaded.run({"x": np.ones((1, 2, 6), np.float32)}).values()
    assert ran.shape == given.shape
    proto.graph.output[0].type.tensor_type.shape.dim[2].dim_value += 1
    with pytest.raises(BadModelError, match="it declares float32"):
        splitc.load(proto)


def normalised(node: NodeProto, opset: int, weights: Mapping[str, Sequence[int]]) -> ModelProto:
    rng = np.random.default_rng(0)
    stored = {n: rng.standard_normal(s).astype(np.float32) for n, s in weights.items()}
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        node,
        helper.make_node("Tanh", ["n"], ["t"], "tanh"),
        helper.make_node("Neg", ["t"], ["y"], "neg"),
    ]
    inputs = [value("x", (1, 8, 4, 4))]
    return model(nodes, inputs, [value("y", (1, 8, 4, 4))], stored, opset=opset)


@pytest.mark.parametrize(
    ("node", "opset", "weights"),
    [
        *(
            (
                helper.make_node("GroupNormalization", ["r", "g", "b"], ["n"], num_groups=2),
                opset,
                {"g": (size,), "b": (size,)},
            )
            for opset, size in ((18, 2), (20, 2), (21, 8), (22, 8))
        ),
        (helper.make_node("MeanVarianceNormalization", ["r"], ["n"]), 13, {}),
        (helper.make_node("MeanVarianceNormalization", ["r"], ["n"], axes=[2, 3]), 13, {}),
        (
            helper.make_node("LayerNormalization", ["r", "g"], ["n"], axis=1),
            17,
            {"g": (8, 1, 1)},
        ),
    ],
)
def test_normalisations_are_read_and_what_follows_has_a_shape(
    node: NodeProto, opset: int, weights: Mapping[str, Sequence[int]]
) -> None:
    loaded = splitc.load(normalised(node, opset, weights), simplify=False)
    for name in ("n", "t", "y"):
        assert loaded.graph.tensors[name] == Tensor(name, (1, 8, 4, 4), "float32")
    table = splitc.find_cuts(loaded, head="rpi4", tail="host", link=splitc.Link("20Mbit"))
    assert [row.cut.name for row in table.rows if row.rejected] == []


def custom(declared: Sequence[int]) -> ModelProto:
    """A custom operator of another domain whose result only the file knows."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("Gelu", ["r"], ["g"], "gelu", domain="com.microsoft"),
        helper.make_node("Tanh", ["g"], ["y"], "tanh"),
    ]
    proto = model(nodes, [value("x", (1, 4))], [value("y", None)])
    proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    proto.graph.value_info.append(value("g", declared))
    return proto


def test_where_operators_say_nothing_of_a_shape_the_file_does() -> None:
    loaded = splitc.load(custom((1, 4)), simplify=False)
    assert loaded.graph.tensors["g"].shape == (1, 4)
    assert loaded.graph.tensors["y"].shape == (1, 4)
    feed = seeded_inputs(loaded.graph.inputs, 0)
    assert loaded.run(feed)["y"].shape == (1, 4)


def test_a_shape_of_the_files_that_is_a_lie_is_found_out_by_running() -> None:
    loaded = splitc.load(custom((4, 4)), simplify=False)
    told = r"'y' has another shape than was found\n.*says 4x4, running it gives 1x4"
    with pytest.raises(BadModelError, match=told):
        loaded.run(seeded_inputs(loaded.graph.inputs, 0))


def branch(name: str, nodes: Sequence[NodeProto]) -> onnx.GraphProto:
    """A body whose result declares neither type nor shape."""
    return helper.make_graph(nodes, name, [], [onnx.ValueInfoProto(name=nodes[-1].output[0])])


def test_a_branch_gives_what_both_bodies_give() -> None:
    then = branch("then", [helper.make_node("Concat", ["x", "x"], ["a"], axis=1)])
    other = branch("else", [helper.make_node("Concat", ["x", "x", "x"], ["b"], axis=1)])
    for pair, right in (((then, then), (2, 8)), ((then, other), (2, None))):
        node = helper.make_node("If", ["c"], ["y"], then_branch=pair[0], else_branch=pair[1])
        inputs = [value("x", (2, 4)), value("c", (), TensorProto.BOOL)]
        assert shapes_of(model([node], inputs, [value("y", None)]))["y"].shape == right


def test_a_loop_leaves_open_what_its_turns_change() -> None:
    body = helper.make_graph(
        [
            helper.make_node("Concat", ["seen", "x"], ["more"], axis=0),
            helper.make_node("Neg", ["same"], ["again"]),
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Relu", ["x"], ["each"]),
        ],
        "body",
        [
            value("turn", (), TensorProto.INT64), value("go", (), TensorProto.BOOL),
            value("seen", None), value("same", None),
        ],
        [value(n, None, TensorProto.BOOL if n == "on" else TensorProto.FLOAT)
         for n in ("on", "more", "again", "each")],
    )  # fmt: skip
    node = helper.make_node("Loop", ["n", "", "x", "x"], ["long", "kept", "stack"], body=body)
    inputs = [value("x", (2, 4)), value("n", (), TensorProto.INT64)]
    outputs = [value(name, None) for name in ("long", "kept", "stack")]
    found = shapes_of(model([node], inputs, outputs))
    assert [found[n].shape for n in ("long", "kept", "stack")] == [(None, 4), (2, 4), (None, 2, 4)]


def test_a_scan_gives_its_length_back() -> None:
    body = helper.make_graph(
        [
            helper.make_node("Add", ["sum", "piece"], ["total"]),
            helper.make_node("Identity", ["total"], ["each"]),
        ],
        "body", [value("sum", None), value("piece", None)],
        [value("total", None), value("each", None)],
    )  # fmt: skip
    node = helper.make_node(
        "Scan", ["start", "x"], ["end", "all"], body=body, num_scan_inputs=1,
        scan_input_axes=[1], scan_output_axes=[1],
    )  # fmt: skip
    inputs = [value("start", (2,)), value("x", (2, 5))]
    found = shapes_of(model([node], inputs, [value("end", None), value("all", None)]))
    assert found["end"].shape == (2,)
    assert found["all"].shape == (2, 5)


LONG = """
import resource, sys
import splitc
from splitc.errors import SplitcError
import onnx, onnx.inliner, onnxruntime, splitc.frontend.onnx, splitc.runtime.ort
for path in sys.argv[1:]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        splitc.load(path, simplify=False)
        said = "loaded"
    except SplitcError as error:
        said = error.what
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(grown // 1024, said)
"""


def long_models() -> dict[str, ModelProto]:
    """Small files with a tensor of a million elements that onnx would follow one by one."""
    size = 1_000_000
    one, ints = np.array([1], np.int64), TensorProto.INT64
    made: dict[str, ModelProto] = {}
    for name, node in {
        "slice": helper.make_node("Slice", ["x", "one", "one"], ["y"]),
        "gather": helper.make_node("Gather", ["x", "one"], ["y"]),
        "concat": helper.make_node("Concat", ["x", "one"], ["y"], axis=0),
        "add": helper.make_node("Add", ["x", "one"], ["y"]),
        "unsqueeze": helper.make_node("Unsqueeze", ["x", "one"], ["y"]),
        "expand": helper.make_node("Expand", ["one", "x"], ["y"]),
        "reshape": helper.make_node("Reshape", ["one", "x"], ["y"]),
        "constant_of_shape": helper.make_node("ConstantOfShape", ["x"], ["y"]),
        "tile": helper.make_node("Tile", ["one", "x"], ["y"]),
    }.items():
        kind = TensorProto.FLOAT if name == "constant_of_shape" else ints
        stored = {"one": one} if "one" in node.input else {}
        proto = model([node], [value("x", (size,), ints)], [value("y", None, kind)], stored)
        made[name] = proto
        then = branch("then", [node])
        choice = helper.make_node("If", ["c"], ["z"], then_branch=then, else_branch=then)
        inputs = [value("x", (size,), ints), value("c", (), TensorProto.BOOL)]
        made[f"{name}_in_a_branch"] = model([choice], inputs, [value("z", None, kind)], stored)
    return made


def test_loading_takes_no_memory_for_each_element_of_a_tensor_it_does_not_hold(
    tmp_path: Any,
) -> None:
    paths = [save(proto, tmp_path / f"{name}.onnx") for name, proto in long_models().items()]
    done = subprocess.run(
        [sys.executable, "-c", LONG, *map(str, paths)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    for path, line in zip(paths, done.stdout.splitlines(), strict=True):
        # 80 bytes an element would be 76 MiB.
        assert int(line.split()[0]) < 20, (path.name, line)


def test_onnx_refuses_as_before_what_its_operators_cannot_be_given() -> None:
    node = helper.make_node("Add", ["x", "i"], ["y"], "sum")
    proto = model(
        [node], [value("x", (2,)), value("i", (2,), TensorProto.INT64)], [value("y", None)]
    )
    with pytest.raises(SplitcError, match=r"malformed\n.*node 'sum' \(Add\)"):
        splitc.load(proto, simplify=False)


def test_an_opset_that_onnxruntime_has_not_is_run_at_one_it_has() -> None:
    newest = onnx.defs.onnx_opset_version()
    proto = model(
        [
            helper.make_node("Relu", ["x"], ["r"], "relu"),
            helper.make_node("Neg", ["r"], ["y"], "n"),
        ],
        [value("x", (1, 4))],
        [value("y", (1, 4))],
        opset=newest,
    )
    loaded = splitc.load(proto, simplify=False)
    got = loaded.run({"x": np.array([[-1, 0, 1, 2]], np.float32)})["y"]
    np.testing.assert_array_equal(got, [[0, 0, -1, -2]])
    assert loaded.proto.opset_import[0].version == newest


def test_an_operator_that_onnxruntime_has_not_is_run_by_onnxs_reference() -> None:
    node = helper.make_node("SpaceToDepth", ["x"], ["y"], "s", blocksize=2, mode="CRD")
    proto = model([node], [value("x", (1, 2, 2, 2))], [value("y", (1, 8, 1, 1))], opset=28)
    got = splitc.load(proto, simplify=False).run(
        {"x": np.arange(8.0, dtype=np.float32).reshape(1, 2, 2, 2)}
    )
    # Channel by channel, and its places within.
    np.testing.assert_array_equal(got["y"].ravel(), np.arange(8))


def test_axes_to_squeeze_come_in_any_order() -> None:
    node = helper.make_node("Squeeze", ["x"], ["y"], "s", axes=[3, 2])
    proto = model([node], [value("x", (1, 5, 1, 1, 2))], [value("y", (1, 5, 2))], opset=8)
    assert splitc.load(proto, simplify=False).graph.tensors["y"].shape == (1, 5, 2)
