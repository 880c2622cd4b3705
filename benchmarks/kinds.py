# SPDX-License-Identifier: Apache-2.0
"""Which kind of layer does a kernel's time belong to?

A kernel computes a layer and the elementwise ones fused behind it: its time, and what a
board file predicts for each of those layers, count under the kind of the heaviest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from splitc.frontend.onnx.flops import conv_kind
from splitc.ir.graph import Layer, LayerGraph

MOVES = frozenset({"layout", "copy", "input", "concat", "shuffle"})
_TAKES_MORE = frozenset({"conv", "conv1x1", "conv3x3", "depthwise", "gemm", "pool"})
_OF_RULE = {
    "depthwise": "depthwise", "depthwise_dot": "depthwise",
    "gemm": "gemm", "gemv": "gemm", "matmul": "gemm", "pool": "pool",
    "softmax": "norm", "norm": "norm", "lrn": "norm", "reduce": "norm", "sample": "move",
    "winograd2": "conv3x3", "winograd4": "conv3x3", "strassen": "conv1x1",
}  # fmt: skip


def kind_of_kernel(kernel: Mapping[str, Any], graph: LayerGraph) -> str:
    """The kind that a kernel's time counts under.

    Args:
        kernel: A `splitc.build.backend.Kernel` as a mapping.
        graph: What it is part of: tells a batch norm, which is arithmetic like any other
            once compiled, by its shape.
    """
    op, shapes = kernel["op"], kernel["shapes"]
    if kernel["rule"] == "conv":
        return "conv" if op.startswith("conv2d_transpose") else _kind_of_conv(shapes)
    if kernel["rule"] != "map":
        return _OF_RULE.get(kernel["rule"], "elementwise")
    if op in MOVES:
        return "move"
    normed = {_words(layer) for layer in graph.layers if layer.op == "batchnormalization"}
    return "norm" if op.startswith("multiply+add") and shapes in normed else "elementwise"


def _kind_of_conv(shapes: str) -> str:
    """From shapes as in "1x64x56x56 * 128x64x3x3 -> 1x128x28x28"."""
    operands, _, made = shapes.partition(" -> ")
    image, weight, result = (
        [int(n) for n in words.split("x")] for words in (*operands.split(" * "), made)
    )
    # A stride takes away more rows than a window that hangs over the edge does.
    whole = all(n - m < k for n, m, k in zip(image[2:], result[2:], weight[2:], strict=True))
    return conv_kind(weight, image[1] // weight[1], [1 if whole else 2])


def kinds_of_layers(graph: LayerGraph) -> tuple[str, ...]:
    """The kind that each layer counts under, in the graph's order.

    An elementwise layer counts under the layer it is fused behind: the last one that
    makes an operand, where that layer's kernels take more and the shapes agree.
    """
    found: list[str] = []
    takes_more: list[bool] = []
    for layer in graph.layers:
        behind = max((graph.producer[name] for name in layer.inputs), default=-1)
        if (
            layer.kind == "elementwise"
            and behind >= 0
            and takes_more[behind]
            and _words(graph.layers[behind]) == _words(layer)
        ):
            found.append(found[behind])
            takes_more.append(True)
        else:
            found.append(layer.kind)
            takes_more.append(layer.kind in _TAKES_MORE or layer.op == "batchnormalization")
    return tuple(found)


def _words(layer: Layer) -> str:
    """The shape of a layer's first result, in words."""
    return "x".join(map(str, layer.outputs[0].shape or ()))
