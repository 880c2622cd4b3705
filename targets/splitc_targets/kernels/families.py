# SPDX-License-Identifier: Apache-2.0
"""The kernels' abilities as data: one row for each family of them.

A row says which operations a family computes, which element types it reads, takes as weights,
sums in, writes and accepts beside, what of a layer it needs, and what its kernels are predicted
to cost. Everybody asks the rows: the analysis of element types, which writes the chosen family
into each node; the rules, which plan what the node says; the model's choice between algorithms,
tuning and the memory limit, which compare candidates. Nobody foretells what another will do.

A family that is planned `instead_of` another can take its place in every node: it reads, writes
and accepts at least what the other does. So which of them computes a layer is decided as late
as its loops are known, by predicted cycles.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np

from splitc_targets.graph.graph import Node, Value, is_depthwise, usual_layouts, whole_numbers
from splitc_targets.kernels import ways
from splitc_targets.kernels.choice import Choice, Product, conv_of
from splitc_targets.kernels.product import direct, geometry, matmul
from splitc_targets.kernels.product.geometry import Conv, Matmul
from splitc_targets.kernels.strassen import kernel as strassen
from splitc_targets.kernels.strassen import plan as strassen_plan
from splitc_targets.kernels.window.geometry import LANES
from splitc_targets.kernels.winograd import kernel as winograd
from splitc_targets.kernels.winograd.plan import filter_size
from splitc_targets.loops.bfloat16 import BF16
from splitc_targets.loops.fused import TYPES
from splitc_targets.machine.machine import Machine

CONVOLUTIONS = frozenset({"nn.conv2d", "nn.conv1d"})
TRANSPOSED = frozenset({"nn.conv2d_transpose", "nn.conv1d_transpose"})
PRODUCTS = CONVOLUTIONS | {"matmul"}
LARGEST_OF_WINDOWS = frozenset({"nn.max_pool2d", "nn.max_pool1d"})
MEANS_OF_WINDOWS = frozenset({"nn.avg_pool2d", "nn.avg_pool1d"})

_FLOATS = frozenset({"float32"})
_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Family:
    """Kernels that compute the same layers from the same element types.

    Args:
        name: What nodes, choices and steps call it.
        ops: Operations that it computes.
        takes: Whether it computes a node of these on a machine: form, weights, instructions.
        reads: Element types of the input.
        weights: Element types of constant weights; none where it has none.
        sums: The element type it sums in.
        writes: Element types of the result.
        beside: Element types of what its expression reads beside.
        exact: Whether sums of whole numbers are exact, as far as its sums' type holds them.
        fills: Whether one of the input's elements has to stand for 0: what lies outside of a map.
        instead_of: The family whose place it may take.
        kernel: The function that computes a product by a choice, for measuring it.
    """

    name: str
    ops: frozenset[str]
    takes: Callable[[Node, Machine], bool]
    reads: frozenset[str]
    weights: frozenset[str] = _NONE
    sums: str = "float32"
    writes: frozenset[str] = TYPES
    beside: frozenset[str] = TYPES
    exact: bool = True
    fills: bool = False
    instead_of: str = ""
    kernel: Callable[[str, Product, Choice, Machine], Any] | None = None


# What of a layer a family needs.


def _multiplies_constants(node: Node) -> bool:
    """Whether a node multiplies float32 by constants, described as rules read them."""
    x, w = node.args[0], node.args[1]
    if w.data is None or x.dtype != "float32" or w.dtype != "float32":
        return False
    if node.op in CONVOLUTIONS:
        return usual_layouts(node)
    return w.data.ndim == 2 and 0 not in (x.size, w.size)


def multiplies_bytes(node: Node, machine: Machine) -> bool:
    """Whether the constants are whole numbers within a signed byte, in fours."""
    if machine.multiplying("int8") is None or not _multiplies_constants(node):
        return False
    x, data = node.args[0], node.args[1].data
    if node.op in CONVOLUTIONS:
        fours = data.shape[1] % 4 == 0 or node.attrs["groups"] == 1
    else:
        fours = len(x.shape) > 1 and data.shape[0] % 4 == 0
    if not fours or data.size == 0 or x.size == 0:
        return False
    return _are_signed_bytes(data)


_LARGEST_HALF = 65504.0


def _multiplies_halves(node: Node, machine: Machine) -> bool:
    """Whether the network has the layer in float16, deep enough for that to pay."""
    if machine.multiplying("float16") is None or not node.outputs or not node.output.half:
        return False
    if not _multiplies_constants(node):
        return False
    x, data = node.args[0], node.args[1].data
    if x.data is not None or 0 in (x.size, data.size) or np.abs(data).max() > _LARGEST_HALF:
        return False
    if node.op in CONVOLUTIONS:
        return data.shape[1] >= ways.DEEP
    return len(x.shape) > 1 and data.shape[0] >= ways.DEEP


def _multiplies_pairs(node: Node, machine: Machine) -> bool:
    """Whether products in bfloat16 are asked for, and quickest for a layer."""
    if machine.multiplying(BF16) is None or not _multiplies_constants(node):
        return False
    x, data = node.args[0], node.args[1].data
    if x.data is not None or 0 in (x.size, data.size):
        return False
    if node.op not in CONVOLUTIONS and len(x.shape) < 2:
        return False
    return bool(ways.in_pairs(_plain(node), machine))


def _plain(node: Node) -> Conv:
    """A product by constants as a convolution of dense maps, nothing fused."""
    x, y, data = node.args[0], node.output, node.args[1].data
    if node.op not in CONVOLUTIONS:
        rows, (depth, columns) = x.size // x.shape[-1], data.shape
        maps = (1, depth, 1, rows), (1, columns, 1, rows)
        return geometry.of_maps(*maps, 1, (1, 1), (1, 1), (0, 0))
    attrs, line = node.attrs, (1,) * (node.op == "nn.conv1d")

    def map_of(shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:2], *line, *shape[2:])

    def pair(numbers: tuple[int, ...], missing: int) -> tuple[int, int]:
        return (missing, numbers[0]) if line else (numbers[0], numbers[1])

    return geometry.of_maps(
        map_of(x.shape), map_of(y.shape), attrs["groups"], pair(data.shape[2:], 1),
        pair(attrs["strides"], 1), pair(attrs["padding"], 0), pair(attrs["dilation"], 1),
    )  # fmt: skip


def _is_depthwise(node: Node, machine: Machine) -> bool:
    return _multiplies_constants(node) and is_depthwise(node)


def _is_depthwise_of_bytes(node: Node, machine: Machine) -> bool:
    row = machine.multiplying("int8")
    if row is None or row.lanes != LANES or not _is_depthwise(node, machine):
        return False
    x, data = node.args[0], node.args[1].data
    return x.size > 0 and data.size > 0 and _are_signed_bytes(data)


def _are_signed_bytes(data: Any) -> bool:
    return whole_numbers(data) and data.min() >= -128 and data.max() <= 127


def _is_direct(node: Node, machine: Machine) -> bool:
    if node.op not in TRANSPOSED:
        return _multiplies_constants(node)
    x, w = node.args[0], node.args[1]
    usual = w.data is not None and node.attrs["kernel_layout"] in ("IOHW", "IOW")
    return usual and x.dtype == "float32" and 0 not in (x.size, node.output.size)


def _is_matmul(node: Node, machine: Machine) -> bool:
    a, b = node.args[0], node.args[1]
    return a.dtype == b.dtype == "float32" and 0 not in (a.size, b.size)


def _is_pool(node: Node, machine: Machine) -> bool:
    layout = node.attrs["layout"] in ("NCHW", "NCW")
    return layout and "expression" in node.attrs and node.args[0].dtype == "float32"


# Functions, for measuring.


_AnyProduct = TypeVar("_AnyProduct", Conv, Matmul)


def with_choice(product: _AnyProduct, choice: Choice) -> _AnyProduct:
    """A product with a choice's tile and order filled in."""
    tile, outer = choice.tile, choice.blocks_outer
    if isinstance(product, Conv):
        return replace(product, tile=tile, blocks_outer=outer)
    return replace(product, conv=replace(product.conv, tile=tile, blocks_outer=outer))


def _direct_kernel(name: str, product: Product, choice: Choice, machine: Machine) -> Any:
    conv = with_choice(conv_of(product), choice)
    size = next(ways.direct(choice.family, product, machine)).constant_bytes // 4
    return direct.kernel(name, conv, machine, size)


def _matmul_kernel(name: str, product: Product, choice: Choice, machine: Machine) -> Any:
    made = with_choice(cast("Matmul", product), choice)
    return matmul.kernel(name, geometry.sized(made, machine), machine)


def _winograd_kernel(m: int, name: str, product: Product, choice: Choice, machine: Machine) -> Any:
    conv = conv_of(product)
    return winograd.kernel(name, conv, machine, m, filter_size(conv, machine, m))


def _strassen_kernel(name: str, product: Product, choice: Choice, machine: Machine) -> Any:
    conv = conv_of(product)
    return strassen.kernel(name, conv, machine, strassen_plan.filter_size(conv, machine))


def _winograd_family(m: int) -> Family:
    return Family(
        f"winograd{m}", CONVOLUTIONS, _is_direct, reads=_FLOATS, weights=_FLOATS, exact=False,
        instead_of="direct", kernel=partial(_winograd_kernel, m),
    )  # fmt: skip


FAMILIES: tuple[Family, ...] = (
    Family("dot", PRODUCTS, multiplies_bytes, reads=frozenset({"int8", "uint8"}),
           weights=frozenset({"int8"}), sums="int32"),
    Family("bytetiles", PRODUCTS, multiplies_bytes, reads=frozenset({"int8", "uint8"}),
           weights=frozenset({"int8"}), sums="int32", instead_of="dot"),
    Family("half", PRODUCTS, _multiplies_halves, reads=frozenset({"float16"}),
           weights=frozenset({"float16"})),
    Family("pairs", PRODUCTS, _multiplies_pairs, reads=frozenset({BF16}),
           weights=frozenset({BF16})),
    Family("tiles", PRODUCTS, _multiplies_pairs, reads=frozenset({BF16}),
           weights=frozenset({BF16}), instead_of="pairs"),
    Family("pairwinograd2", CONVOLUTIONS, _multiplies_pairs, reads=frozenset({BF16}),
           weights=frozenset({BF16}), exact=False, instead_of="pairs"),
    Family("depthwise_dot", CONVOLUTIONS, _is_depthwise_of_bytes,
           reads=frozenset({"int8", "uint8"}), weights=frozenset({"int8"}), sums="int32",
           fills=True),
    Family("depthwise", CONVOLUTIONS, _is_depthwise, reads=TYPES, weights=_FLOATS),
    Family("direct", PRODUCTS | TRANSPOSED, _is_direct, reads=_FLOATS, weights=_FLOATS,
           kernel=_direct_kernel),
    _winograd_family(2),
    _winograd_family(4),
    Family("strassen", PRODUCTS, _is_direct, reads=_FLOATS, weights=_FLOATS, exact=False,
           instead_of="direct", kernel=_strassen_kernel),
    Family("matmul", frozenset({"matmul"}), _is_matmul, reads=_FLOATS, writes=_FLOATS,
           beside=_FLOATS, kernel=_matmul_kernel),
    Family("largest", LARGEST_OF_WINDOWS, _is_pool, reads=TYPES),
    Family("mean", MEANS_OF_WINDOWS, _is_pool, reads=TYPES),
)  # fmt: skip
"""Of those that take a node, the first is chosen whose input can be held as it reads it."""

_BY_NAME = {family.name: family for family in FAMILIES}


def named(name: str) -> Family | None:
    """The family of that name; None for a node, or a step, that is of none."""
    return _BY_NAME.get(name)


def of(node: Node, machine: Machine) -> Iterator[Family]:
    """The families that compute a node, those with smaller elements first."""
    for family in FAMILIES:
        if node.op in family.ops and not family.instead_of and family.takes(node, machine):
            yield family


def faults(node: Node) -> Iterator[str]:
    """What of a node its family does not compute, for the graph's check."""
    family = named(node.family)
    if family is None:
        if node.family:
            yield f"there is no family '{node.family}'"
        return
    if node.op not in family.ops:
        yield f"the family '{family.name}' does not compute it"
        return
    if node.args[0].dtype not in family.reads:
        yield f"the family '{family.name}' does not read {node.args[0].dtype}"
    if node.output.dtype not in family.writes:
        yield f"the family '{family.name}' does not write {node.output.dtype}"
    for value in extras(node):
        if value.dtype not in family.beside:
            yield f"the family '{family.name}' reads no {value.dtype} beside"


def extras(node: Node) -> list[Value]:
    """What a node's expression reads beside its own result."""
    last = node.args[-1] if node.args else None
    return cast("list[Value]", last) if isinstance(last, list) else []
