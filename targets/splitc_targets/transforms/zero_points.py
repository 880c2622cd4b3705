# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Zero points that are known only when a network runs, taken out of products of bytes.

A network that is quantised as it runs multiplies bytes less a zero point, which no byte holds::

    y = conv(x - z, w)      ->      y = conv(pad(x, z), w - c) - z sum(w) + c conv(pad(x, z), 1)

The products on the right are of bytes. What lies outside of the map, which is 0 less nothing, is
z there. `c` brings weights that are bytes less a zero point of their own within a signed byte; it
is 0, and its term is left out, where they are so already. Every term is a whole number that
float32 holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from splitc_targets.graph.graph import (
    Graph,
    Node,
    Value,
    constant,
    is_depthwise,
    made,
    whole_numbers,
)
from splitc_targets.kernels.families import CONVOLUTIONS, PRODUCTS, multiplies_bytes
from splitc_targets.machine.machine import Machine
from splitc_targets.transforms.ranges import BYTE, Ranges

Array = np.ndarray[Any, Any]

_EXACT = 2**24
"""Up to here float32 holds every integer."""


def take_out_zero_points(graph: Graph, machine: Machine) -> None:
    """Rewrite products in place where the machine multiplies bytes."""
    if machine.multiplying("int8") is None:
        return
    ranges, nodes = Ranges(), list[Node]()
    replaced: dict[Value, Value] = {}
    for node in graph.nodes:
        split = _less_zero(node, ranges)
        made_ = None if split is None else _apart(node, *split, machine)
        if made_ is None:
            nodes.append(node)
            continue
        nodes += made_
        replaced[node.output] = made_[-1].output
    graph.nodes = nodes
    graph.replace(replaced)
    graph.prune()


def _less_zero(node: Node, ranges: Ranges) -> tuple[Value, Value] | None:
    """The bytes and the zero point of which a product's input is the difference."""
    if node.op not in PRODUCTS or not isinstance(node.args[1], Value):
        return None
    difference = node.args[0].producer
    if difference is None or difference.op != "subtract":
        return None
    x, zero = difference.args
    if (
        x.data is not None
        or zero.data is not None
        or zero.size != 1
        or x.shape != node.args[0].shape
    ):
        return None
    return (x, zero) if ranges.byte(x) and ranges.byte(zero) else None


def _apart(node: Node, x: Value, zero: Value, machine: Machine) -> list[Node] | None:
    """The nodes that stand for a product, the last of which gives its result; None for none."""
    data = node.args[1].data
    conv = node.op in CONVOLUTIONS
    if data is None or not whole_numbers(data) or (conv and is_depthwise(node)):
        return None
    low, high = float(data.max()) - 127, float(data.min()) + 128
    shift = min(max(0.0, low), high)
    centred = (data - np.float32(shift)).astype(np.float32)
    axes = tuple(range(1, data.ndim)) if conv else (0,)
    if low > high or not all(_holds(each, axes) for each in (data, centred)):
        return None
    padded, attrs = _padded(node, x, zero)
    source = padded.output if padded is not None else x

    def product(weights: Array) -> Node:
        shape = list(node.output.shape)
        shape[1 if conv else -1] = weights.shape[0 if conv else 1]
        return made(node.op, [source, constant(weights)], tuple(shape), "float32", **attrs)

    main = product(centred)
    if not multiplies_bytes(main, machine):
        return None
    sums = data.sum(axes, dtype=np.float64).astype(np.float32)
    rank = len(node.output.shape)
    line = constant(sums.reshape(1, -1, *[1] * (rank - 2)) if conv else sums)
    taken = made("multiply", [line, zero], line.shape, "float32")
    rest = made("subtract", [main.output, taken.output], node.output.shape, "float32")
    steps = [*([padded] if padded is not None else []), main, taken, rest]
    if shift == 0:
        return steps
    groups = node.attrs["groups"] if conv else 1
    if groups != 1:
        return None
    # Of twos, which are whole numbers beyond 1, as those of quantised weights are.
    twos = np.full_like(data[:1] if conv else data[:, :1], 2)
    total = product(twos)
    half = constant(np.array(shift / 2, np.float32))
    more = made("multiply", [total.output, half], total.output.shape, "float32")
    whole = made("add", [rest.output, more.output], node.output.shape, "float32")
    return [*steps, total, more, whole]


def _holds(weights: Array, axes: tuple[int, ...]) -> bool:
    """Whether sums of bytes times weights are exact as floats."""
    sizes = (np.maximum(sign * weights.astype(np.float64), 0).sum(axes) for sign in (1, -1))
    return all(BYTE * each.max(initial=0.0) < _EXACT for each in sizes)


def _padded(node: Node, x: Value, zero: Value) -> tuple[Node | None, dict[str, Any]]:
    """The bytes with the zero point around them, where a convolution pads, and its attributes."""
    pads = node.attrs.get("padding", ())
    if not any(pads):
        return None, node.attrs
    sides = len(pads) // 2
    widths = [0, 0, 0, 0]
    for before, after in zip(pads[:sides], pads[sides:], strict=True):
        widths += [before, after]
    shape = tuple(n + widths[2 * d] + widths[2 * d + 1] for d, n in enumerate(x.shape))
    pad = made("nn.pad", [x, zero], shape, x.dtype, pad_width=tuple(widths), pad_mode="constant")
    return pad, {**node.attrs, "padding": (0,) * len(pads)}
