# SPDX-License-Identifier: Apache-2.0
"""Inputs that a file declares for any number of samples: one frame crosses at a time, so one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from onnx import ModelProto, ValueInfoProto

_BATCH = re.compile(r"n|b|bs|bsz|.*batch.*", re.IGNORECASE)
"""What exporters and their users call the number of samples."""


def fix_batch(
    proto: ModelProto, inputs: Mapping[str, Sequence[int]]
) -> tuple[dict[str, Sequence[int]], str]:
    """Shapes of inputs, with those whose number of samples alone is open.

    An input counts whose first extent is named like a batch and whose others are numbers. Where
    `inputs` gives another input whose first extent has the same name, it has that many samples.

    Args:
        proto: The model as it was read.
        inputs: Shapes by input name that the user gave, which stay as they are.

    Returns:
        Shapes by input name, and what the user should know; empty where nothing was added.
    """
    stored = {tensor.name for tensor in proto.graph.initializer}
    values = [value for value in proto.graph.input if value.name not in stored]
    given = {
        _first(value): inputs[value.name][0] for value in values if inputs.get(value.name)
    }  # fmt: skip
    added: dict[str, Sequence[int]] = {}
    for value in values:
        if value.name not in inputs and _is_batch(value):
            dims = value.type.tensor_type.shape.dim
            added[value.name] = (given.get(_first(value), 1), *(d.dim_value for d in dims[1:]))
    if not added:
        return dict(inputs), ""
    shown = ", ".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in added.items())
    return {**inputs, **added}, f"the number of samples is open and was fixed: --input {shown}"


def _first(value: ValueInfoProto) -> str:
    dims = value.type.tensor_type.shape.dim
    return dims[0].dim_param if dims else ""


def _is_batch(value: ValueInfoProto) -> bool:
    dims = value.type.tensor_type.shape.dim
    rest_known = all(d.HasField("dim_value") and d.dim_value > 0 for d in dims[1:])
    return rest_known and _BATCH.fullmatch(_first(value)) is not None
