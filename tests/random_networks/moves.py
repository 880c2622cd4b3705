# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Operators that move, repeat, pick or join elements."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.random_networks.drawing import (
    Draw,
    axis_of,
    filling,
    named,
    picked,
    read,
)
from tests.random_networks.network import Network, UnusableError

ANY = "fiub"


def transpose(draw: Draw, n: Network) -> str:
    """Transpose, its default order too."""
    x = picked(draw, n, ANY)
    if not n[x].shape or draw.one_of(0, 0, 0, 1):
        return n.op("Transpose", x)
    return n.op("Transpose", x, perm=list(draw.order(n[x].array.ndim)))


def _primes(n: int) -> list[int]:
    for p in range(2, n + 1):
        if n % p == 0:
            return [p, *_primes(n // p)]
    return []


def reshape(draw: Draw, n: Network) -> str:
    """Reshape to any grouping of the extents' factors; with -1, 0 and allowzero."""
    x = picked(draw, n, ANY)
    shape = n[x].shape
    factors = [f for size in shape for f in _primes(size)]
    ends = sorted(draw.some(range(len(factors) + 1), 0, 4))
    new = [math.prod(factors[a:b]) for a, b in itertools.pairwise([0, *ends, len(factors)])]
    if draw.yes():
        new[draw.number(0, len(new) - 1)] = -1
    elif draw.yes():
        new = [0 if k < len(shape) and size == shape[k] else size for k, size in enumerate(new)]
    return n.op("Reshape", x, n.put(new, "int64"))


def flatten(draw: Draw, n: Network) -> str:
    """Flatten at any axis."""
    x = picked(draw, n, ANY)
    rank = n[x].array.ndim
    axis = draw.number(-rank if n.opset >= 11 else 0, rank)
    return n.op("Flatten", x, axis=axis)


def extent_of_one(draw: Draw, n: Network) -> str:
    """Squeeze and Unsqueeze."""
    x = picked(draw, n, ANY)
    shape = n[x].shape
    ones = [k for k, size in enumerate(shape) if size == 1]
    if ones and draw.yes():
        if draw.yes():
            return n.op("Squeeze", x)
        axes = draw.some(ones, 1, len(ones), unique=True)
        axes = [a - len(shape) if n.opset >= 11 and draw.yes() else a for a in axes]
        return n.op("Squeeze", x, *read(n, 13, axes), **named(n, 13, "axes", axes))
    axes = [draw.one_of(0, len(shape), 1, 2) % (len(shape) + 1)]
    if draw.yes():
        axes = [0, len(shape) + 1]
    return n.op("Unsqueeze", x, *read(n, 13, axes), **named(n, 13, "axes", axes))


def slices(draw: Draw, n: Network) -> str:
    """Slice over axes, backwards too, from far outside."""
    x = picked(draw, n, ANY)
    shape = n[x].shape
    if not shape:
        raise UnusableError
    axes = sorted(draw.some(range(len(shape)), 1, 2, unique=True))
    starts, ends, steps = [], [], []
    for axis in axes:
        size = shape[axis]
        step = draw.one_of(1, 1, 2, -1, -2, 3, -3) if n.opset >= 10 else 1
        start, end = draw.number(-size, size), draw.number(-size, size)
        if not range(size)[start:end:step]:
            start, end = (size, -size - 5) if step < 0 else (0, 2**31 - 1)
        starts.append(start)
        ends.append(end)
        steps.append(step)
    if n.opset < 10:
        return n.op("Slice", x, starts=starts, ends=ends, axes=axes)
    axes = [a - len(shape) if draw.yes() else a for a in axes]
    kind = draw.one_of("int64", "int32")
    reads = [n.put(value, kind) for value in (starts, ends, axes)]
    return n.op("Slice", x, *reads, *([n.put(steps, kind)] if any(s != 1 for s in steps) else []))


def split(draw: Draw, n: Network) -> str:
    """Split in parts of given or equal sizes; returns one, the others stay to be read."""
    x = picked(draw, n, ANY)
    axis = axis_of(draw, n[x].array.ndim)
    size = n[x].shape[axis] if n[x].shape else 0
    if size < 2:
        raise UnusableError
    axis = axis % n[x].array.ndim if n.opset < 11 else axis
    if size % 2 == 0 and draw.yes():
        more: dict[str, Any] = {"num_outputs": 2} if n.opset >= 18 else {}
        return n.ops("Split", x, results=2, axis=axis, **more)[-1]
    if n.opset >= 18 and draw.yes():
        return n.ops("Split", x, results=2, axis=axis, num_outputs=2)[-1]
    first = draw.number(1, size - 1)
    sizes = [first, size - first]
    return n.ops("Split", x, *read(n, 13, sizes), results=2, axis=axis,
                 **named(n, 13, "split", sizes))[0]  # fmt: skip


def concat(draw: Draw, n: Network) -> str:
    """Concat of what fits, the same twice too, stored tensors among it."""
    x = picked(draw, n, ANY)
    shape, dtype = n[x].shape, n[x].dtype
    axis = axis_of(draw, len(shape))
    if not shape or (n.opset < 11 and axis < 0):
        raise UnusableError

    def rest(other: tuple[int, ...]) -> list[int]:
        return [size for k, size in enumerate(other) if k != axis % len(shape)]

    fit = [
        name
        for name, value in reversed(n.values.items())
        if (value.dtype, value.array.ndim) == (dtype, len(shape))
        and rest(value.shape) == rest(shape)
        and name not in n.stored
    ]
    parts = draw.some(fit[:6], 1, 3)
    if draw.one_of(0, 0, 1):
        parts.append(n.weight(dtype, shape, filling(draw, dtype)))
    parts.insert(draw.number(0, len(parts)), x)
    return n.op("Concat", *parts, axis=axis)


def gather(draw: Draw, n: Network) -> str:
    """Gather, GatherElements, GatherND by stored or given places."""
    kind = draw.one_of("Gather", "Gather", "GatherElements", "GatherND")
    x = picked(draw, n, ANY)
    shape = n[x].shape
    if not shape or (kind != "Gather" and n.opset < 11):
        raise UnusableError
    axis = axis_of(draw, len(shape))
    size = shape[axis]
    least = -size if n.opset >= 11 else 0
    if kind == "GatherND":
        some = [draw.number(0, size - 1) for size in shape[: draw.one_of(1, 2)]]
        return n.op(kind, x, n.put([some, some], "int64"))
    places = draw.some(range(least, size), 1, 4)
    if kind == "GatherElements":
        each = np.resize(places, [len(places) if k == axis % len(shape) else s
                                  for k, s in enumerate(shape)])  # fmt: skip
        return n.op(kind, x, n.put(each, "int64"), axis=axis)
    form: Any = draw.one_of(places, places[0], [places, places])
    return n.op(kind, x, n.put(form, draw.one_of("int64", "int32")), axis=axis)


def looked_up(draw: Draw, n: Network) -> str:
    """Gather of rows of a stored table by whole numbers that are computed."""
    x = picked(draw, n, ["int64", "int32"])
    low, high = int(n[x].array.min()), int(n[x].array.max())
    if low < (0 if n.opset < 11 else -20) or high > 19:
        raise UnusableError
    return n.op("Gather", n.weight("float32", (20, draw.one_of(3, 1, 8)), "normal"), x)


def pad(draw: Draw, n: Network) -> str:
    """Pad of every mode; negative widths crop."""
    x = picked(draw, n, "f" if n.opset < 13 else "fiu")
    shape, dtype = n[x].shape, n[x].dtype
    if not shape:
        raise UnusableError
    modes = ["constant", "edge", "reflect", *(["wrap"] if n.opset >= 19 else [])]
    mode = draw.one_of(*modes)
    widths = []
    for size in shape + shape:
        most = min(2, size - 1) if mode == "reflect" else 2
        widths.append(draw.one_of(0, *range(1, most + 1)))
        if mode == "constant" and size > 4 and draw.one_of(0, 0, 0, 1):
            widths[-1] = -1
    if n.opset < 11:
        more = {"value": 1.5} if mode == "constant" and draw.yes() else {}
        return n.op("Pad", x, mode=mode, pads=widths, **more)
    reads = [n.put(widths, "int64")]
    if mode == "constant" and draw.yes():
        reads.append(n.put(1.5 if dtype[0] == "f" else 3, dtype))
    return n.op("Pad", x, *reads, **({"mode": mode} if mode != "constant" or draw.yes() else {}))


def repeated(draw: Draw, n: Network) -> str:
    """Expand and Tile."""
    x = picked(draw, n, ANY)
    shape = n[x].shape
    if draw.yes() and shape and n[x].dtype != "bool":
        return n.op("Tile", x, n.put([draw.one_of(1, 2, 3) for _ in shape], "int64"))
    if n.opset < 8:
        raise UnusableError
    new = [draw.one_of(2, 3) if size == 1 else draw.one_of(size, 1) for size in shape]
    return n.op("Expand", x, n.put([draw.one_of(2, 1), *new] if draw.yes() else new, "int64"))


def resize(draw: Draw, n: Network) -> str:
    """Resize and Upsample by factors or to extents, of every mode."""
    x = picked(draw, n, ["float32"], (4, 3, 5))
    shape = n[x].shape
    modes = ["nearest", "linear", *(["cubic"] if n.opset >= 11 else [])]
    # What nought times infinity is between two places, nobody says.
    mode = draw.one_of(*modes[: 1 if n.special else 3])
    factors = [1.0, 1.0, *(draw.one_of(2.0, 3.0, 1.0, 0.5, 1.5) for _ in shape[2:])]
    if n.opset < 9:
        return n.op("Upsample", x, mode=mode, scales=[max(1.0, f) for f in factors])
    if n.opset == 9:
        return n.op("Upsample", x, n.put([max(1.0, f) for f in factors], "float32"), mode=mode)
    if n.opset == 10:
        return n.op("Resize", x, n.put(factors, "float32"), mode=mode)
    given: dict[str, Any] = {"mode": mode}
    ways = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    ways += ["half_pixel_symmetric"] if n.opset >= 19 else []
    if draw.yes():
        given["coordinate_transformation_mode"] = draw.one_of(*ways)
    if mode == "nearest" and draw.yes():
        given["nearest_mode"] = draw.one_of(
            "floor", "round_prefer_floor", "round_prefer_ceil", "ceil"
        )
    if mode == "cubic":
        if draw.yes():
            given["cubic_coeff_a"] = -0.5
        if draw.yes():
            given["exclude_outside"] = 1
    if mode != "nearest" and n.opset >= 18 and draw.one_of(0, 0, 0, 1):
        given["antialias"] = 1
    roi = [""] if n.opset >= 13 else [n.put([], "float32")]
    if draw.yes():
        return n.op("Resize", x, *roi, n.put(factors, "float32"), **given)
    sizes = [*shape[:2], *(draw.one_of(s, 2 * s, s + 1, 3, 7) for s in shape[2:])]
    none = [""] if n.opset >= 13 else [n.put([], "float32")]
    return n.op("Resize", x, *roi, *none, n.put(sizes, "int64"), **given)


def blocks(draw: Draw, n: Network) -> str:
    """DepthToSpace, SpaceToDepth."""
    x = picked(draw, n, ["float32", "float16", "uint8"] if n.opset >= 13 else ["float32"], (4,))
    if draw.yes():
        return n.op("SpaceToDepth", x, blocksize=draw.one_of(2, 3))
    more = {"mode": draw.one_of("DCR", "CRD")} if n.opset >= 11 and draw.yes() else {}
    return n.op("DepthToSpace", x, blocksize=draw.one_of(2, 1), **more)


def shuffle(draw: Draw, n: Network) -> str:
    """A channel shuffle."""
    x = picked(draw, n, "f", (4,))
    batch, c, h, w = n[x].shape
    if c % 2:
        raise UnusableError
    y = n.op("Reshape", x, n.put([batch, 2, c // 2, h, w], "int64"))
    y = n.op("Transpose", y, perm=[0, 2, 1, 3, 4])
    return n.op("Reshape", y, n.put([batch, c, h, w], "int64"))


def corner(draw: Draw, n: Network) -> str:
    """Trilu of matrices."""
    x = picked(draw, n, ["float32", "float64", "int64"], (2, 3, 4))
    if n.opset < 14:
        raise UnusableError
    reads = [n.put(draw.one_of(0, 1, -1), "int64")] if draw.yes() else []
    return n.op("Trilu", x, *reads, **({"upper": 0} if draw.yes() else {}))


def one_hot(draw: Draw, n: Network) -> str:
    """OneHot of whole numbers."""
    x = picked(draw, n, ["int64", "int32"], (0, 1, 2, 3))
    if n.opset < 9:
        raise UnusableError
    more = {"axis": draw.one_of(-1, 0)} if draw.yes() else {}
    depth = n.put(draw.one_of([5], 5), "int64")
    return n.op("OneHot", x, depth, n.put([0.0, 1.0], "float32"), **more)


FAMILY: tuple[Callable[[Draw, Network], str], ...] = (
    concat, transpose, reshape, slices, split, pad, gather, flatten, extent_of_one, repeated,
    resize, resize, blocks, shuffle, looked_up, corner, one_hot,
)  # fmt: skip
