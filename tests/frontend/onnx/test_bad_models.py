# SPDX-License-Identifier: Apache-2.0
"""Models that are broken or hostile: a named error, at once, with nothing allocated."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

import splitc
from splitc.errors import BadModelError, NoLegalCutError, SplitcError, UsageError
from splitc.link.link import Link
from tests.frontend.nets import Array, chain, model, value
from tests.frontend.splitting import single
from tests.helpers import save, small_network

GIB = 2**30


def refused(proto: ModelProto, tmp_path: Path, match: str, **options: Any) -> BadModelError:
    """Refused from the file and from memory alike, in the same words."""
    path = save(proto, tmp_path / "bad.onnx")
    with pytest.raises(BadModelError, match=match) as caught:
        splitc.load(path, simplify=False, **options)
    with pytest.raises(BadModelError, match=match):
        splitc.load(proto, simplify=False, **options)
    assert caught.value.exit_code == 3
    return caught.value


# Bytes that are no model ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "bad.onnx is empty"),
        (b"not a model at all", "bad.onnx is no ONNX model"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "bad.onnx is no ONNX model"),
        (b"PK\x03\x04" + bytes(100), "bad.onnx is no ONNX model"),
        (bytes(64), "bad.onnx is no ONNX model"),
        (ModelProto(ir_version=8).SerializeToString(), "no ONNX model\n.*it holds no graph"),
        (helper.make_tensor("t", 1, [1], [1.0]).SerializeToString(), "bad.onnx is no ONNX model"),
    ],
    ids=["empty", "text", "png", "zip", "zeros", "no_graph", "tensor"],
)
def test_bytes_that_are_no_model_are_refused(tmp_path: Path, data: bytes, expected: str) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(BadModelError, match=expected) as caught:
        splitc.load(path, simplify=False)
    assert caught.value.exit_code == 3


def test_a_model_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    data = small_network().SerializeToString()
    path = tmp_path / "bad.onnx"
    for length in range(1, len(data), 97):
        path.write_bytes(data[:length])
        with pytest.raises(BadModelError, match="is no ONNX model|no opset|read but never made"):
            splitc.load(path, simplify=False)


def test_a_file_that_is_not_there_and_a_folder_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no file '.*none\.onnx'") as caught:
        splitc.load(tmp_path / "none.onnx")
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match="there is no file"):
        splitc.load(tmp_path)


def test_a_file_over_2_gib_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)
    started = time.monotonic()
    with pytest.raises(BadModelError, match=r"over 2 GiB.*\n.*save_as_external_data"):
        splitc.load(path, simplify=False)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("seed", range(4))
def test_flipped_bytes_are_read_or_refused_but_never_crash(tmp_path: Path, seed: int) -> None:
    rng = np.random.Generator(np.random.PCG64(seed))
    path = tmp_path / "bad.onnx"
    data = small_network().SerializeToString()
    graph = data.index(b"stem")  # names, nodes and shapes stand here; weights elsewhere
    for _ in range(400):
        broken = bytearray(data)
        for place in rng.integers(max(0, graph - 100), min(graph + 900, len(data)), 3):
            broken[int(place)] = int(rng.integers(256))
        path.write_bytes(broken)
        try:
            splitc.load(path, simplify=False, max_bytes=2**24)
        except SplitcError as error:
            assert error.exit_code in (2, 3)


# Graphs that are no graphs ---------------------------------------------------------------


@pytest.mark.parametrize("opset", [onnx.defs.onnx_opset_version() + 1, 2**40, -1])
def test_an_opset_that_is_no_opset_is_refused(tmp_path: Path, opset: int) -> None:
    error = refused(chain("Relu", opset=opset), tmp_path, f"opset {opset} is not supported")
    assert error.why == f"splitc reads opset 1 to {onnx.defs.onnx_opset_version()}"


def test_an_old_model_that_onnx_cannot_convert_is_refused(tmp_path: Path) -> None:
    proto = chain("Relu", opset=1)
    proto.graph.node[0].op_type = "GRUUnit"
    error = refused(proto, tmp_path, "opset 1 is not supported here")
    assert "converter" in error.why and error.hint


def test_a_model_without_an_opset_is_refused(tmp_path: Path) -> None:
    proto = chain("Relu")
    del proto.opset_import[:]
    refused(proto, tmp_path, "the model names no opset")


def test_a_file_format_newer_than_any_is_refused(tmp_path: Path) -> None:
    proto = chain("Relu")
    proto.ir_version = 99
    refused(proto, tmp_path, r"malformed\n.*ir_version")


def add(inputs: Sequence[str], output: str, name: str) -> NodeProto:
    return helper.make_node("Add", inputs, [output], name)


X = [value("x", (1, 4))]
Y = [value("y", (1, 4))]


@pytest.mark.parametrize(
    ("nodes", "inputs", "expected"),
    [
        (
            [add(["x", "b"], "a", "one"), add(["x", "a"], "b", "two"), add(["a", "b"], "y", "end")],
            X,
            r"the nodes form a cycle\n.*at: node 'one' \(Add\)",
        ),
        ([add(["x", "y"], "y", "self")], X, r"the nodes form a cycle\n.*node 'self'"),
        (
            [add(["x", "ghost"], "y", "reader")],
            X,
            r"tensor 'ghost' is read but never made\n.*node 'reader' \(Add\)",
        ),
        (
            [add(["x", "x"], "y", "one"), add(["x", "x"], "y", "two")],
            X,
            r"tensor 'y' is made twice\n.*node 'two'",
        ),
        ([add(["x", "x"], "x", "over")], X, "tensor 'x' is made twice"),
        ([add(["x", "x"], "z", "other")], X, "output 'y' is never made"),
        ([add(["x", "x"], "y", "one")], [*X, *X], "malformed"),
        ([helper.make_node("Add", ["x"], ["y"], "few")], X, r"malformed\n.*input size 1"),
        ([helper.make_node("Nothing", ["x"], ["y"], "n")], X, r"malformed\n.*No Op registered"),
        ([helper.make_node("Relu", ["x"], ["y"], "n", alpha=1)], X, r"malformed\n.*alpha"),
        (
            [helper.make_node("Concat", ["x"], ["y"], "n", axis=5)],
            X,
            r"malformed\n.*node 'n' \(Concat\)\n.*axis",
        ),
        (
            [helper.make_node("MatMul", ["x", "x"], ["y"], "n")],
            X,
            r"malformed\n.*node 'n' \(MatMul\)\n.*Incompatible",
        ),
        (
            [helper.make_node("Split", ["x"], ["y", "z"], "n", axis=1, num_outputs=1)],
            X,
            r"malformed\n.*node 'n' \(Split\)\n.*num_outputs is 1, and it has 2 outputs",
        ),
        (
            [helper.make_node("GroupNormalization", ["x", "x", "x"], ["y"], "n", num_groups=0)],
            X,
            r"malformed\n.*node 'n'.*\n.*num_groups is 0, and counts from 1 on",
        ),
    ],
    ids=["cycle", "self", "undefined", "twice", "over_input", "no_result", "input_twice", "arity",
         "operator", "attribute", "axis", "shapes", "split", "count"],
)  # fmt: skip
def test_a_graph_that_is_none_is_refused(
    tmp_path: Path, nodes: list[NodeProto], inputs: list[ValueInfoProto], expected: str
) -> None:
    refused(model(nodes, inputs, Y, opset=18), tmp_path, expected)


@pytest.mark.parametrize("declared", [(1, 5), (2, 4), (4,), (1, 4, 1)])
def test_a_result_whose_declared_shape_is_a_lie_is_refused(
    tmp_path: Path, declared: Sequence[int]
) -> None:
    proto = model([helper.make_node("Relu", ["x"], ["y"])], X, [value("y", declared)])
    refused(
        proto,
        tmp_path,
        r"malformed\n.*result 'y'\n.*it declares float32 [\dx]+, .*give float32 1x4",
    )


def test_a_result_whose_declared_type_is_a_lie_is_refused(tmp_path: Path) -> None:
    proto = model(
        [helper.make_node("Relu", ["x"], ["y"])], X, [value("y", (1, 4), TensorProto.INT64)]
    )
    refused(
        proto, tmp_path, r"malformed\n.*result 'y'\n.*it declares int64 1x4, .*give float32 1x4"
    )


def with_weight(tensor: TensorProto) -> ModelProto:
    proto = model([helper.make_node("Add", ["x", "w"], ["y"])], X, Y)
    proto.graph.initializer.append(tensor)
    return proto


@pytest.mark.parametrize("stored", [0, 12, 15, 17, 32])
def test_a_weight_whose_data_does_not_fill_its_shape_is_refused(
    tmp_path: Path, stored: int
) -> None:
    tensor = TensorProto(name="w", dims=[4], data_type=TensorProto.FLOAT, raw_data=bytes(stored))
    refused(with_weight(tensor), tmp_path, r"tensor 'w' lies about its size|malformed")


def test_a_weight_with_too_few_numbers_in_a_list_is_refused(tmp_path: Path) -> None:
    tensor = TensorProto(name="w", dims=[4], data_type=TensorProto.FLOAT, float_data=[1.0, 2.0])
    refused(with_weight(tensor), tmp_path, r"tensor 'w' lies about its size|malformed")


@pytest.mark.parametrize(
    ("tensor", "expected"),
    [
        (TensorProto(name="w", dims=[-4], data_type=1), "declares a negative extent"),
        (TensorProto(name="w", dims=[4], data_type=0), "has an unknown element type"),
        (TensorProto(name="w", dims=[4], data_type=99), "has an unknown element type"),
    ],
)
def test_a_weight_of_no_size_or_type_is_refused(
    tmp_path: Path, tensor: TensorProto, expected: str
) -> None:
    refused(with_weight(tensor), tmp_path, f"tensor 'w' {expected}")


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
def test_a_weight_with_nan_is_refused(tmp_path: Path, dtype: str) -> None:
    weight: Array = np.ones(4, dtype)
    weight[2] = np.nan
    nodes = [
        helper.make_node("Cast", ["w"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["x", "f"], ["y"]),
    ]
    refused(model(nodes, X, Y, {"w": weight}), tmp_path, "weight 'w' holds NaN")


def test_a_weight_of_a_small_float_type_with_nan_is_refused(tmp_path: Path) -> None:
    for dtype, bits in ((TensorProto.BFLOAT16, b"\xc0\x7f"), (TensorProto.FLOAT8E4M3FN, b"\x7f")):
        tensor = TensorProto(name="w", dims=[2], data_type=dtype, raw_data=bits * 2)
        proto = model(
            [
                helper.make_node("Cast", ["w"], ["f"], to=TensorProto.FLOAT),
                helper.make_node("Concat", ["f", "f"], ["g"], axis=0),
                helper.make_node("Add", ["x", "g"], ["y"]),
            ],
            X,
            Y,
            opset=21,
        )
        proto.ir_version = 10
        proto.graph.initializer.append(tensor)
        refused(proto, tmp_path, "weight 'w' holds NaN")


def test_a_constant_with_nan_inside_a_branch_is_refused(tmp_path: Path) -> None:
    def branch(name: str, number: float) -> onnx.GraphProto:
        tensor = helper.make_tensor(f"{name}_c", TensorProto.FLOAT, [1], [number])
        constant = helper.make_node("Constant", [], [name], value=tensor)
        return helper.make_graph([constant], name, [], [value(name, (1,))])

    node = helper.make_node(
        "If", ["c"], ["y"], then_branch=branch("a", 1.0), else_branch=branch("b", float("nan"))
    )
    proto = model([node], [value("c", (), TensorProto.BOOL)], [value("y", (1,))])
    refused(proto, tmp_path, "weight 'b_c' holds NaN")


# Types that cannot cross -----------------------------------------------------------------


def test_a_string_input_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    string = TensorProto.STRING
    proto = model([node], [value("x", (1,), string)], [value("y", (1,), string)])
    error = refused(proto, tmp_path, "input 'x' is a string tensor")
    assert error.why == "text has no fixed size and no target computes on it"


def test_a_string_tensor_inside_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["s"], to=TensorProto.STRING),
        helper.make_node("Cast", ["s"], ["y"], to=TensorProto.FLOAT),
    ]
    refused(model(nodes, X, Y), tmp_path, "tensor 's' is a string tensor")
    stored = model(
        [
            helper.make_node("StringConcat", ["w", "w"], ["s"]),
            helper.make_node("Cast", ["s"], ["f"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["x", "f"], ["y"]),
        ],
        X,
        Y,
        {"w": np.array(["1", "2", "3", "4"], object)},
        opset=20,
    )
    refused(stored, tmp_path, "tensor '[sw]' is a string tensor")


def test_a_sequence_input_is_refused(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, (1, 4))
    node = helper.make_node("SequenceLength", ["x"], ["y"])
    proto = model([node], [sequence], [value("y", (), TensorProto.INT64)])
    refused(proto, tmp_path, r"input 'x' is no tensor\n.*sequence_type")


def test_an_input_without_a_type_is_refused(tmp_path: Path) -> None:
    proto = model([helper.make_node("Relu", ["x"], ["y"])], [ValueInfoProto(name="x")], Y)
    refused(proto, tmp_path, r"input 'x' is no tensor\n.*missing")


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    data = chain("Relu", "Tanh").SerializeToString().replace(b"\x02t1", b"\x02\xff1")
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(BadModelError, match=r"malformed\n.*a name in it is not UTF-8"):
        splitc.load(path, simplify=False)


def test_sparse_weights_are_refused(tmp_path: Path) -> None:
    proto = chain("Relu")
    values = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [2])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    refused(proto, tmp_path, "sparse initialisers are not supported")


def test_a_custom_operator_is_read_as_a_layer_of_unknown_size_that_cannot_be_cut_behind() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "relu"),
        helper.make_node("Magic", ["r"], ["m"], "magic", domain="my.own"),
        helper.make_node("Tanh", ["m"], ["y"], "tanh"),
    ]
    loaded = splitc.load(model(nodes, X, Y, domains=["my.own"]))
    assert [cut.name for cut in single(loaded.graph)] == ["relu"]
    assert loaded.graph.tensors["m"].nbytes is None
    with pytest.raises(BadModelError, match=r"onnxruntime cannot load it\n.*my\.own:Magic"):
        loaded.run({"x": np.zeros((1, 4), np.float32)})


def test_a_custom_operator_whose_domain_is_not_imported_is_refused(tmp_path: Path) -> None:
    proto = model([helper.make_node("Magic", ["x"], ["y"], domain="my.own")], X, Y)
    refused(proto, tmp_path, r"malformed\n.*my\.own")


# Models that declare more than there is ---------------------------------------------------


def huge(kind: str) -> ModelProto:
    """A file of some hundred bytes that declares 64 GiB, each in another place."""
    big = [2**14, 2**10, 2**10]
    dims = np.array(big, np.int64)
    out = [value("y", None)]
    small = [value("x", (1,))]
    tensor = TensorProto(name="w", dims=big, data_type=TensorProto.FLOAT)
    if kind == "weight":
        proto = model([add(["x", "w"], "y", "add")], small, out)
        proto.graph.initializer.append(tensor)
        return proto
    if kind == "dead_weight":
        proto = model([helper.make_node("Relu", ["x"], ["y"])], small, out)
        proto.graph.initializer.append(tensor)
        return proto
    if kind == "constant":
        nodes = [helper.make_node("Constant", [], ["w"], value=tensor), add(["x", "w"], "y", "add")]
        return model(nodes, small, out)
    if kind == "branch":
        constant = helper.make_node("Constant", [], ["w"], value=tensor)
        body = helper.make_graph([constant], "body", [], [value("w", None)])
        node = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
        return model([node], [value("c", (), TensorProto.BOOL)], out)
    if kind == "input":
        return model([helper.make_node("Relu", ["x"], ["y"])], [value("x", big)], out)
    if kind == "overflow":
        nodes = [helper.make_node("Relu", ["x"], ["y"])]
        return model(nodes, [value("x", [2**62, 2**62])], out)
    made = {
        "constant_of_shape": helper.make_node("ConstantOfShape", ["dims"], ["b"]),
        "expand": helper.make_node("Expand", ["x", "dims"], ["b"]),
        "tile": helper.make_node("Tile", ["x", "times"], ["b"]),
        "range": helper.make_node("Range", ["start", "stop", "step"], ["b"]),
        "pad": helper.make_node("Pad", ["x", "pads"], ["b"]),
        "resize": helper.make_node("Upsample", ["x", "scales"], ["b"]),
    }[kind]
    stored: dict[str, Array] = {
        "dims": dims, "times": np.array([2**34], np.int64), "start": np.array(0, np.float32),
        "stop": np.array(2.0**34, np.float32), "step": np.array(1, np.float32),
        "pads": np.array([0, 2**34], np.int64), "scales": np.array([2.0**34], np.float32),
    }  # fmt: skip
    last = helper.make_node("Identity", ["b"], ["y"])
    weights = {name: stored[name] for name in made.input if name != "x"}
    return model([made, last], small, out, weights, opset=9 if kind == "resize" else 17)


KINDS = ("weight", "dead_weight", "constant", "branch", "input", "overflow", "constant_of_shape",
         "expand", "tile", "range", "pad", "resize")  # fmt: skip

WITHIN_LIMITS = """
import resource, sys, time
import splitc
from splitc.errors import SplitcError
limit = int(sys.argv[1])
import onnx, onnx.inliner, onnxruntime, splitc.frontend.onnx  # the libraries' own room
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[2:]:
    started = time.monotonic()
    try:
        splitc.load(path, simplify=False)
        print("loaded")
    except SplitcError as error:
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        slow = time.monotonic() - started > 2
        print(type(error).__name__, error.exit_code, grown > 2**16, slow, error.what)
"""


def test_64_gib_that_are_declared_are_refused_within_2_gib_of_address_space(
    tmp_path: Path,
) -> None:
    paths = [save(huge(kind), tmp_path / f"{kind}.onnx") for kind in KINDS]
    assert all(path.stat().st_size < 1000 for path in paths)
    done = subprocess.run(
        [sys.executable, "-c", WITHIN_LIMITS, str(2 * GIB), *map(str, paths)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert len(lines) == len(KINDS)
    for kind, line in zip(KINDS, lines, strict=True):
        # the error, its exit code, no 64 MiB more, no 2 seconds
        assert line.startswith("BadModelError 3 False False "), (kind, line)
        assert "would take" in line, (kind, line)


def test_the_budget_names_the_tensor_the_limit_and_the_flag(tmp_path: Path) -> None:
    error = refused(huge("weight"), tmp_path, r"up to 'w' would take 68,719,476,736 bytes")
    assert error.why == "the limit is 8,589,934,592"
    assert error.hint == "raise it with --max-bytes if you trust the model"
    refused(huge("expand"), tmp_path, r"tensor '[by]' would take 68,719,476,736 bytes")


def test_the_budget_is_what_the_user_says(tmp_path: Path) -> None:
    proto = small_network()
    weights = sum(len(t.raw_data) for t in proto.graph.initializer)
    refused(proto, tmp_path, "would take", max_bytes=weights - 1)
    refused(chain("Relu", shape=(1, 100)), tmp_path, "tensor .* would take 400", max_bytes=399)
    splitc.load(chain("Relu", shape=(1, 100)), simplify=False, max_bytes=400)


def test_functions_that_would_inline_to_a_billion_nodes_are_refused(tmp_path: Path) -> None:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    functions = [
        helper.make_function(
            "f", "F0", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], imports
        )
    ]
    for k in range(1, 31):
        twice = [
            helper.make_node(f"F{k - 1}", ["a"], ["t"], domain="f"),
            helper.make_node(f"F{k - 1}", ["t"], ["b"], domain="f"),
        ]
        functions.append(helper.make_function("f", f"F{k}", ["a"], ["b"], twice, imports))
    node = helper.make_node("F30", ["x"], ["y"], domain="f")
    proto = model([node], X, Y, domains=["f"], functions=functions)
    refused(proto, tmp_path, r"the model is too large\n.*1,073,741,824 nodes")


def test_functions_that_would_repeat_what_they_store_without_end_are_refused(
    tmp_path: Path,
) -> None:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    table = onnx.numpy_helper.from_array(np.ones((1, 2**16), np.float32), "table")
    body = [
        helper.make_node("Constant", [], ["c"], value=table),
        helper.make_node("ReduceMax", ["c"], ["m"]),
        helper.make_node("Add", ["a", "m"], ["b"]),
    ]
    function = helper.make_function("f", "Add1", ["a"], ["b"], body, imports)
    names = ["x", *(f"t{k}" for k in range(1999)), "y"]
    nodes = [helper.make_node("Add1", [names[k]], [names[k + 1]], domain="f") for k in range(2000)]
    proto = model(nodes, X, Y, domains=["f"], functions=[function])
    refused(proto, tmp_path, r"the model is too large\n.*inlining.* [\d,]+ bytes")


def test_functions_that_call_each_other_in_a_circle_are_refused(tmp_path: Path) -> None:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
    functions = [
        helper.make_function(
            "f", own, ["a"], ["b"], [helper.make_node(other, ["a"], ["b"], domain="f")], imports
        )
        for own, other in (("A", "B"), ("B", "A"))
    ]
    node = helper.make_node("A", ["x"], ["y"], domain="f")
    proto = model([node], X, Y, domains=["f"], functions=functions)
    refused(proto, tmp_path, "functions call each other in a circle")


# Nothing to cut ------------------------------------------------------------------------


@pytest.mark.parametrize("simplify", [False, True])
def test_a_model_of_one_layer_cannot_be_cut(simplify: bool) -> None:
    loaded = splitc.load(chain("Relu"), simplify=simplify)
    table = splitc.find_cuts(loaded, head="rpi4", tail="x86-64-v3", link=Link("20Mbit", rtt="5ms"))
    with pytest.raises(NoLegalCutError, match=r"cannot be cut in two\n.*it has 1 layer") as caught:
        assert table.best
    assert caught.value.exit_code == 5
