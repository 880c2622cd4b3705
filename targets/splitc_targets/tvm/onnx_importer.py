# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""TVM's importer of ONNX models, telling which layer each of its expressions is for."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from tvm import relax
from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter

from splitc.frontend.onnx.older import opset_of
from splitc_targets.operators import detection, recurrent, scans
from splitc_targets.tvm.layer_names import Named

_RECURRENT = frozenset(("GRU", "LSTM", "RNN"))
_SINGLE = {
    "BitCast": scans.bit_cast, "CumProd": scans.cum_prod,
    "NonMaxSuppression": detection.kept_boxes,
}  # fmt: skip

OWN = _RECURRENT | _SINGLE.keys()
"""Operators that TVM's importer has no converter for or another, and this one has."""


def from_onnx(
    proto: Any, shapes: Mapping[str, list[int]], layers: Mapping[str, str], named: Named
) -> Any:
    """The model as a Relax module, weights as constants.

    Args:
        proto: The model, of the default domain's operators.
        shapes: Shapes of inputs that the model's own are not to be taken of.
        layers: The layer of each tensor by the tensor's name, where it is known.
        named: Is told the layers of what is made.
    """
    return _Importer(dict(shapes), layers, named).from_onnx(proto.graph, opset_of(proto) or 1)


class _Importer(ONNXGraphImporter):
    def __init__(
        self, shapes: dict[str, list[int]], layers: Mapping[str, str], named: Named
    ) -> None:
        super().__init__(shapes, "float32")
        self._layers, self._named = layers, named

    def _convert_operator(
        self, op_name: str, inputs: Any, attrs: dict[str, Any], opset: int
    ) -> Any:
        """TVM's converters, and what it has none for."""
        if op_name in _SINGLE:
            return _SINGLE[op_name](self.bb, list(inputs), attrs)
        if op_name in _RECURRENT:
            made = recurrent.from_onnx(self.bb, op_name, list(inputs), attrs)
            kept = made.fields[: attrs["tvm_custom"]["num_outputs"]]
            return kept[0] if len(kept) == 1 else relax.Tuple(kept)
        return super()._convert_operator(op_name, inputs, attrs, opset)

    def _check_for_unsupported_ops(self, graph: Any) -> None:
        """TVM's, of what it is to convert."""
        theirs = [node for node in graph.node if node.op_type not in OWN]
        super()._check_for_unsupported_ops(SimpleNamespace(node=theirs))

    def _construct_nodes(self, graph: Any) -> None:
        """Node by node: what is new behind each is its."""
        for node in graph.node:
            super()._construct_nodes(SimpleNamespace(node=[node]))
            for name in node.output:
                if name in self._layers and name in self._nodes:
                    self._named.add(self._nodes[name], self._layers[name])
