# SPDX-License-Identifier: Apache-2.0
"""Small convolutional heads: how many layers, how wide, for given extents and memory."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from splitc.errors import UsageError
from splitc.ir.chain import Insertion
from splitc.ir.graph import Tensor
from splitc_passes.codecs.learned import computed, relu, seeded

if TYPE_CHECKING:
    from torch import nn

Shape = tuple[int, ...]
Step = tuple[int, int]
"""Stride and padding of a 3-wide convolution along one axis."""


@dataclass(frozen=True)
class Plan:
    """A student: what each of its convolutions does, and where an average pool stands.

    Args:
        source: Shape of the input, [N, C, H, W].
        shapes: Shape of what each convolution makes; the last is the boundary's.
        steps: Strides and paddings of each along both axes.
        pooled: Whether an average pool before the last gives the boundary's extents.
        relu: Whether a ReLU follows the last.
        narrow: Whether the layer before the last is what crosses.
    """

    source: Shape
    shapes: tuple[Shape, ...]
    steps: tuple[tuple[Step, Step], ...]
    pooled: bool
    relu: bool
    narrow: bool

    @property
    def head_layers(self) -> int:
        """How many layers of the student are before the cut."""
        before = 2 * (len(self.shapes) - 1) + self.pooled
        return before if self.narrow else before + 1 + self.relu


def plan(
    source: Shape,
    target: Shape,
    dtype: str,
    *,
    depth: int,
    bottleneck: int,
    relu: bool,
    width: int,
    widest: int,
    max_bytes: int,
) -> Plan:
    """The student from one map to another: of a width, or the widest within a limit.

    Args:
        source: Shape of what it reads, [N, C, H, W].
        target: Shape of what it makes.
        dtype: Element type.
        depth: How many convolutions; 0 for as few as possible.
        bottleneck: Channels of the layer before the last; 0 for as many as the others.
        relu: Whether it ends with a ReLU.
        width: Channels of its first layer; 0 for as many as the limit allows.
        widest: Channels that no layer before the last has more of.
        max_bytes: Limit for weights plus live activations before the cut; 0 for none.

    Raises:
        UsageError: `depth` is too small, an option is above `widest`, or no student fits
            the limit.
    """
    for option, value in (("width", width), ("bottleneck", bottleneck)):
        if value > widest:
            raise UsageError(f"{option} {value} is above {widest}, the head's widest map")
    steps, pooled = _steps(source, target, depth, least=3 if bottleneck else 2)

    def wide(channels: int) -> Plan:
        shapes = _shapes(source, target, steps, channels, widest, bottleneck)
        return Plan(source, shapes, steps, pooled, relu, bottleneck > 0)

    def fits(channels: int) -> bool:
        return not max_bytes or head_bytes(wide(channels), dtype) <= max_bytes

    if not fits(width or 1):
        need = head_bytes(wide(width or 1), dtype)
        raise UsageError(
            f"no student of {len(steps)} layers fits {max_bytes:,} bytes",
            why=f"one of width {width or 1} takes {need:,} bytes: weights and live activations",
            hint="allow more, or cut where the network's maps are smaller",
        )
    # a wider student is never smaller, so the first that does not fit ends the search
    return wide(width or bisect_left(range(1, widest + 1), True, key=lambda w: not fits(w)))


def _steps(
    source: Shape, target: Shape, depth: int, least: int
) -> tuple[tuple[tuple[Step, Step], ...], bool]:
    """Steps of each convolution, and whether an average pool has to follow those that stride."""
    axes = list(zip(source[2:], target[2:], strict=True))
    halvings = max(_halvings(extent, wanted) for extent, wanted in axes)
    fewest = max(least - 1, halvings)
    if depth and depth < max(least, halvings + 1):
        raise UsageError(
            f"a student of depth {depth} is too shallow",
            why=f"{_by(source)} to {_by(target)} takes {max(least, halvings + 1)} layers or more",
        )
    last = ((1, 1), (1, 1))
    for count in (depth - 1,) if depth else (fewest, fewest + 1):
        ways = [reach(extent, wanted, count) for extent, wanted in axes]
        if ways[0] is not None and ways[1] is not None:
            return (*zip(ways[0], ways[1], strict=True), last), False
    count = depth - 1 if depth else fewest
    down, right = (_halved(_halvings(extent, wanted), count) for extent, wanted in axes)
    return (*zip(down, right, strict=True), last), True


@cache
def reach(extent: int, wanted: int, count: int) -> tuple[Step, ...] | None:
    """Strides and paddings by which 3-wide convolutions make one extent of another.

    They stride as early as they can, and pad where they can.

    Args:
        extent: Rows or columns of what is read.
        wanted: Of what is made.
        count: How many convolutions.

    Returns:
        None where there are none.
    """
    if count == 0:
        return () if extent == wanted else None
    for stride, padding in ((2, 1), (2, 0), (1, 1), (1, 0)):
        made = (extent + 2 * padding - 3) // stride + 1
        if made >= wanted and (stride == 1 or made < extent):
            rest = reach(made, wanted, count - 1)
            if rest is not None:
                return ((stride, padding), *rest)
    return None


def _halvings(extent: int, wanted: int) -> int:
    """How often an extent can be halved, a half kept whole, without falling below another."""
    count = 0
    while extent > 1 and math.ceil(extent / 2) >= wanted:
        extent, count = math.ceil(extent / 2), count + 1
    return count


def _halved(halvings: int, count: int) -> tuple[Step, ...]:
    return ((2, 1),) * halvings + ((1, 1),) * (count - halvings)


def _shapes(
    source: Shape,
    target: Shape,
    steps: Sequence[tuple[Step, Step]],
    width: int,
    widest: int,
    bottleneck: int,
) -> tuple[Shape, ...]:
    made: list[Shape] = []
    extents = source[2:]
    channels = width
    for k, step in enumerate(steps[:-1]):
        if k and max(stride for stride, _ in step) > 1:
            channels *= 2
        extents = tuple(
            (extent + 2 * padding - 3) // stride + 1
            for extent, (stride, padding) in zip(extents, step, strict=True)
        )
        made.append((source[0], min(channels, widest), *extents))
    if bottleneck:
        made[-1] = (source[0], bottleneck, *extents)
    return (*made, target)


def layers(chosen: Plan, dtype: str, seed: int) -> list[Insertion]:
    """The layers of a student: `student1`, `student1.relu`, `student2`, …

    Args:
        chosen: What it is.
        dtype: Element type.
        seed: Of the first weights.
    """
    made: list[Insertion] = []
    read = chosen.source
    for k, (shape, step) in enumerate(zip(chosen.shapes, chosen.steps, strict=True), start=1):
        last = k == len(chosen.shapes)
        if last and chosen.pooled:
            read_to = (*read[:2], *shape[2:])
            made.append(_pool("student.pool", read, read_to, dtype))
            read = read_to
        made.append(_conv(f"student{k}", read, shape, step, dtype, seed + k, normed=not last))
        if not last or chosen.relu:
            made.append(relu(f"student{k}.relu", shape, dtype))
        read = shape
    return made


def head_bytes(chosen: Plan, dtype: str) -> int:
    """Weights plus live activations of a student up to the cut.

    In a chain, what is alive at once is what a layer reads and what it makes.
    """
    chain = layers(chosen, dtype, 0)[: chosen.head_layers]
    sizes = [Tensor("", shape, dtype).nbytes or 0 for shape in (chosen.source, *(
        each.shape for each in chain
    ))]  # fmt: skip
    return sum(each.param_bytes for each in chain) + max(a + b for a, b in pairwise(sizes))


def _conv(
    name: str, reads: Shape, makes: Shape, step: tuple[Step, Step], dtype: str, seed: int, *,
    normed: bool,
) -> Insertion:  # fmt: skip
    """A convolution with batch norm, or with a bias: its values then depend on no batch."""
    strides, paddings = zip(*step, strict=True)

    def modules() -> Sequence[nn.Module]:
        from torch import nn

        conv = nn.Conv2d(reads[1], makes[1], 3, stride=strides, padding=paddings, bias=not normed)
        return (conv, nn.BatchNorm2d(makes[1])) if normed else (conv,)

    weight = (makes[1], reads[1], 3, 3)
    return computed(
        name, "conv", reads, makes, dtype, seeded(seed, modules), weight=weight,
        numbers=math.prod(weight) + makes[1], settings={"stride": strides},
    )  # fmt: skip


def _pool(name: str, reads: Shape, makes: Shape, dtype: str) -> Insertion:
    def modules() -> Sequence[nn.Module]:
        from torch import nn

        return (nn.AdaptiveAvgPool2d(makes[2:]),)

    op = "globalaveragepool" if makes[2:] == (1, 1) else "averagepool"
    return computed(name, op, reads, makes, dtype, modules, settings={"output_size": makes[2:]})


def _by(shape: Shape) -> str:
    return "x".join(map(str, shape[2:]))
