# SPDX-License-Identifier: Apache-2.0
"""Elements and rows at places that are computed, and rows of tables by number."""

from __future__ import annotations

from collections.abc import Callable

from splitc_targets.graph.graph import Node
from splitc_targets.graph.views import View, packed
from splitc_targets.kernels import gather
from splitc_targets.kernels.gather import Gather
from splitc_targets.plan.planner import Planner, Rule
from splitc_targets.rules.maps import shapes_of


def take(planner: Planner, node: Node) -> bool:
    """(tensor, places) -> what lies at each place along one axis."""
    x, places = node.args[:2]
    axis = node.attrs["axis"]
    if not gather.fits(node):
        return False
    axis %= max(1, len(x.shape))

    def dimensions(source: View, at: View) -> _Dimensions:
        before = [(n, s, 0) for n, s in zip(x.shape[:axis], source.strides, strict=False)]
        every = [(n, 0, s) for n, s in zip(places.shape, at.strides, strict=True)]
        tail = zip(x.shape[axis + 1 :], source.strides[axis + 1 :], strict=True)
        behind = [(n, s, 0) for n, s in tail]
        return [*before, *every, *behind], [(x.shape[axis], source.strides[axis], 0)]

    return _planned(planner, node, dimensions)


def _elements(planner: Planner, node: Node) -> bool:
    """(tensor, places) -> elements whose place along one axis is told."""
    x, places = node.args
    axis = node.attrs["axis"] % max(1, len(x.shape))

    def dimensions(source: View, at: View) -> _Dimensions:
        steps = [0 if d == axis else s for d, s in enumerate(source.strides)]
        loops = list(zip(places.shape, steps, at.strides, strict=True))
        return loops, [(x.shape[axis], source.strides[axis], 0)]

    return _planned(planner, node, dimensions)


def _rows(planner: Planner, node: Node) -> bool:
    """(tensor, places) -> elements or rows whose places along the first axes are told."""
    x, places = node.args
    first, depth = node.attrs["batch_dims"], places.shape[-1]

    def dimensions(source: View, at: View) -> _Dimensions:
        steps = [s if d < first else 0 for d, s in enumerate(source.strides)]
        every = list(zip(places.shape[:-1], steps + [0] * len(places.shape), at.strides[:-1],
                         strict=False))  # fmt: skip
        tail = slice(first + depth, None)
        behind = [(n, s, 0) for n, s in zip(x.shape[tail], source.strides[tail], strict=True)]
        named = range(first, first + depth)
        parts = [(x.shape[d], source.strides[d], k * at.strides[-1]) for k, d in enumerate(named)]
        return [*every, *behind], parts

    return _planned(planner, node, dimensions)


_Loops = list[tuple[int, int, int]]
_Dimensions = tuple[_Loops, _Loops]
"""The result's dimensions, as (size, distance in the tensor, in the places), and a place's parts
as `Gather` has them."""


def _planned(planner: Planner, node: Node, dimensions: Callable[[View, View], _Dimensions]) -> bool:
    x, places = node.args[:2]
    if not gather.fits(node):
        return False
    source, at = planner.place(x), planner.place(places)
    target = planner.result(node.output, packed(node.output.shape))
    loops, parts = dimensions(source, at)
    every = [(*loop, step) for loop, step in zip(loops, target.strides, strict=True)]
    spec = Gather(gather.merged(every), tuple(parts), (source.span, at.span), x.dtype, places.dtype,
                  node.attrs.get("either_end", False))  # fmt: skip
    machine = planner.machine
    planner.step(
        ("gather", spec), lambda name: gather.kernel(name, spec, machine), [source, at, target],
        "gather", node.op, shapes_of(x, places, node.output), node.output.size,
        (x.dtype, places.dtype, x.dtype),
    )  # fmt: skip
    return True


RULES: dict[str, Rule] = {"gather_elements": _elements, "gather_nd": _rows}
