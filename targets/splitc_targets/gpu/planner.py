# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Plans for a graphics processor: the rules' own, each spec computed by a kernel of threads."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from splitc_targets.gpu.device import Device
from splitc_targets.gpu.kernels import (
    attention,
    gather,
    maps,
    ordering,
    products,
    recurrent,
    rows,
    sampling,
    scan,
    scatter,
    split,
    suppression,
    windows,
)
from splitc_targets.gpu.kernels.product import ALIGNED, Product, dense, of_matrices
from splitc_targets.gpu.schedule import Bound, bound
from splitc_targets.graph.graph import Graph, Node
from splitc_targets.graph.views import View, packed
from splitc_targets.kernels import families
from splitc_targets.kernels.choice import Choice
from splitc_targets.kernels.choice import Product as Chosen
from splitc_targets.kernels.product.geometry import Conv
from splitc_targets.kernels.scatter import spec_of as scatter_spec
from splitc_targets.kernels.suppression import Suppression
from splitc_targets.loops.fused import beside_types
from splitc_targets.machine.machine import Machine
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules import table
from splitc_targets.rules.maps import describe, shapes_of
from splitc_targets.tvm.adapter import CannotRun

_NEUTRAL = Machine(
    lanes=1, registers=16, spare=0, fma=True, fma_latency=1, fma_per_cycle=1.0,
    loads_per_cycle=1.0, lane_fma=False, memory_fma=False, prefetch=False, multiply_adds=(),
    tile_products=(),
    l1_bytes=32768, l1_ways=8, l2_bytes=262144, l2_shared=False, beyond_l2=8.0, memory=8.0,
    exposed=0.25, cores=1,
)  # fmt: skip
"""What rules ask of a processor while they describe an operation; no kernel here reads it."""

Write = Callable[[str, Any, Device], Any]

KERNELS: dict[str, Write] = {
    "attention": attention.attention_kernel,
    "map": lambda name, spec, _: maps.map_kernel(name, spec),
    "depthwise": lambda name, spec, _: windows.depthwise_kernel(name, spec),
    "pool": lambda name, spec, _: windows.pool_kernel(name, spec),
    "whole": lambda name, spec, _: windows.whole_kernel(name, spec),
    "extremes": lambda name, spec, _: ordering.extremes_kernel(name, spec),
    "gather": lambda name, spec, _: gather.gather_kernel(name, spec),
    "scatter": lambda name, spec, _: scatter.scatter_kernel(name, spec),
    "scan": lambda name, spec, _: scan.scan_kernel(name, spec),
    "sort": lambda name, spec, _: ordering.sort_kernel(name, spec),
    "softmax": lambda name, spec, _: rows.softmax_kernel(name, spec),
    "norm": lambda name, spec, _: rows.norm_kernel(name, spec),
    "lrn": lambda name, spec, _: rows.lrn_kernel(name, spec),
    "reduce": lambda name, spec, _: rows.reduction_kernel(name, spec),
    "sample": lambda name, spec, _: sampling.sample_kernel(name, spec),
    "parts": lambda name, spec, _: split.sum_kernel(name, spec),
    "product": products.product_kernel,
    "recurrent": lambda name, spec, _: recurrent.recurrent_kernel(name, spec, _NEUTRAL),
    "kept boxes": lambda name, spec, _: suppression.suppression_kernel(name, spec),
    "kept boxes listed": lambda name, spec, _: suppression.listing_kernel(name, spec),
}
"""By what a step's key begins with: the kernel of the spec that follows."""

LOOPS = ("image.grid_sample", "vision.roi_align")
"""What no kernel of threads computes, and TVM's own loops do."""

RULES: dict[str, Rule] = {
    op: lambda planner, node, rule=rule: _by_family(rule, planner, node)
    for op, rule in table.RULES.items()
    if op not in LOOPS
}
"""The processors' rules."""


def _by_family(rule: Rule, planner: Planner, node: Node) -> bool:
    """Plan a node whose tensors are the network's own, by the first family that reads such."""
    found = (each for each in families.of(node, _NEUTRAL) if "float32" in each.reads)
    node.family = next((each.name for each in found), "")
    if node.op == "recurrent" and node.outputs[0].shape[2] > recurrent.MOST_HIDDEN:
        return False
    if node.op.startswith("scatter") and not scatter.suits(scatter_spec(node)):
        return False
    return rule(planner, node)


def _product(
    planner: Planner, node: Node, spec: Conv, weights: Any, args: list[View], rule: str
) -> bool:
    """Append a product by constant weights."""
    view, *rest = args
    gpu = cast("GpuPlanner", planner)
    weights = np.asarray(weights)
    parts = split.Parts(spec, split.parts_of(dense(spec), gpu.device))
    if parts.count > 1:
        weights, spec = split.regrouped(weights, parts.count), split.split(spec, parts.count)
    described, packed = products.packed(weights, spec, gpu.device, _aligned(view))
    op = f"{describe(node)} in {described.words}" if described.words else describe(node)
    gpu.product(
        described, parts, [view, planner.constant(packed), *rest], rule, op,
        shapes_of(node.args[0], node.args[1], node.output),
    )  # fmt: skip
    return True


def _aligned(view: View) -> int:
    """Elements at a multiple of which a view begins: its buffer begins at one of 64 bytes."""
    return math.gcd(view.offset, ALIGNED)


def _known_by_its_key(name: str) -> Any:
    raise ValueError(f"{name} has no kernel of a processor's")


class GpuPlanner(Planner):
    """Collects steps whose kernels are those of a device."""

    products = staticmethod(_product)

    def __init__(self, graph: Graph, device: Device, target: Any) -> None:
        super().__init__(graph, _NEUTRAL)
        self.device, self.target = device, target
        self._known: dict[Hashable, Bound] = {}

    def step(
        self, key: Hashable, build: Callable[[str], Any], args: Sequence[View],
        rule: str, op: str, shapes: str, flops: int = 0, types: Sequence[str] | None = None,
        product: Chosen | None = None, choice: Choice | None = None,
    ) -> None:  # fmt: skip
        """Append a kernel call; TVM's own loops stay what they are.

        Raises:
            CannotRun: No kernel of threads computes it.
        """
        kind, *rest = cast("tuple[Any, ...]", key)
        if kind == "tvm":
            self._bound(key, build, args, rule, op, shapes, list(types or ()))
            return
        if kind == "matmul":
            whole = of_matrices(rest[0])
            parts = split.Parts(whole.conv, split.parts_of(whole, self.device))
            made = split.of_parts(whole, parts.count) if parts.count > 1 else whole
            self.product(made, parts, args, rule, op, shapes)
            return
        if kind not in KERNELS:
            raise CannotRun([op])
        write, spec = KERNELS[kind], rest[0]
        if kind == "kept boxes":
            args = self._in_order(spec, args, shapes)
            types = ("float32", "float32", "int32", "int32", "int32")
        device = self.device
        super().step(
            key, lambda name: write(name, spec, device), args, rule, op, shapes, flops, types
        )

    def product(
        self, made: Product, parts: split.Parts, args: Sequence[View], rule: str, op: str,
        shapes: str,
    ) -> None:  # fmt: skip
        """Append a product, or its parts and what adds them.

        Args:
            made: What the product's kernel computes: the whole, or its parts as groups.
            parts: The whole, and in how many parts it is.
            args: Views of both sides, the operands and the result.
            rule, op, shapes: Of the step.
        """
        x, right, *rest = args
        made = replace(
            made, x_aligned=_aligned(x), w_aligned=_aligned(right), y_aligned=_aligned(rest[-1])
        )
        sides = ("float32", right.buffer.dtype)
        whole, ends = parts.conv, beside_types(parts.conv)
        if parts.count > 1:
            sums = self.fresh((parts.size,), "float32", (1,))
            made = replace(made, y_aligned=_aligned(sums))
            self.step(
                ("product", made), _known_by_its_key, [x, right, sums], rule, op, shapes,
                whole.flops, (*sides, "float32"),
            )  # fmt: skip
            self.step(
                ("parts", parts), _known_by_its_key, [sums, *rest], "parts",
                f"sum of {parts.count} parts", shapes, types=("float32", *ends),
            )  # fmt: skip
            return
        self.step(
            ("product", made), _known_by_its_key, args, rule, op, shapes, whole.flops,
            (*sides, *ends),
        )  # fmt: skip

    def _in_order(self, spec: Suppression, args: Sequence[View], shapes: str) -> list[View]:
        """Append what puts boxes in order; a suppression's arguments with their places."""
        boxes, scores, *rest = args
        how = suppression.in_order(spec)
        order = self.fresh((spec.rows * spec.boxes,), "int32", (1,))
        self.step(
            ("sort", how), _known_by_its_key, [scores, order], "sort", "order of scores", shapes,
            types=how.types,
        )  # fmt: skip
        return [boxes, scores, order, *rest]

    def _bound(
        self, key: Hashable, build: Callable[[str], Any], args: Sequence[View],
        rule: str, op: str, shapes: str, types: list[str],
    ) -> None:  # fmt: skip
        """Append a call of TVM's loops, with memory for what one of them makes for another."""
        if key not in self._known:
            self._known[key] = bound(build("main"), self.target)
        made = self._known[key]
        between = [self.fresh(shape, dtype, packed(shape)) for shape, dtype in made.between]
        types += [dtype for _, dtype in made.between]
        super().step(
            key, lambda name: made.function.with_attr("global_symbol", name), [*args, *between],
            rule, f"{op} by {made.how}", shapes, types=types,
        )  # fmt: skip
