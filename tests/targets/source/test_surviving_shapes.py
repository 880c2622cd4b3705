# SPDX-License-Identifier: Apache-2.0
"""Arithmetic on shapes, as detectors and augmentation have it: computed when compiling where the
inputs are fixed, by loops where it hangs on values, refused by name where it decides a shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

import splitc
from splitc.cost.board import load_board
from splitc.frontend.onnx.model import OnnxModel
from splitc_targets import pipeline
from splitc_targets.backend import TvmBackend
from tests.targets.nets import Array, Net, assert_same, wanted


def ints(*values: int) -> Array:
    """A vector of int64."""
    return np.array(values, np.int64)


def anchors(net: Net) -> list[str]:
    """A grid of places made of the map's own extents, larger than any small constant."""
    x = net.input(1, 2, 60, 70)
    shape = net.op("Shape", x)
    height, width = (net.op("Gather", shape, np.array(axis)) for axis in (2, 3))
    rows, columns = (net.op("Range", np.array(0), n, np.array(1)) for n in (height, width))
    both = net.op("Concat", *(net.op("Unsqueeze", n, ints(0)) for n in (height, width)), axis=0)
    spread = [
        net.op("Expand", columns, both),
        net.op("Expand", net.op("Reshape", rows, ints(-1, 1)), both),
    ]
    grid = net.op("Concat", *(net.op("Unsqueeze", each, ints(2)) for each in spread), axis=2)
    flat = net.op("Cast", net.op("Reshape", grid, ints(1, -1, 2)), to=TensorProto.FLOAT)
    maps = net.op("Reshape", net.op("Relu", x), ints(1, 2, -1))
    return [net.op("Add", net.op("Transpose", maps, perm=[0, 2, 1]), flat)]


def expanded(net: Net) -> list[str]:
    """The shape of an expansion, as PyTorch's exporter writes it."""
    one = numpy_helper.from_array(ints(1))
    ones = net.op("ConstantOfShape", ints(4), value=one)
    open_ = net.op("Equal", np.array([1, 3, -1, -1]), net.op("Mul", ones, np.array(-1)))
    shape = net.op("Where", open_, ones, np.array([1, 3, -1, -1]))
    return [net.op("Expand", net.op("Relu", net.input(1, 1, 4, 5)), shape)]


def cropped(net: Net) -> list[str]:
    """The lower right quarter of a map."""
    x = net.input(1, 3, 33, 47)
    ends = net.op("Slice", net.op("Shape", x), ints(2), ints(4))
    starts = net.op("Sub", ends, net.op("Div", ends, np.array(2)))
    return [net.op("Slice", net.op("Relu", x), starts, ends, ints(2, 3))]


def scattered(net: Net) -> list[str]:
    """A shape of which one extent is written over, and a size."""
    x = net.input(2, 12)
    batch = net.op("Slice", net.op("Shape", x), ints(0), ints(1))
    shape = net.op("Concat", batch, ints(3, -1), axis=0)
    wide = net.op("ScatterND", ints(1, 1, 1, 1), np.array([[0]]), ints(5))
    made = net.op("Expand", net.op("Reshape", net.op("Relu", x), shape), wide)
    return [net.op("Div", made, net.op("Cast", net.op("Size", x), to=TensorProto.FLOAT))]


def by_values(net: Net) -> list[str]:
    """Places that hang on values: computed by loops."""
    x = net.input(2, 7)
    best = net.op("ArgMax", x, axis=1, keepdims=1)
    rows = net.op("Unsqueeze", net.op("Range", np.array(0), np.array(2), np.array(1)), ints(1))
    base = net.op("ConstantOfShape", net.op("Shape", x))
    values = net.op("Cast", net.op("Squeeze", best, ints(1)), to=TensorProto.FLOAT)
    return [
        net.op("ScatterND", base, net.op("Concat", rows, best, axis=1), values),
        net.op("Gather", np.arange(21).reshape(7, 3), best),
        net.op("Where", net.op("Greater", best, np.array(3)), best, np.array([[0]])),
    ]


@pytest.mark.parametrize("simplify", [False, True], ids=["as written", "simplified"])
@pytest.mark.parametrize("write", [anchors, expanded, cropped, scattered, by_values])
def test_they_give_what_onnxruntime_gives(
    write: Callable[[Net], list[str]], simplify: bool
) -> None:
    net = Net(0)
    net.outputs = write(net)
    model = splitc.load(net.proto(), simplify=simplify)
    assert isinstance(model, OnnxModel)
    assert TvmBackend().unsupported(model) == []
    code = pipeline.compile_module(TvmBackend().lower(model), load_board("host"))
    got = code.here()(*(net.inputs[value.name] for value in model.proto.graph.input))
    assert_same(got, wanted(net.proto(), net.inputs))
    assert not code.fallbacks or write is by_values


@pytest.mark.parametrize("op", ["Range", "ConstantOfShape", "Expand"])
def test_a_shape_that_values_decide_is_refused_by_the_layer_s_name(op: str) -> None:
    net = Net(0)
    count = net.op("ArgMax", net.input(1, 3), axis=1, keepdims=0)
    if op == "Range":
        net.outputs = [net.op(op, np.array(0), net.op("Squeeze", count, ints(0)), np.array(1))]
    else:
        net.outputs = [net.op(op, *([net.input(1)] if op == "Expand" else []), count)]
    net.nodes[-1].name = "open"
    (found,) = TvmBackend().unsupported(splitc.load(net.proto()))
    assert (found.layer, found.op) == ("open", op)
    assert "which is computed while it runs, decides the shape of its result" in found.why
