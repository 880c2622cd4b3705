# SPDX-License-Identifier: Apache-2.0
"""Rewrites of ONNX models into forms that TVM's front end takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onnx import ModelProto

from splitc.frontend.onnx.older import converted, opset_of
from splitc.frontend.onnx.shapes import infer
from splitc.ir.graph import Tensor
from splitc_targets.source.prepare import draft_of, model_of
from splitc_targets.source.quantised import in_floats

MODERN_OPSET = 13


@dataclass(frozen=True)
class Form:
    """A model as TVM takes it.

    Args:
        proto: The model.
        layers: The layer of the given model that each tensor is computed for, by the tensor's
            name; tensors inside what stands for one layer may be left out.
    """

    proto: ModelProto
    layers: Mapping[str, str]


def for_tvm(proto: ModelProto, tensors: Mapping[str, Tensor] | None = None) -> Form:
    """The same model in forms that TVM 0.27 lowers; the given one stays as it is.

    Args:
        proto: The model.
        tensors: Shape and type of its tensors, where they are known already.

    Raises:
        BadModelError: They are not, and cannot be found.
    """
    made = modern(proto)
    draft = draft_of(made, infer(proto) if tensors is None else tensors, opset_of(proto))
    layers = {name: node.doc_string for node in draft.nodes for name in node.output if name}
    return Form(in_floats(model_of(made, draft), draft.tensors), layers)


def modern(proto: ModelProto) -> ModelProto:
    """The model at an opset whose operators' forms TVM's front end knows.

    It has only the later forms of Slice, Squeeze, ReduceSum and others. Where the
    converter knows no way, the model stays as it is and TVM may still take it.
    """
    if not 0 < opset_of(proto) < MODERN_OPSET:
        return proto
    try:
        return converted(proto, MODERN_OPSET)
    except (RuntimeError, ValueError):
        return proto
