# SPDX-License-Identifier: Apache-2.0
"""From a graph to the kernel calls that compute it, each on views of planned memory."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from splitc_targets.graph.expression import Arg, Expression, operations
from splitc_targets.graph.graph import Graph, Node, Value
from splitc_targets.graph.views import Buffer, View, canonical, channels_last, ordered_like, packed
from splitc_targets.kernels import elementwise
from splitc_targets.kernels.choice import Choice, Product
from splitc_targets.machine.machine import Machine
from splitc_targets.plan.choices import ANALYTIC, Choices, bare


@dataclass(eq=False, repr=False)
class Step:
    """One call of a kernel.

    Args:
        key: Calls with equal keys share one compiled function.
        build: Makes the function, given its name.
        args: What it reads and writes, in the order of its parameters.
        rule: The rule that wrote it.
        op: What it computes, as in "conv2d+add+relu".
        shapes: Its shapes in words.
        flops: Operations of the mathematics.
        shaped: Whether the function takes tensors in their shapes rather than flat.
        product: The bare product that it computes, where there is a choice for it.
        choice: The choice that was made.
        layers: The network's layers whose work it does, in the network's order.
    """

    key: Hashable
    build: Callable[[str], Any]
    args: list[View]
    rule: str
    op: str
    shapes: str
    flops: int = 0
    shaped: bool = False
    product: Product | None = None
    choice: Choice | None = None
    layers: tuple[str, ...] = ()


@dataclass(eq=False, repr=False)
class Plan:
    """Kernel calls in order, and the buffers that hold inputs and outputs.

    Args:
        steps: Calls of every run.
        preparations: Calls that come once before, when a part is loaded.
    """

    steps: list[Step]
    inputs: list[Buffer]
    outputs: list[View]
    single: bool
    fallbacks: list[str] = field(default_factory=list[str])
    preparations: list[Step] = field(default_factory=list[Step])


Rule = Callable[["Planner", Node], bool]
"""Plans a node's kernels; gives False where it does not fit."""


class Planner:
    """Places values and collects steps while rules go through a graph.

    `products` plans products by constant weights where their kernels are none of the families':
    (planner, node, convolution, weights, views, rule's name), as `rules.products.plan_product`.
    """

    products: Callable[[Any, Node, Any, Any, list[View], str], bool] | None = None

    def __init__(self, graph: Graph, machine: Machine, choices: Choices = ANALYTIC) -> None:
        self.graph, self.machine, self.choices = graph, machine, choices
        self._readers = graph.consumers()
        self.steps: list[Step] = []
        self.preparations: list[Step] = []
        self.fallbacks: list[str] = []
        self.homes: dict[Value, View] = {}
        self._layers: tuple[str, ...] = ()
        self._places: dict[Value, View] = {}
        self._inputs_copied: dict[Buffer, View] = {}
        self._copies: dict[tuple[Value, tuple[int, ...]], View] = {}
        self.inputs = [Buffer(v.size, v.dtype, "input", v.shape) for v in graph.inputs]
        for value, buffer in zip(graph.inputs, self.inputs, strict=True):
            self._places[value] = View(buffer, 0, value.shape, packed(value.shape))

    # Places of values.

    def place(self, value: Value) -> View:
        """Where a value lies."""
        if value not in self._places:
            if value.data is None:
                raise KeyError("a value is read before it is written")
            self._places[value] = self.constant(value.data)
        return self._places[value]

    def readers(self, value: Value) -> list[Node]:
        """The nodes that read a value; none more is told of an output of the part."""
        if value in self.graph.outputs:
            return []
        return self._readers.get(value, [])

    def constant(self, data: np.ndarray[Any, Any]) -> View:
        """A constant's view, dense."""
        buffer = Buffer(data.size, str(data.dtype), "constant", data=np.ascontiguousarray(data))
        return View(buffer, 0, tuple(data.shape), packed(tuple(data.shape)))

    def set(self, value: Value, view: View) -> None:
        """Say where a value lies."""
        self._places[value] = view

    def fresh(self, shape: tuple[int, ...], dtype: str, strides: tuple[int, ...]) -> View:
        """A new place in planned memory."""
        size = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        return View(Buffer(size, dtype), 0, shape, strides)

    def result(self, value: Value, strides: tuple[int, ...]) -> View:
        """Where a kernel that can write any strides puts a value: its home, or a new place."""
        view = self.homes.get(value) or self.fresh(value.shape, value.dtype, strides)
        self.set(value, view)
        return view

    def laid(self, value: Value, strides: tuple[int, ...]) -> View:
        """A value with exactly these strides, copied where it lies otherwise."""
        here = self.place(value)
        wanted = canonical(value.shape, strides)
        if canonical(here.shape, here.strides) == wanted:
            return here
        key = (value, wanted)
        if key not in self._copies:
            target = self.fresh(value.shape, value.dtype, strides)
            self.copy(here, target, "layout")
            self._copies[key] = target
        return self._copies[key]

    def dense(self, value: Value) -> View:
        """A value laid as numpy lays it."""
        here = self.place(value)
        return here if here.dense else self.laid(value, packed(value.shape))

    def channels_inner(self, value: Value) -> View:
        """A value with channels (dimension 1) innermost, other strides as they are."""
        here = self.place(value)
        if here.strides[1] == 1 or here.shape[1] == 1:
            return here
        if all(n == 1 for n in here.shape[2:]) and here.dense:
            return here
        return self.laid(value, channels_last(value.shape))

    # Steps.

    def step(
        self, key: Hashable, build: Callable[[str], Any], args: Sequence[View],
        rule: str, op: str, shapes: str, flops: int = 0, types: Sequence[str] | None = None,
        product: Product | None = None, choice: Choice | None = None,
    ) -> None:  # fmt: skip
        """Append a kernel call.

        Args:
            key, build, args, rule, op, shapes, flops, product, choice: As the step has them.
            types: The element types of the kernel's parameters; None where all are float32.

        Raises:
            TypeError: An argument is of another type than its parameter.
        """
        given, wanted = [v.buffer.dtype for v in args], list(types or ["float32"] * len(args))
        if given != wanted:
            raise TypeError(f"{op} ({rule}): arguments of {given}, the kernel takes {wanted}")
        placed = [self._whole(view) for view in args]
        bare_ = bare(product) if product is not None else None
        step = Step(
            key, build, placed, rule, op, shapes, flops, product=bare_, choice=choice,
            layers=self._layers,
        )  # fmt: skip
        self.steps.append(step)

    def prepared(
        self, key: Hashable, build: Callable[[str], Any], source: View, size: int, op: str
    ) -> View:
        """What a kernel makes of a constant once, when the part is loaded.

        Args:
            key: Calls with equal keys share one compiled function.
            build: Makes the function (constant, result), given its name.
            source: The constant.
            size: Elements of the result, float32.
            op: What it makes, in words.
        """
        target = View(Buffer(size, "float32", "packed"), 0, (size,), (1,))
        words = f"{source.span} -> {size}"
        step = Step(key, build, [source, target], "prepare", op, words, layers=self._layers)
        self.preparations.append(step)
        return target

    def _whole(self, view: View) -> View:
        """The view; for a part of an input, which has no address of its own, one in a copy."""
        buffer = view.buffer
        if buffer.kind != "input" or (view.offset == 0 and view.span == buffer.size):
            return view
        if buffer not in self._inputs_copied:
            source = View(buffer, 0, (buffer.size,), (1,))
            target = self.fresh((buffer.size,), buffer.dtype, (1,))
            self._inputs_copied[buffer] = target
            self.copy(source, target, "input")
        copied = self._inputs_copied[buffer].buffer
        return View(copied, view.offset, view.shape, view.strides)

    def copy(self, source: View, target: View, why: str = "copy") -> None:
        """Append a copy between views of the same shape."""
        self.map([source], target, Arg(0), why)

    def map(
        self, sources: list[View], target: View, expression: Expression, what: str = "",
        computed: str = "",
    ) -> None:  # fmt: skip
        """Append an elementwise kernel; sources are broadcast to the target's shape.

        `computed` is the type it computes in, where that is not the floats of its operands.
        """
        if 0 in target.shape:
            return
        sources = [source.broadcast(target.shape) for source in sources]
        strides = [target.strides, *(source.strides for source in sources)]
        sizes, (out, *ins) = elementwise.collapse(target.shape, strides)
        spec = elementwise.Nest(
            sizes, out, tuple(ins), expression, target.buffer.dtype,
            tuple(source.buffer.dtype for source in sources), computed,
        )  # fmt: skip
        machine = self.machine
        names = operations(expression)
        words = "x".join(map(str, target.shape))
        self.step(
            ("map", spec), lambda name: elementwise.kernel(name, spec, machine), [*sources, target],
            "map", what or "+".join(names), words, len(names) * target.size_of_shape, spec.types,
        )  # fmt: skip

    def plan(self, rules: dict[str, Rule], fallback: Rule) -> Plan:
        """Plan every node."""
        for node in self.graph.nodes:
            self._layers = node.layers
            rule = rules.get(node.op)
            if rule is not None and rule(self, node):
                continue
            fallback(self, node)
        outputs = [self._output(value) for value in self.graph.outputs]
        return Plan(
            self.steps, self.inputs, outputs, self.graph.single, self.fallbacks, self.preparations
        )

    def _output(self, value: Value) -> View:
        """A value in a buffer of its own, dense, as the caller is given it."""
        here = self.place(value)
        buffer = here.buffer
        self._layers = value.producer.layers if value.producer is not None else ()
        taken = buffer.kind != "arena" or here.offset or buffer.size != value.size
        if taken or not here.dense:
            buffer = Buffer(value.size, value.dtype, "output", value.shape)
            target = View(buffer, 0, value.shape, packed(value.shape))
            self.copy(here, target, "layout")
            return target
        buffer.kind, buffer.shape = "output", value.shape
        return View(buffer, 0, value.shape, packed(value.shape))


def order_of(views: Sequence[View], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides for a result in the order of its largest operand."""
    like = [view for view in views if view.shape == shape]
    if not like:
        return packed(shape)
    return ordered_like(shape, like[0].strides)
