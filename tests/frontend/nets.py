# SPDX-License-Identifier: Apache-2.0
"""Small ONNX models with what the helpers of the other tests leave out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from onnx import (
    FunctionProto,
    ModelProto,
    NodeProto,
    TensorProto,
    ValueInfoProto,
    helper,
    numpy_helper,
)

Array = np.ndarray[Any, np.dtype[Any]]
FLOAT = TensorProto.FLOAT


def value(name: str, shape: Sequence[int | str] | None, dtype: int = FLOAT) -> ValueInfoProto:
    """What a graph declares of a tensor."""
    return helper.make_tensor_value_info(name, dtype, shape)


def model(
    nodes: Iterable[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    weights: Mapping[str, Array] | None = None,
    *,
    opset: int = 17,
    domains: Sequence[str] = (),
    functions: Sequence[FunctionProto] = (),
) -> ModelProto:
    """A model as it is given, right or wrong: nothing is checked or inferred."""
    return helper.make_model(
        helper.make_graph(
            list(nodes),
            "test",
            list(inputs),
            list(outputs),
            [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
        ),
        opset_imports=[
            helper.make_opsetid("", opset),
            *(helper.make_opsetid(d, 1) for d in domains),
        ],
        functions=list(functions),
        ir_version=8,
    )


def chain(*ops: str, shape: Sequence[int | str] = (1, 4), opset: int = 17) -> ModelProto:
    """A chain of operators with one operand; the input is `x`, the result `y`."""
    names = ["x", *(f"t{k}" for k in range(1, len(ops))), "y"]
    nodes = [helper.make_node(op, [names[k]], [names[k + 1]], f"n{k}") for k, op in enumerate(ops)]
    return model(nodes, [value("x", shape)], [value("y", shape)], opset=opset)
