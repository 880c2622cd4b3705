# SPDX-License-Identifier: Apache-2.0
"""The canonical text of a layer graph, as `splitc.ir.text` describes it: the printer."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from splitc.ir.kinds import kind_of

if TYPE_CHECKING:
    from splitc.ir.graph import Layer, LayerGraph, Tensor


_WORD = re.compile(r"[A-Za-z_][\w.]*")


_BARE = re.compile(r"[\w./\-]+")


def print_graph(graph: LayerGraph) -> str:
    """The canonical text of `graph`; `parse_graph` gives it back unchanged."""
    lines = [_print_layer(layer) for layer in graph.layers]
    if graph.outputs != unread(graph.layers):
        lines.append("return " + ", ".join(_ref(name) for name in graph.outputs))
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _ref(name: str) -> str:
    return "%" + (name if _BARE.fullmatch(name) else json.dumps(name))


def _print_layer(layer: Layer) -> str:
    attrs: list[str] = []
    if layer.name != layer.outputs[0].name:
        attrs.append(f"name={json.dumps(layer.name)}")
    if layer.param_bytes:
        attrs.append(f"params={layer.param_bytes}")
    if layer.flops:
        attrs.append(f"flops={layer.flops}")
    if layer.kind != kind_of(layer.op):
        attrs.append(f"kind={layer.kind}")
    if layer.block is not None:
        attrs.append(f"block={layer.block}")
    if layer.origin != layer.name:
        attrs.append(f"origin={json.dumps(layer.origin)}")
    op = layer.op if _WORD.fullmatch(layer.op) else json.dumps(layer.op)
    return (
        ", ".join(_ref(t.name) for t in layer.outputs)
        + f" = {op}(" + ", ".join(_ref(name) for name in layer.inputs) + ")"
        + (" {" + ", ".join(attrs) + "}" if attrs else "")
        + " : " + ", ".join(_print_type(t) for t in layer.outputs)
    )  # fmt: skip


def _print_type(tensor: Tensor) -> str:
    if tensor.shape is None:
        dims = "*"
    elif not tensor.shape:
        dims = "scalar"
    else:
        dims = "x".join("?" if d is None else str(d) for d in tensor.shape)
    return dims if tensor.dtype == "float32" else f"{dims} {tensor.dtype}"


def unread(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Tensors that no layer reads, in order."""
    read = {name for layer in layers for name in layer.inputs}
    return tuple(t.name for layer in layers for t in layer.outputs if t.name not in read)
