# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Convolutions and poolings of any rank, stride, dilation, padding and groups."""

from __future__ import annotations

import math
from typing import Any

from tests.random_networks.drawing import WIDTHS, Draw, picked
from tests.random_networks.network import Network

MAPS = (4, 3, 5)


def window(draw: Draw, sides: tuple[int, ...], dilates: bool = True) -> dict[str, Any]:
    """A window's size, strides, dilations and padding over a map; it fits at least once."""
    auto = draw.one_of("NOTSET", "NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")
    kernel, strides, dilations, before, after = [], [], [], [], []
    for side in sides:
        kernel.append(draw.one_of(3, 1, 2, 4, 5, 7))
        strides.append(draw.one_of(1, 2, 3))
        dilations.append(draw.one_of(1, 1, 2, 3) if dilates else 1)
        reach = dilations[-1] * (kernel[-1] - 1) + 1
        before.append(draw.one_of(0, 1, 2))
        after.append(max(draw.one_of(0, 1, 3), reach - side - before[-1]))
    given: dict[str, Any] = {"kernel_shape": kernel}
    if draw.yes() or any(s > 1 for s in strides):
        given["strides"] = strides
    if any(d > 1 for d in dilations):
        given["dilations"] = dilations
    if auto != "NOTSET":
        return {**given, "auto_pad": auto}
    return {**given, "pads": [*before, *after]} if any(before + after) else given


def groups_of(draw: Draw, channels: int) -> int:
    """One group, one a channel, or another divisor."""
    return draw.one_of(1, channels, *(g for g in range(2, channels) if channels % g == 0))


def convolution(draw: Draw, n: Network) -> str:
    """Conv, its weights stored or computed, with and without a bias."""
    x = picked(draw, n, ["float32", "float16", "float64"], MAPS)
    _, channels, *sides = n[x].shape
    groups = groups_of(draw, channels)
    out = groups * draw.one_of(1, 2, 3) if groups > 1 else draw.one_of(*WIDTHS)
    given = window(draw, tuple(sides))
    if draw.one_of(0, 0, 1):
        given = {"kernel_shape": [1] * len(sides)}
    dtype, shape = n[x].dtype, (out, channels // groups, *given["kernel_shape"])
    if n[x].array.size * out * math.prod(shape[1:]) > 3e7:
        given["kernel_shape"], shape = [1] * len(sides), (*shape[:2], *[1] * len(sides))
    # All of it may be left to the weights' shape.
    if draw.yes():
        del given["kernel_shape"]
    make = n.input if draw.one_of(0, 0, 0, 1) else n.weight
    reads = [x, make(dtype, shape, draw.one_of("normal", "normal", "whole", "zeros"))]
    if draw.yes():
        reads.append(n.weight(dtype, (out,), "normal"))
    return n.op("Conv", *reads, **({"group": groups} if groups > 1 else {}), **given)


def transposed(draw: Draw, n: Network) -> str:
    """ConvTranspose with output padding or a given output."""
    x = picked(draw, n, ["float32"], MAPS)
    _, channels, *sides = n[x].shape
    groups = draw.one_of(1, 1, groups_of(draw, channels))
    out = draw.one_of(1, 3, 8)
    kernel, strides, dilations, extra, before, after = [], [], [], [], [], []
    for side in sides:
        kernel.append(draw.one_of(2, 3, 1, 4, 5))
        strides.append(draw.one_of(2, 1, 3))
        dilations.append(draw.one_of(1, 1, 1, 2))
        extra.append(draw.one_of(*range(strides[-1])))
        full = (side - 1) * strides[-1] + dilations[-1] * (kernel[-1] - 1) + 1
        before.append(draw.number(0, min(2, full - 1)))
        after.append(draw.number(0, min(2, full - 1 - before[-1])))
    given: dict[str, Any] = {"strides": strides}
    if any(d > 1 for d in dilations):
        given["dilations"] = dilations
    if any(extra):
        given["output_padding"] = extra
    auto = draw.one_of("pads", "pads", "SAME_UPPER", "SAME_LOWER", "VALID", "shape")
    if auto == "pads":
        given["pads"] = [*before, *after]
    elif auto == "shape":
        given["output_shape"] = [
            max(1, side * step - draw.one_of(0, 1))
            for side, step in zip(sides, strides, strict=True)
        ]
    else:
        given["auto_pad"] = auto
    shape = (channels, out, *kernel)
    if n[x].array.size * out * math.prod(kernel) > 1e7:
        shape = (channels, 1, *kernel)
    reads = [x, n.weight("float32", shape, "normal")]
    if draw.yes():
        reads.append(n.weight("float32", (shape[1] * groups,), "normal"))
    return n.op("ConvTranspose", *reads, **({"group": groups} if groups > 1 else {}), **given)


def pooling(draw: Draw, n: Network) -> str:
    """MaxPool, AveragePool, LpPool, with what their opsets have."""
    kind = draw.one_of("MaxPool", "AveragePool", "LpPool")
    kinds = ["float32", "float16", "float64"]
    if kind == "MaxPool" and n.opset >= 12:
        kinds += ["uint8", "int8"]
    x = picked(draw, n, kinds, MAPS)
    since = {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}[kind]
    given = window(draw, n[x].shape[2:], dilates=n.opset >= since)
    # Where strides leave places out, what SAME pads is less than nothing, and nobody says where.
    if given.get("auto_pad", "").startswith("SAME") and "strides" in given:
        steps = zip(given["strides"], given["kernel_shape"], strict=True)
        given["strides"] = [min(step, size) for step, size in steps]
    # No window may lie in the padding alone.
    if "pads" in given:
        reach = [*given["kernel_shape"], *given["kernel_shape"]]
        given["pads"] = [min(p, (k - 1) // 2) for p, k in zip(given["pads"], reach, strict=True)]
    _fit(given, n[x].shape[2:])
    ceil = {"MaxPool": 10, "AveragePool": 10, "LpPool": 18}[kind]
    if n.opset >= ceil and draw.yes():
        given["ceil_mode"] = 1
    if kind == "AveragePool" and draw.yes():
        given["count_include_pad"] = 1
    if kind == "LpPool":
        given["p"] = draw.one_of(2, 1, 3)
    return n.op(kind, x, **given)


def _fit(given: dict[str, Any], sides: tuple[int, ...]) -> None:
    """Make a pool's window fit once: nobody says what one that does not gives."""
    if given.get("auto_pad", "NOTSET").startswith("SAME"):
        return
    pads = given.get("pads", [0] * (2 * len(sides)))
    for k, side in enumerate(sides):
        reach = given.get("dilations", [1] * len(sides))[k] * (given["kernel_shape"][k] - 1) + 1
        if reach > side + pads[k] + pads[len(sides) + k]:
            given["kernel_shape"][k] = 1


def whole_map(draw: Draw, n: Network) -> str:
    """GlobalMaxPool, GlobalAveragePool, GlobalLpPool."""
    kind = draw.one_of("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
    x = picked(draw, n, ["float32", "float16", "float64"], MAPS)
    return n.op(kind, x, **({"p": draw.one_of(2, 1)} if kind == "GlobalLpPool" else {}))


FAMILY = (convolution, convolution, pooling, transposed, whole_map)
