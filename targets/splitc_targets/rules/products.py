# SPDX-License-Identifier: Apache-2.0
"""Products by constants, convolutions and matrix products alike: a kernel of the node's family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from splitc_targets.graph.expression import Arg, clamped, operations, substitute
from splitc_targets.graph.graph import Node, whole_numbers
from splitc_targets.graph.reach import Interval, furthest, interval
from splitc_targets.graph.views import View
from splitc_targets.kernels import families, ways
from splitc_targets.kernels.choice import Choice
from splitc_targets.kernels.product import (
    byte_tiles,
    direct,
    dot,
    geometry,
    half,
    pairs,
    tile_plan,
    tiles,
)
from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.kernels.strassen import filters as quarters
from splitc_targets.kernels.strassen import kernel as strassen
from splitc_targets.kernels.strassen import plan as strassen_plan
from splitc_targets.kernels.window.bytes import ByteWindows
from splitc_targets.kernels.winograd import filters, paired
from splitc_targets.kernels.winograd import kernel as winograd
from splitc_targets.kernels.winograd.plan import filter_size
from splitc_targets.loops import narrowing
from splitc_targets.loops.bfloat16 import BF16
from splitc_targets.loops.fused import Operand, beside_types, without_bias
from splitc_targets.machine.core import MultiplyAdd, TileProduct
from splitc_targets.plan.choices import decided, filled
from splitc_targets.plan.planner import Planner
from splitc_targets.rules.maps import describe, shapes_of


def plan_product(
    planner: Planner, node: Node, spec: Conv, weights: Any, args: list[View], rule: str = "conv"
) -> bool:
    """Append a product by constant weights, as the planner has it or the node's family does.

    Args:
        planner: Gets the step.
        node: What is computed.
        spec: As a convolution.
        weights: [out channels][channels][rows][columns].
        args: Views of the input, the operands and the result.
        rule: What the step is called where it is direct.
    """
    plan = planner.products or _PLANS[node.family]
    return plan(planner, node, spec, weights, args, rule)


def _plan_direct(
    planner: Planner, node: Node, spec: Conv, weights: Any, args: list[View], rule: str
) -> bool:
    """By the family, or what takes its place, that is predicted or was measured to be quickest."""
    choices, machine = planner.choices, planner.machine
    choice = decided(choices, spec, machine)
    family = families.named(choice.family)
    inexact = family is not None and not family.exact
    if inexact and whole_numbers(weights) and _is_exact(node):
        choice = decided(choices, spec, machine, exact=True)
    if choice.family in _TILES_OF_WINOGRAD:
        return _plan_winograd(planner, node, spec, weights, args, choice)
    if choice.family == "strassen":
        return _plan_strassen(planner, node, spec, weights, args, choice)
    spec = filled(spec, choice)
    packed = direct.pack(np.ascontiguousarray(weights), spec, machine)
    return _append(
        planner, node, ("conv", spec), planner.constant(packed), args,
        lambda name: direct.kernel(name, spec, machine, packed.size), spec.flops, rule,
        types=("float32", "float32", *beside_types(spec)), product=spec, choice=choice,
    )  # fmt: skip


def _is_exact(node: Node) -> bool:
    """Whether sums of whole numbers have to be exact.

    They need not where they are rounded next, a last bit then being lost seldom; but bytes that
    are multiplied as such by the next layer, whose sums are exact, stay what they are.
    """
    rounded = "round" in operations(node.attrs["expression"])
    return not rounded or node.output.dtype in ("int8", "uint8")


_TILES_OF_WINOGRAD = {"winograd2": 2, "winograd4": 4}


def _plan_winograd(
    planner: Planner, node: Node, spec: Conv, weights: Any, args: list[View], choice: Choice
) -> bool:
    """By Winograd's algorithm, with the scratch memory that it works in."""
    machine, m = planner.machine, _TILES_OF_WINOGRAD[choice.family]
    plain = planner.constant(filters.plain(np.asarray(weights), spec, machine, m))
    size = filter_size(spec, machine, m)
    packed = planner.prepared(
        filters.key(spec, machine, m), lambda name: filters.kernel(name, spec, machine, m),
        plain, size, f"{choice.family} filters",
    )  # fmt: skip
    return _append_stages(
        planner, node, ("winograd", spec, m), spec, packed, args,
        winograd.workspace(spec, machine, m),
        lambda name: winograd.kernel(name, spec, machine, m, size), choice,
    )  # fmt: skip


def _plan_strassen(
    planner: Planner, node: Node, spec: Conv, weights: Any, args: list[View], choice: Choice
) -> bool:
    """By Strassen's algorithm, likewise."""
    machine = planner.machine
    plain = planner.constant(quarters.plain(np.asarray(weights)))
    size = strassen_plan.filter_size(spec, machine)
    packed = planner.prepared(
        quarters.key(spec, machine), lambda name: quarters.kernel(name, spec, machine),
        plain, size, "strassen weights",
    )  # fmt: skip
    return _append_stages(
        planner, node, ("strassen", spec), spec, packed, args, strassen.workspace(spec, machine),
        lambda name: strassen.kernel(name, spec, machine, size), choice,
    )  # fmt: skip


def _append_stages(
    planner: Planner, node: Node, key: tuple[Any, ...], spec: Conv, packed: View,
    args: list[View], room: int, build: Callable[[str], Any], choice: Choice,
) -> bool:  # fmt: skip
    """Append a kernel with `room` elements of scratch before its result; as `_append` has it."""
    *read, target = args
    *beside, result = beside_types(spec)
    return _append(
        planner, node, key, packed, [*read, planner.fresh((room,), "float32", (1,)), target],
        build, spec.flops, choice.family,
        types=("float32", "float32", *beside, "float32", result), product=spec, choice=choice,
    )  # fmt: skip


def _append(
    planner: Planner, node: Node, key: tuple[Any, ...], packed: View, args: list[View],
    build: Callable[[str], Any], flops: int, rule: str, *, types: Sequence[str],
    product: Conv | None = None, choice: Choice | None = None,
) -> bool:  # fmt: skip
    """Append a kernel that reads packed weights behind its input.

    Args:
        planner: Gets the step.
        node: What is computed.
        key: Of the step.
        packed: Weights in the order the kernel reads them.
        args: The input, the operands and the result.
        build: Makes the kernel, given its name.
        flops: Operations of the mathematics.
        rule: What the step is called.
        types: The element types of the kernel's parameters.
        product, choice: Of the step.
    """
    view, *rest = args
    planner.step(
        key, build, [view, packed, *rest], rule, describe(node) + _precision(rule),
        shapes_of(node.args[0], node.args[1], node.output), flops, types, product, choice,
    )  # fmt: skip
    return True


def _precision(rule: str) -> str:
    """In words what operands are rounded to, where it is less than the network says."""
    family = families.named(rule)
    return " in bf16" if family is not None and BF16 in family.reads else ""


def instruction(planner: Planner, weights: str) -> MultiplyAdd:
    """The instruction that the node's family was chosen for.

    Raises:
        ValueError: The machine has none: the node's family was chosen for another.
    """
    row = planner.machine.multiplying(weights)
    if row is None:
        raise ValueError(f"no instruction multiplies by {weights}")
    return row


def _plan_half(
    planner: Planner, node: Node, spec: Conv, weights: Any, args: list[View], _: str
) -> bool:
    """Append a convolution of float16."""
    row = instruction(planner, "float16")
    machine = planner.machine.using(row)
    spec = half.tiled(spec, machine)
    packed = half.pack(np.ascontiguousarray(weights), spec, machine)
    return _append(
        planner, node, ("half", spec), planner.constant(packed), args,
        lambda name: half.kernel(name, spec, machine, row, packed.size), spec.flops, "half",
        types=(row.reads, row.weights, *beside_types(spec)),
    )  # fmt: skip


def _plan_pairs(
    planner: Planner, node: Node, spec: Conv, weights: Any, args: list[View], _: str
) -> bool:
    """Append a convolution of bfloat16, direct or by Winograd's algorithm."""
    row = instruction(planner, BF16)
    machine = planner.machine.using(row)
    family = ways.in_pairs(spec, planner.machine)
    tile = planner.machine.tiling(BF16)
    if family == "pairwinograd2":
        return _plan_paired_winograd(planner, node, spec, weights, args, row)
    if family == "tiles" and tile is not None and _is_finite(weights):
        words = pairs.words(np.asarray(weights))
        return _plan_tiles(planner, node, geometry.in_pairs(spec), words, args, tile)
    spec = geometry.in_pairs(spec)
    packed = pairs.pack(np.asarray(weights), spec, machine)
    return _append(
        planner, node, ("pairs", spec), planner.constant(packed), args,
        lambda name: pairs.kernel(name, spec, machine, row, packed.size),
        spec.flops * geometry.PAIR, "pairs", types=(row.reads, "int32", *beside_types(spec)),
    )  # fmt: skip


def _is_finite(weights: Any) -> bool:
    """Whether rounding leaves no infinity, which would meet the zeros beyond a map."""
    return bool(np.isfinite(weights).all()) and float(np.abs(weights).max()) < _LARGEST_ROUNDED


_LARGEST_ROUNDED = 3.3895e38
"""What rounds to no more than bfloat16's largest number."""


def _plan_tiles(
    planner: Planner, node: Node, spec: Conv, words: Any, args: list[View], row: TileProduct
) -> bool:
    """Append a convolution by products of tiles.

    Args:
        planner: Gets the step.
        node: What is computed.
        spec: In words.
        words: The weights, in words.
        args: Views of the input, the operands and the result.
        row: The product.
    """
    machine = planner.machine
    packed, made = tiles.pack(words, spec, machine), tile_plan.plan(spec)
    *read, target = args
    *beside, result = beside_types(spec)
    copy = [planner.fresh((made.copy_words,), "int32", (1,))] if made.copied else []
    return _append(
        planner, node, ("tiles", spec), planner.constant(packed), [*read, *copy, target],
        lambda name: tiles.kernel(name, spec, machine, row, packed.size),
        spec.flops * row.group, "tiles",
        types=(row.reads, "int32", *beside, *["int32"] * len(copy), result),
    )  # fmt: skip


def _plan_paired_winograd(
    planner: Planner, node: Node, spec: Conv, weights: Any, args: list[View], row: MultiplyAdd
) -> bool:
    """By Winograd's algorithm in bfloat16, with the scratch memory that it works in."""
    machine = planner.machine.using(row)
    packed = paired.pack(np.asarray(weights), spec, machine)
    transformed, room = paired.scratch(spec, machine)
    *read, target = args
    *beside, result = beside_types(spec)
    return _append(
        planner, node, ("pairwinograd2", spec), planner.constant(packed),
        [*read, planner.fresh((transformed,), BF16, (1,)),
         planner.fresh((room,), "float32", (1,)), target],
        lambda name: paired.kernel(name, spec, machine, row, packed.size), spec.flops,
        "pairwinograd2", types=(BF16, "int32", *beside, BF16, "float32", result),
    )  # fmt: skip


_Ends = TypeVar("_Ends", Conv, ByteWindows)


def whole_bias(
    spec: _Ends, extras: list[View], channels: int
) -> tuple[_Ends, np.ndarray[Any, Any]]:
    """A kernel without the bias of whole numbers that its sums can start from, and that bias.

    Args:
        spec: The kernel, which sums whole numbers.
        extras: Views of its operands; the bias is taken out.
        channels: Of the result: so many zeros are the bias where it adds none.
    """
    expression, number = without_bias(spec.expression, spec.operands)
    if number is None or extras[number].buffer.data is None:
        return spec, np.zeros(channels)
    bias = np.asarray(extras[number].buffer.data)
    if not np.array_equal(bias, np.rint(bias)) or np.abs(bias).max() >= 2**30:
        return spec, np.zeros(channels)
    del extras[number]
    without = replace(
        spec,
        expression=substitute(expression, lambda i: Arg(i - (i > number + 1))),
        operands=spec.operands[:number] + spec.operands[number + 1 :],
    )
    return without, bias


def near(
    planner: Planner, spec: _Ends, weights: Any, start: Any, offset: int, extras: list[View]
) -> _Ends:  # fmt: skip
    """A kernel that sums products of bytes, with how far its sums and ends lie from 0.

    Nothing is said but on AArch64, whose conversions are slow.

    Args:
        planner: Whose machine it is for.
        spec: The kernel.
        weights: Whole numbers [out channels][channels][rows][columns].
        start: What sums start from [out channels].
        offset: Number less byte, of the input.
        extras: Views of the kernel's operands.
    """
    if not planner.machine.lane_fma:
        return spec
    whole, limits = weights.astype(np.float64), np.iinfo(instruction(planner, "int8").reads)
    ends = [whole * (limits.min + offset), whole * (limits.max + offset), 0 * whole]
    low, high = (np.sum(f.reduce(ends), (1, 2, 3)) + start for f in (np.minimum, np.maximum))
    read = [_bounds(*each, len(low)) for each in zip(spec.operands, extras, strict=True)]
    rounded = clamped(spec.expression)
    found = interval(rounded.value, [(low, high), *read]) if rounded else None
    return replace(
        spec,
        near_sums=furthest((low, high)) < narrowing.FAR_SUM,
        near_ends=found is not None and furthest(found) < narrowing.FAR_END,
    )


def _bounds(operand: Operand, view: View, channels: int) -> Interval | None:
    """Between what an operand's numbers lie, by channel where it has one for each."""
    data, count = view.buffer.data, {"channel": channels, "scalar": 1}.get(operand.kind)
    if data is not None and data.size == count:
        stored = np.asarray(data, np.float64).ravel()
        return stored, stored
    if operand.dtype not in ("int8", "uint8"):
        return None
    limits = np.iinfo(operand.dtype)
    return np.asarray(float(limits.min)), np.asarray(float(limits.max))


def _plan_dot(
    planner: Planner, node: Node, spec: Conv, weights: Any, args: list[View], _: str
) -> bool:
    """Append a convolution of bytes; `args` are the input, the operands and the result.

    Args:
        planner: Gets the step.
        node: Its attribute `offset` says what number less byte of the input is.
        spec: In bytes, whole elements of four for each pixel.
        weights: Whole numbers [out channels][channels][rows][columns].
        args: Views; the input's channels may be more than the weights'.
    """
    row = instruction(planner, "int8")
    machine, offset = planner.machine.using(row), round(node.attrs["offset"])
    view, *extras, target = args
    spec, start = whole_bias(spec, extras, len(weights))
    spec = replace(
        spec, channels=-(-spec.channels // dot.FOUR), x_channel=1,
        **{name: getattr(spec, name) // dot.FOUR for name in ("x_pixel", "x_row", "x_image")},
    )  # fmt: skip
    tiled = _plan_byte_tiles(planner, node, spec, weights, start, offset, [view, *extras, target])
    if tiled:
        return True
    spec = dot.tiled(near(planner, spec, weights, start, offset, extras), machine)
    packed = dot.pack(weights, start, offset, spec, machine)
    return _append(
        planner, node, ("dot", spec, offset, packed.size), planner.constant(packed),
        [view, *extras, target],
        lambda name: dot.kernel(name, spec, machine, row, packed.size, offset),
        spec.flops * dot.FOUR, "dot",
        types=(row.reads, "int32", *beside_types(spec)),
    )  # fmt: skip


def _plan_byte_tiles(
    planner: Planner, node: Node, spec: Conv, weights: Any, start: Any, offset: int,
    args: list[View],
) -> bool:  # fmt: skip
    """Append a convolution of bytes by products of tiles; False where `dot` is to compute it.

    Args:
        planner: Gets the step.
        node: What is computed.
        spec: In words of four bytes.
        weights: Whole numbers [out channels][channels][rows][columns].
        start: What sums start from.
        offset: Number less byte, of the input.
        args: Views of the input, the operands and the result.
    """
    machine, row = planner.machine, planner.machine.tiling("int8")
    if row is None or not ways.in_byte_tiles(spec, machine):
        return False
    made = byte_tiles.planned(spec, offset)
    if made is None:
        return False
    packed = byte_tiles.pack(weights, start, offset, made, machine)
    *read, target = args
    *beside, result = beside_types(spec)
    copy = [planner.fresh((made.copy_words,), "int32", (1,))] if made.copied else []
    return _append(
        planner, node, ("bytetiles", spec, offset), planner.constant(packed),
        [*read, *copy, target],
        lambda name: byte_tiles.kernel(name, made, machine, row, packed.size, offset),
        spec.flops * row.group, "bytetiles",
        types=(row.reads, "int32", *beside, *["int32"] * len(copy), result),
    )  # fmt: skip


_PLANS: dict[str, Callable[[Planner, Node, Conv, Any, list[View], str], bool]] = {
    "direct": _plan_direct,
    "dot": _plan_dot,
    "half": _plan_half,
    "pairs": _plan_pairs,
}
"""By the node's family."""
