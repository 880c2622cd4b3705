# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false
"""What is called row-wise gives of fewer rows the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from splitc.frontend.onnx.row_wise import row_wise
from splitc.ir.graph import Tensor

STORED = {
    "table": np.arange(12.0, dtype=np.float32).reshape(3, 4), "one": np.array([1]),
    "two": np.array([2]), "none": np.array([0]), "pair": np.array([2, 0]),
    "flat": np.array([-1]), "folded": np.array([-1, 3, 1]), "wrong": np.array([3, -1]),
    "column": np.arange(3), "tall": np.arange(5).reshape(5, 1),
}  # fmt: skip


def node(op: str, *names: str, results: int = 1, **given: Any) -> NodeProto:
    return helper.make_node(op, names, [f"y{k}" for k in range(results)], op, **given)


ROW_WISE = {
    "broadcast": (node("Add", "x", "column"), 0),
    "places in a table": (node("Gather", "table", "x", axis=1), 1),
    "columns of each row": (node("Gather", "x", "pair", axis=1), 0),
    "places of two numbers": (node("GatherND", "cube", "x"), 0),
    "columns": (node("Slice", "x", "one", "two", "one"), 0),
    "one more axis": (node("Unsqueeze", "x", "none"), 1),
    "turned": (node("Transpose", "x", perm=[1, 0]), 1),
    "beside each other": (node("Concat", "x", "x", axis=1), 0),
    "split": (node("Split", "x", "split", results=2, axis=1), 0),
    "folded": (node("Reshape", "x", "folded"), 0),
}
ACROSS = {
    "the sum": node("ReduceSum", "x", "none"),
    "the best": node("TopK", "x", "two", results=2, axis=0),
    "rows at places": node("Gather", "x", "pair", axis=0),
    "rows of a table as many": node("Add", "x", "tall"),
    "the first rows": node("Slice", "x", "none", "two", "none"),
    "behind each other": node("Concat", "x", "x", axis=0),
    "other rows of as many elements": node("Reshape", "x", "wrong"),
    "all of them": node("Reshape", "x", "flat"),
    "how many": node("Shape", "x"),
}
MORE = {"cube": np.arange(27.0).reshape(3, 3, 3), "split": np.array([1, 2])}


def followed(one: NodeProto) -> tuple[dict[str, int], bool, list[list[np.ndarray[Any, Any]]]]:
    """The axes of a network of one node over 5 rows, whether it is blocked, and its results of
    5 rows and of the first 3."""
    stored = {n: a for n, a in (STORED | MORE).items() if n in one.input}
    takes = [helper.make_tensor_value_info("x", TensorProto.INT64, [None, 3])]
    gives = [onnx_value(name) for name in one.output]
    weights = [numpy_helper.from_array(a, n) for n, a in stored.items()]
    graph = helper.make_graph([one], "net", takes, gives, weights)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = np.random.default_rng(0).integers(0, 3, (5, 3))
    runs: list[list[np.ndarray[Any, Any]]] = []
    for rows in (x, x[:3]):
        try:
            runs.append([*map(np.asarray, ReferenceEvaluator(proto).run(None, {"x": rows}))])  # pyright: ignore[reportArgumentType]
        except TypeError:  # five rows and three do not go together
            runs.append([])
    tensors = {n: Tensor(n, a.shape, a.dtype.name) for n, a in stored.items()}
    tensors["x"] = Tensor("x", (None, 3), "int64")
    for name, array in zip(one.output, runs[0], strict=True):
        tensors[name] = Tensor(name, (None,) * array.ndim, array.dtype.name)
    found = row_wise(graph, tensors, "x")
    return found.axes, found.blocked is not None, runs


def onnx_value(name: str) -> Any:
    """A result of which only the name is declared."""
    return helper.make_empty_tensor_value_info(name)


@pytest.mark.parametrize("kind", ROW_WISE)
def test_of_fewer_rows_it_gives_the_same_rows(kind: str) -> None:
    one, axis = ROW_WISE[kind]
    axes, blocked, (whole, fewer) = followed(one)
    assert not blocked
    for name, all_, some in zip(one.output, whole, fewer, strict=True):
        assert axes[name] == axis
        np.testing.assert_array_equal(np.take(all_, range(3), axis), some)


@pytest.mark.parametrize("kind", ACROSS)
def test_what_computes_across_rows_is_not_row_wise(kind: str) -> None:
    _, blocked, _ = followed(ACROSS[kind])
    assert blocked
