# SPDX-License-Identifier: Apache-2.0
"""A network's layers as the kernels that compute them, each with what it takes on a board.

Here nothing is compiled and no weight is read: layers are grouped as fusion groups operations
(`graph.regions`), a group's kernel is asked for as the planner asks (`kernels.ways`), cut by the
same functions, and its load priced by the board's rates. A group's time is its first heavy
layer's; what is fused behind costs nothing more than it adds to that kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from splitc.cost.board import Board, Gpu
from splitc.cost.stress import LayerTerms
from splitc.errors import UsageError
from splitc.ir.graph import Layer, LayerGraph
from splitc_targets.estimate import loads, shapes
from splitc_targets.estimate.groups import Group, elementwise, groups
from splitc_targets.estimate.loads import Ending, Load
from splitc_targets.estimate.operations import PASSES, cycles_each, ending
from splitc_targets.estimate.rates import rates_of
from splitc_targets.estimate.recurrent import recurrent_layer
from splitc_targets.kernels import ways
from splitc_targets.kernels.product.geometry import Conv, Matmul
from splitc_targets.kernels.ways import DEEP
from splitc_targets.kernels.window.geometry import Windows
from splitc_targets.machine.core import core_of
from splitc_targets.machine.machine import Machine
from splitc_targets.machine.platform import why_no_code


@dataclass(frozen=True)
class Kernel:
    """The kernel that a group of layers is computed by.

    Args:
        family: Its family, as `kernels.families` calls it; "" where it has none.
        load: What a call asks for.
    """

    family: str
    load: Load


class Kernels:
    """Predicts layers' times on boards that this pack makes code for: an `Estimator`."""

    label = "splitc's kernels"

    def answers(self, board: Board) -> bool:
        """Whether code is made for the board at all, and for its core."""
        if isinstance(board.unit, Gpu) or why_no_code(board.unit) is not None:
            return False
        try:
            rates_of(board)
        except UsageError:
            return False
        return True

    def calibrated(self, board: Board) -> str:
        """What the core's file says that its figures are fitted to."""
        return core_of(board).calibrated

    def terms(self, graph: LayerGraph, board: Board) -> tuple[LayerTerms | None, ...]:
        """What each layer's time is made of; None for a layer that none of our kernels computes."""
        rates = rates_of(board)
        kept = rates.kept(sum(layer.param_bytes for layer in graph.layers))
        terms: list[LayerTerms | None] = [LayerTerms()] * len(graph.layers)
        for group in groups(graph):
            kernel = kernel_of(graph, group, rates.machine)
            terms[group.first] = None if kernel is None else rates.terms(kernel.load, kept)
        return tuple(terms)


def kernel_of(graph: LayerGraph, group: Group, machine: Machine) -> Kernel | None:
    """The kernel of a group of layers; None where it is none of ours."""
    layer = graph.layers[group.first]
    if layer.kind in _OTHERS:
        return None
    if layer.kind == "recurrent":
        load = recurrent_layer(graph, layer, machine)
        return None if load is None else Kernel("", load)
    if group.second is not None or layer.op in _ATTENTION:
        load = _attention(graph, group, machine)
        return None if load is None else Kernel("", load)
    read = [shapes.shape_of(graph.tensors[name]) for name in dict.fromkeys(layer.inputs)]
    made = shapes.shape_of(layer.outputs[0])
    if made is None or None in read or not read:
        return None
    known = [shape for shape in read if shape is not None]
    done = _ending(graph, group)
    found = _Heavy(graph, layer, known, made, done, machine).kernel()
    if found is None and layer.kind in _MULTIPLY:
        return None
    return found or Kernel("", _over_elements(graph, group, done, machine))


def _attention(graph: LayerGraph, group: Group, machine: Machine) -> Load | None:
    """Two products with a softmax between, as layers or as one; None where sizes are not known."""
    layer = graph.layers[group.first]
    if group.second is None:
        read = [shapes.shape_of(graph.tensors[name]) for name in layer.inputs[:3]]
        if len(read) < 3 or any(shape is None or len(shape) != 4 for shape in read):
            return None
        q, k, v = (shape for shape in read if shape is not None)
        pairs = q[0] * q[1]
        products = [
            shapes.matrix(pairs, q[2], q[3], k[2]), shapes.matrix(pairs, q[2], k[2], v[3]),
        ]  # fmt: skip
        return loads.attention(products[0], products[1], machine, (Ending(), Ending()))
    parts = group.behind.index(group.second)
    between = [
        graph.layers[at].op for at in group.behind[: parts - 1] if elementwise(graph.layers[at])
    ]
    after = [graph.layers[at].op for at in group.behind[parts + 1 :]]
    made = [shapes.shape_of(graph.layers[at].outputs[0]) for at in (group.first, group.second)]
    found = [
        None if shape is None else shapes.products_of(graph.layers[at], shape)
        for at, shape in zip((group.first, group.second), made, strict=True)
    ]
    first, second = found
    if first is None or second is None:
        return None
    return loads.attention(first, second, machine, (ending(between), ending(after)))


_ATTENTION = frozenset(("attention", "scaleddotproductattention"))
"""Layers that are all of it."""

_OTHERS = frozenset(("control",))
"""Kinds whose work no shape tells."""


def _ending(graph: LayerGraph, group: Group) -> Ending:
    """What is fused behind a group's first layer; that itself too where it is elementwise."""
    first = graph.layers[group.first]
    fused = [graph.layers[at] for at in group.behind]
    if fused and first.kind in _CONVOLUTIONS and fused[0].op == "batchnormalization":
        del fused[0]  # Folded into the weights.
    if elementwise(first):
        fused.insert(0, first)
    inside = {graph.layers[at].outputs[0].name for at in (group.first, *group.behind)}
    beside = {name for layer in fused for name in layer.inputs} - inside - set(first.inputs)
    size = sum(graph.tensors[name].nbytes or 0 for name in beside)
    names = [each for layer in fused for each in _WRITTEN.get(layer.op, (layer.op,))]
    return ending(names, size)


_CONVOLUTIONS = frozenset(("conv", "conv1x1", "conv3x3", "depthwise"))
_MULTIPLY = _CONVOLUTIONS | {"gemm"}
"""Kinds whose work is not told by the elements that they make."""
_WRITTEN = {
    "batchnormalization": ("multiply", "add"), "hardswish": ("add", "clip", "clip", "multiply"),
    "hardsigmoid": ("multiply", "add", "clip", "clip"), "clip": ("clip", "clip"),
    "quantizelinear": ("multiply", "round", "add", "clip", "clip"),
    "dequantizelinear": ("add", "multiply"),
}  # fmt: skip
"""Layers by the operations that they are spelt in."""


@dataclass(frozen=True)
class _Heavy:
    """A layer that may be a product or windows.

    Args:
        graph, layer: It, and what it is part of.
        read, made: Shapes of what it reads, each once, and of its result.
        done: What is fused behind.
        machine: What it runs on.
    """

    graph: LayerGraph
    layer: Layer
    read: Sequence[shapes.Shape]
    made: shapes.Shape
    done: Ending
    machine: Machine

    def kernel(self) -> Kernel | None:
        """Its kernel; None where it is neither, or of sizes that fit none."""
        kind, op = self.layer.kind, self.layer.op
        if op == "convtranspose":
            return self._transposed()
        if kind in _CONVOLUTIONS and op != "deformconv":
            return self._convolution()
        if op in _PRODUCTS:
            return self._product()
        if op in ("maxpool", "averagepool"):
            spec = shapes.windows_of(self.layer, self.read[0], self.made)
            name = "largest" if op == "maxpool" else "mean"
            return None if spec is None else Kernel(name, self._windows(spec, taps=False))
        return None

    def _windows(self, spec: Windows, *, taps: bool) -> Load:
        return loads.windows(spec, self.machine, self.done, taps=taps)

    def _convolution(self) -> Kernel | None:
        x, y = self.read[0], self.made
        if self.layer.kind == "depthwise" and x[1] == y[1]:
            spec = shapes.windows_of(self.layer, x, y)
            return None if spec is None else self._depthwise(spec)
        conv = shapes.conv_of(self.layer, x, y)
        return None if conv is None else self._by_constants(conv)

    def _depthwise(self, spec: Windows) -> Kernel:
        small: Load | None = None
        if self._reads_bytes():
            small = loads.windows_of_bytes(spec, self.machine, self.done)
        if small is not None:
            return Kernel("depthwise_dot", small)
        return Kernel("depthwise", self._windows(spec, taps=True))

    def _transposed(self) -> Kernel | None:
        """Phases, each a convolution of the map as it is."""
        x, y = shapes.as_map(self.read[0]), shapes.as_map(self.made)
        if x is None or y is None:
            return None
        here = (*y[:2], *x[2:])
        phases = max(1, y[2] * y[3] // (x[2] * x[3]))
        one = replace(self.layer, flops=self.layer.flops // phases, kind="conv")
        conv = shapes.conv_of(one, x, here)
        if conv is None:
            return None
        load = loads.direct(conv, self.machine, self.done)
        return Kernel("direct", replace(
            load, cycles=load.cycles * phases, loops=load.loops * phases,
            weight_bytes=load.weight_bytes * phases, written_bytes=load.written_bytes * phases,
        ))  # fmt: skip

    def _product(self) -> Kernel | None:
        if len(self.read) == 2 and not self.layer.param_bytes:
            conv = shapes.products_of(self.layer, self.made)
            if conv is None:
                return None
            product = Matmul(conv, conv.channels * conv.out_channels, conv.out_channels, 1)
            family = ways.quickest(product, self.machine).choice.family
            return Kernel(family, loads.batched(conv, self.machine, self.done))
        conv = shapes.product_of(self.layer, self.made)
        return None if conv is None else self._by_constants(conv)

    def _by_constants(self, conv: Conv) -> Kernel:
        """By bytes or float16 where the network has them and the machine multiplies them."""
        machine, done = self.machine, self.done
        small: Load | None = None
        if self._reads_bytes():
            small = loads.of_bytes(conv, machine, done)
            return Kernel("dot", small) if small is not None else _in_floats(conv, machine, done)
        if self.layer.outputs[0].dtype == "float16" and conv.channels >= DEEP:
            small = loads.of_halves(conv, machine, done)
            return Kernel("half", small) if small is not None else _in_floats(conv, machine, done)
        small = loads.of_pairs(conv, machine, done)
        return Kernel("pairs", small) if small is not None else _in_floats(conv, machine, done)

    def _reads_bytes(self) -> bool:
        name = self.layer.inputs[0]
        made_by = self.graph.layers[self.graph.producer[name]]
        held = made_by.inputs[0] if made_by.op == "dequantizelinear" and made_by.inputs else name
        return self.graph.tensors[held].dtype in ("int8", "uint8")


@lru_cache(maxsize=4096)
def _in_floats(conv: Conv, machine: Machine, done: Ending) -> Kernel:
    """A product by constants in floats, by the algorithm that is predicted to be quickest."""
    family = ways.quickest(conv, machine).choice.family
    if family.startswith("winograd"):
        return Kernel(family, loads.by_winograd(conv, machine, int(family[-1]), done))
    if family == "strassen":
        return Kernel(family, loads.by_strassen(conv, machine, done))
    return Kernel(family, loads.direct(conv, machine, done))


_PRODUCTS = frozenset(("gemm", "matmul", "linear", "qlinearmatmul", "matmulinteger"))


def _over_elements(graph: LayerGraph, group: Group, done: Ending, machine: Machine) -> Load:
    """A kernel that goes over its elements, or nothing where no element moves."""
    layer, last = graph.layers[group.first], graph.layers[group.last]
    if layer.op in _MOVES_NOTHING or (layer.op == "dequantizelinear" and _as_bytes(machine)):
        return Load()
    read = set(layer.inputs) if layer.op != "concat" else _copied(graph, layer)
    read_bytes = sum(graph.tensors[name].nbytes or 0 for name in read) + done.beside_bytes
    written = sum(tensor.nbytes or 0 for tensor in last.outputs)
    if layer.op == "concat":
        written = read_bytes
    elements = max(read_bytes, written) / 4
    each = PASSES.get(layer.op) or cycles_each(done, machine)
    return loads.passes(elements, read_bytes, written, machine, cycles_each=each)


def _as_bytes(machine: Machine) -> bool:
    return machine.multiplying("int8") is not None


_MOVES_NOTHING = frozenset(("split", "slice"))
"""Whoever reads their results reads a part of what they read."""


def _copied(graph: LayerGraph, layer: Layer) -> set[str]:
    """The parts of a concatenation that are not written where the whole lies."""
    made = layer.outputs[0].shape or ()
    return {
        name
        for name in layer.inputs
        if len(made) != 4
        or (graph.tensors[name].shape or ())[2:] != made[2:]
        or graph.layers[graph.producer[name]].kind not in _WRITES_ANYWHERE
    }


_WRITES_ANYWHERE = frozenset((*_CONVOLUTIONS, "pool", "elementwise", "norm", "move"))
"""Kinds of layers whose kernels leave gaps between the pixels of their result."""
