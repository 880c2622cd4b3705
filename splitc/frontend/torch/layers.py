# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""The layer DAG of an fx graph, and which of its nodes make which tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.utils.flop_counter import FlopCounterMode

from splitc.errors import BadModelError
from splitc.frontend.torch.form import NAME, InTraining, function_name
from splitc.frontend.torch.ops import Work, flops, gives_input_back, kind_of, op_of
from splitc.frontend.torch.trace import OP, VALUE, attribute, evaluate
from splitc.frontend.torch.values import Keys, arguments, leaves, leaves_read, positional, tensor_of
from splitc.ir.graph import INPUT_OP, Layer, LayerGraph

TENSOR = "splitc_tensor"
"""Key of the name of a node's tensor in its `meta`, where it is not its layer's."""

_RANDOM = ("rand", "normal", "bernoulli", "multinomial")
"""What the names begin with of functions that draw, and are no operators."""

INSERTED = "splitc_inserted"
"""Key of the name of the inserted layer that a node belongs to in its `meta`."""

_FOLDING = ("conv", "convtranspose", "gemm")
"""Layers that a batch norm right behind them is folded into."""


@dataclass
class Layers:
    """What an fx graph means as layers.

    Args:
        graph: The layer DAG.
        nodes: The nodes that give each tensor; nodes behind, which only pass it on, left out.
        element: For a tensor inside a tuple: the node that gives the tuple, and the keys in it.
        results: The nodes and keys of the network's results, in order.
        names: The name of each of `results`.
    """

    graph: LayerGraph
    nodes: dict[str, list[fx.Node]]
    element: dict[str, tuple[fx.Node, Keys]]
    results: list[tuple[fx.Node, Keys]]
    names: list[str]


def analyse(module: fx.GraphModule) -> Layers:
    """The layers of a graph in normal form.

    Raises:
        BadModelError: A result is no tensor, or none is computed from an input.
    """
    reader = _Reader(module)
    *nodes, output = module.graph.nodes
    for node in nodes:
        reader.read(node)
    results = _results(output.args[0])
    names = [reader.name_of(node, keys) for node, keys in results]
    graph = LayerGraph(tuple(reader.layers), tuple(dict.fromkeys(names)))
    return Layers(graph, reader.nodes, reader.element, results, names)


def _results(value: Any) -> list[tuple[fx.Node, Keys]]:
    found: list[tuple[fx.Node, Keys]] = []
    if isinstance(value, fx.Node):
        return [(value, keys) for keys in leaves(value.meta[VALUE])]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            found += _results(each)
        return found
    if value is None:
        return []
    raise BadModelError(
        "a result of the module is no tensor",
        why=f"it is {value!r:.60}, the same whatever the inputs are"
        if isinstance(value, int | float | str)
        else f"it is a {type(value).__name__}",
        hint="let forward return tensors, in tuples, lists or dicts if need be",
    )


@dataclass
class _Reader:
    module: fx.GraphModule
    layers: list[Layer] = field(default_factory=list[Layer])
    nodes: dict[str, list[fx.Node]] = field(default_factory=dict[str, "list[fx.Node]"])
    element: dict[str, tuple[fx.Node, Keys]] = field(
        default_factory=dict[str, "tuple[fx.Node, Keys]"]
    )
    made: dict[fx.Node, dict[Keys, str]] = field(default_factory=dict["fx.Node", "dict[Keys, str]"])
    stored: dict[fx.Node, list[torch.Tensor]] = field(
        default_factory=dict["fx.Node", "list[torch.Tensor]"]
    )
    counted: set[int] = field(default_factory=set[int])

    def name_of(self, node: fx.Node, keys: Keys) -> str:
        """The name of a result; the last layer gives what depends on no input beside its own."""
        if node not in self.stored:
            return self.made[node][keys]
        name = ".".join((str(node.meta.get(NAME, node.name)), *map(str, keys)))
        if self.element.get(name) == (node, keys):
            return name
        last = self.layers[-1]
        if not last.inputs:
            raise BadModelError(
                f"no layer computes anything from an input: '{name}' is the same whatever it is",
                at=node.name, why="there is nothing to split",
            )  # fmt: skip
        while name in self.element:
            name += ".stored"
        tensor = tensor_of(name, leaves(node.meta[VALUE])[keys])
        own = {id(t): t for t in self.stored[node] if id(t) not in self.counted}
        self.counted.update(own)
        size = sum(t.numel() * t.element_size() for t in own.values())
        self.layers[-1] = replace(
            last, outputs=(*last.outputs, tensor), param_bytes=last.param_bytes + size
        )
        self.nodes[name], self.element[name] = [node], (node, keys)
        return name

    def read(self, node: fx.Node) -> None:
        """Make a node a layer, or part of what other nodes are."""
        if node.op == "placeholder":
            name = str(node.meta.get(NAME, node.target))
            tensor = tensor_of(name, node.meta[VALUE])
            self.layers.append(Layer(name, INPUT_OP, (), (tensor,)))
            self._give(node, {(): name})
        elif node.op == "get_attr":
            self.stored[node] = [attribute(self.module, str(node.target))]
        elif function_name(node) == "getitem" and node.args[0] in self.made and self._part(node):
            pass
        elif not _is_random(node) and all(n in self.stored for n in node.all_input_nodes):
            self.stored[node] = self._own(node)
        else:
            self._compute(node)

    def _part(self, node: fx.Node) -> bool:
        """An element of a tuple; False for one of a tensor."""
        source: Any = node.args[0]
        whole = self.made[source]
        if () in whole:
            return False
        part = {keys[1:]: name for keys, name in whole.items() if keys[0] == node.args[1]}
        self.made[node] = part
        if (name := part.get(())) is not None:
            self.nodes[name].append(node)
        return True

    def _compute(self, node: fx.Node) -> None:
        first = next((n for n in node.all_input_nodes if n in self.made), None)
        work, name = self._work(node)
        if first is not None and () in self.made[first]:
            before, after = first.meta[VALUE], node.meta[VALUE]
            same = isinstance(after, torch.Tensor) and (before.shape, before.dtype) == (
                after.shape, after.dtype,
            )  # fmt: skip
            if gives_input_back(name, work.op, same):
                self.made[node] = dict(self.made[first])
                return
            if self._folds(node, first, work):
                self._fold(node, first)
                return
        self._layer(node, work)

    def _folds(self, node: fx.Node, source: fx.Node, work: Work) -> bool:
        """Whether a batch norm is the only reader of the convolution before it."""
        position = self._position(source)
        if work.op != "batchnormalization" or position is None:
            return False
        if not isinstance(node.meta[VALUE], torch.Tensor):
            return False
        if not self._has_statistics(node) or self.layers[position].op not in _FOLDING:
            return False
        walk = self.nodes[self.made[source][()]][0]
        if walk.meta.get(INSERTED) != node.meta.get(INSERTED):
            return False
        walk = source
        while len(walk.users) == 1:
            if self.nodes[self.made[source][()]][0] is walk:
                return True
            walk = walk.all_input_nodes[0]
        return False

    def _position(self, node: fx.Node) -> int | None:
        name = self.made[node][()]
        for i in range(len(self.layers) - 1, -1, -1):
            if any(t.name == name for t in self.layers[i].outputs):
                return i
        return None

    def _has_statistics(self, node: fx.Node) -> bool:
        if node.op != "call_module":
            return len(node.args) > 3 and isinstance(node.args[3], fx.Node)
        called = self.module.get_submodule(str(node.target))
        if isinstance(called, InTraining):
            return "running_mean" in called.names
        return getattr(called, "running_mean", None) is not None

    def _fold(self, node: fx.Node, source: fx.Node) -> None:
        """The normalisation belongs to the layer before it, as scaled weights and a bias."""
        position = self._position(source)
        assert position is not None
        layer = self.layers[position]
        name = layer.outputs[0].name
        conv = self.nodes[name][0]
        tensors = self._own(conv)
        if len(tensors) < 2:
            value = node.meta[VALUE]
            extra = value.shape[1] * value.element_size()
            self.layers[position] = replace(layer, param_bytes=layer.param_bytes + extra)
        final = str(node.meta.get(TENSOR, name))
        if final != name:
            self.layers[position] = replace(
                self.layers[position], outputs=(replace(layer.outputs[0], name=final),)
            )
        self.nodes[final] = [node]
        self.element[final] = (node, ())
        self.made[node] = {(): final}

    def _own(self, node: fx.Node) -> list[torch.Tensor]:
        """The weights a node reads."""
        found = [t for n in node.all_input_nodes for t in self.stored.get(n, [])]
        if node.op == "call_module":
            called = self.module.get_submodule(str(node.target))
            found += called.parameters()
            found += [b for n, b in called.named_buffers() if not n.endswith("num_batches_tracked")]
        return found

    def _work(self, node: fx.Node) -> tuple[Work, str]:
        reads = [
            tuple(n.meta[VALUE].shape)
            for n in arguments(node)
            if isinstance(n.meta.get(VALUE), torch.Tensor)
        ]
        makes = tuple(tuple(t.shape) for t in leaves(node.meta[VALUE]).values())
        name, settings, weight = function_name(node), dict(node.kwargs), None
        if node.op == "call_module":
            called: nn.Module = self.module.get_submodule(str(node.target))
            # A parametrised module, say by weight_norm, is of a class made from its own.
            kind = type(called).__mro__[is_parametrized(called)]
            name, settings = kind.__name__, dict(vars(called))
            if isinstance(called, InTraining):
                name = called.function.__name__
            own = getattr(called, "weight", None)
            weight = tuple(own.shape) if isinstance(own, torch.Tensor) else None
            if hasattr(called, OP):
                return Work(str(getattr(called, OP)), tuple(reads), makes, weight, settings), ""
        else:
            weight = reads[1] if len(reads) > 1 else None
            settings |= positional(name, node)
        op = op_of(name, tuple(reads), makes)
        if name == "convolution" and settings.get("transposed"):
            op = "convtranspose"
        return Work(op, tuple(reads), makes, weight, settings), name

    def _layer(self, node: fx.Node, work: Work) -> None:
        name = str(node.meta[NAME])
        tensors = {
            keys: tensor_of(self._tensor_name(node, name, keys), value)
            for keys, value in leaves_read(node).items()
        }
        counted = _counted(node, self.module)
        own = {id(t): t for t in self._own(node) if id(t) not in self.counted}
        self.counted.update(own)
        inputs = [
            self.made[n][()] if () in self.made[n] else next(iter(self.made[n].values()))
            for n in arguments(node)
            if n in self.made
        ]
        self.layers.append(
            Layer(
                name=name,
                op=work.op,
                inputs=tuple(inputs),
                outputs=tuple(tensors.values()),
                param_bytes=sum(t.numel() * t.element_size() for t in own.values()),
                flops=counted or flops(work),
                kind="gemm" if counted else kind_of(work),
            )
        )
        self._give(node, {keys: tensor.name for keys, tensor in tensors.items()})

    def _tensor_name(self, node: fx.Node, name: str, keys: Keys) -> str:
        named = (
            [u for u in node.users if TENSOR in u.meta and keys == (u.args[1],)] if keys else [node]
        )
        default = ".".join((name, *map(str, keys)))
        return str(named[0].meta.get(TENSOR, default)) if named else default

    def _give(self, node: fx.Node, names: dict[Keys, str]) -> None:
        self.made[node] = names
        for keys, name in names.items():
            self.nodes[name] = [node] if keys == () else []
            self.element[name] = (node, keys)


def _is_random(node: fx.Node) -> bool:
    """Whether it gives other values at each run, even of nothing or of constants."""
    tags = getattr(node.target, "tags", ())
    return torch.Tag.nondeterministic_seeded in tags or function_name(node).startswith(_RANDOM)


def _counted(node: fx.Node, module: nn.Module) -> int:
    """FLOPs of a function of a library's own that is one node, by `torch.fx.wrap`: its products.

    Operators, methods and PyTorch's functions are left to `flops`: 0.
    """
    target: Any = node.target
    home = str(getattr(target, "__module__", "") or "").partition(".")[0]
    if node.op != "call_function" or home in ("", "torch", "math", "_operator", "builtins"):
        return 0
    values = [n.meta[VALUE] for n in arguments(node)]
    mode = next((m for v in values if (m := getattr(v, "fake_mode", None)) is not None), None)
    if mode is None:
        return 0
    with FlopCounterMode(display=False) as counter:
        evaluate(node, module, mode)
    return int(counter.get_total_flops())
