# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Every operator of onnx's, attribute by attribute, is known to the table of operators."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import splitc
from splitc.errors import UnsupportedOpError
from splitc_targets.backend import TvmBackend
from splitc_targets.source.converted import CONVERTED
from splitc_targets.source.table import TABLE
from splitc_targets.tvm import adapter
from tests.helpers import model_of, save

OLDEST = 7


def schemas() -> Iterator[onnx.defs.OpSchema]:
    """The schemas of the default domain that some opset from 7 on has."""
    found: dict[str, list[onnx.defs.OpSchema]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            found.setdefault(schema.name, []).append(schema)
    for versions in found.values():
        versions.sort(key=lambda one: one.since_version)
        for k, schema in enumerate(versions):
            if k + 1 == len(versions) or versions[k + 1].since_version > OLDEST:
                yield schema


@pytest.mark.parametrize("schema", list(schemas()), ids=lambda s: f"{s.name}-{s.since_version}")
def test_the_table_knows_what_a_schema_has(schema: onnx.defs.OpSchema) -> None:
    entry = TABLE[schema.name]
    if not entry.by:
        assert entry.why
        return
    optional = onnx.defs.OpSchema.FormalParameterOption.Optional
    assert set(schema.attributes) <= set(entry.attributes)
    assert {i.name for i in schema.inputs if i.option == optional} <= set(entry.inputs)
    assert {o.name for o in schema.outputs if o.option == optional} <= set(entry.outputs)


def test_the_table_knows_nothing_that_no_schema_has() -> None:
    every: dict[str, set[str]] = {}
    for schema in schemas():
        names = every.setdefault(schema.name, set())
        names |= set(schema.attributes)
        names |= {each.name for each in (*schema.inputs, *schema.outputs)}
    assert set(TABLE) == set(every)
    for name, entry in TABLE.items():
        assert {*entry.attributes, *entry.inputs, *entry.outputs} <= every[name], name


def test_the_converters_are_those_of_tvms_front_end() -> None:
    assert adapter.converted_ops() == CONVERTED


REFUSED: list[tuple[str, list[Any], dict[str, Any], int, str]] = [
    ("RoiAlign", [np.zeros((1, 4), np.float32), np.zeros(1, np.int64)], {"mode": "max"}, 16, "max"),
    ("Mod", [np.full((1, 2, 4, 4), 3, np.float32)], {}, 13, "fmod=0"),
    ("PRelu", [np.ones(2, np.float32)], {}, 16, "slopes whose shape"),
    ("BatchNormalization", [np.ones(2, np.float32)] * 4, {"spatial": 0}, 8, "spatial=0"),
    ("Bernoulli", [], {}, 15, "random"),
]  # fmt: skip


@pytest.mark.parametrize(("op", "more", "attributes", "opset", "why"), REFUSED)
def test_a_form_is_refused_by_name_before_anything_is_compiled(
    op: str, more: list[Any], attributes: dict[str, Any], opset: int, why: str, tmp_path: Path
) -> None:
    names = [f"c{k}" for k in range(len(more))]
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "front"),
        helper.make_node(op, ["r", *names], ["y"], "subject", **attributes),
    ]
    proto = model_of(
        nodes, {"x": [1, 2, 4, 4]}, ["y"], dict(zip(names, more, strict=True)), opset=opset
    )
    with pytest.raises(UnsupportedOpError, match=f"(?s){op}.*subject.*{why}"):
        splitc.compile(save(proto, tmp_path / "m.onnx"), cut="front", output=tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_what_is_inside_a_branch_is_checked_too() -> None:
    def branch(name: str, op: str, **attributes: Any) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, [4])
        return helper.make_graph(
            [helper.make_node(op, ["x"], [name], **attributes)], name, [], [out]
        )

    node = helper.make_node(
        "If", ["c"], ["y"], "choice", then_branch=branch("a", "Bernoulli"),
        else_branch=branch("b", "Elu", alpha=2.0),
    )  # fmt: skip
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4]),
         helper.make_tensor_value_info("c", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
        [numpy_helper.from_array(np.zeros(1, np.float32), "unused")],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (found,) = TvmBackend().unsupported(splitc.load(proto, simplify=False))
    assert (found.layer, found.op) == ("choice", "Bernoulli")
