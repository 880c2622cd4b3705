# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""From an ONNX network to an fx graph with a node for each layer, of the layer's name."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from onnx import NodeProto
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.node import map_aggregate

from splitc.errors import BadModelError, UnsupportedOpError
from splitc.frontend.convert.batch import followed
from splitc.frontend.convert.constants import constants
from splitc.frontend.convert.registry import (
    Call,
    Node,
    Operand,
    Parameters,
    converter_of,
    torch_dtype,
    torch_tensor,
)
from splitc.frontend.onnx.form import reads
from splitc.frontend.onnx.model import OnnxModel
from splitc.frontend.torch.form import NAME
from splitc.frontend.torch.layers import TENSOR, analyse
from splitc.frontend.torch.model import TorchModel
from splitc.frontend.torch.read import quiet
from splitc.frontend.torch.trace import FAILURES, OP, VALUE, evaluate
from splitc.frontend.torch.values import python_name
from splitc.ir.graph import Tensor
from splitc.ir.kinds import kind_of

_NO_LAYER = (nn.Identity, nn.Dropout)
_MOVED_ONLY = ("uint16", "uint32", "uint64")
"""Element types that PyTorch has, and has nearly no arithmetic for."""


@dataclass(frozen=True)
class Refused:
    """A layer that cannot be converted."""

    layer: str
    op: str
    why: str


def build(model: OnnxModel) -> TorchModel:
    """The model with its weights in an fx graph module; `splitc.to_torch` says the rest."""
    with quiet():
        builder = _Builder(model)
        for node in model.proto.graph.node:
            builder.add(node)
        builder.raise_refused()
        module = builder.finish()
    return TorchModel(module, analyse(module).graph, note=model.note)


class _Builder:
    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self.root = nn.Module().eval()
        self.empty_module = nn.Module()
        self.graph = fx.Graph()
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        self.values = constants(model.proto, model.tensors)
        self.parameters = Parameters()
        self.nodes: dict[str, fx.Node] = {}
        self.stored: dict[tuple[str, bool], fx.Node] = {}
        self.batch_axes: dict[str, int] = {}
        self.learned: set[str] = set()
        self.refused: list[Refused] = []
        self.words: set[str] = set()
        self.maker = {t: n.name for n in model.proto.graph.node for t in n.output}
        self.opsets = {o.domain.replace("ai.onnx", ""): o.version for o in model.proto.opset_import}
        read = {name for node in model.proto.graph.node for name in reads(node)}
        self.read = read | {*model.graph.outputs}
        shapes = [t.shape for t in model.graph.inputs if t.shape]
        self.batch = shapes[0][0] if shapes else None
        for tensor in model.graph.inputs:
            self.enter(tensor)

    def enter(self, tensor: Tensor) -> None:
        """A placeholder for an input."""
        node = self.graph.placeholder(self.word(tensor.name))
        node.meta[NAME] = tensor.name
        self.nodes[tensor.name] = node
        try:
            node.meta[VALUE] = self.empty(tensor)
        except UnsupportedOpError as error:
            self.refused.append(Refused(tensor.name, "input", error.what))
        if tensor.shape and tensor.shape[0] == self.batch:
            self.batch_axes[tensor.name] = 0

    def empty(self, tensor: Tensor) -> torch.Tensor:
        """A tensor without storage of a tensor's shape and element type."""
        with self.mode:
            return torch.empty(tensor.static_shape, dtype=torch_dtype(tensor.dtype))

    def word(self, name: str) -> str:
        """A name that Python takes, and that nothing of the module's has."""
        word = python_name(name, self.words)
        if hasattr(fx.GraphModule, word) or hasattr(self.empty_module, word):
            word = python_name(f"v_{word}", self.words)
        self.words.add(word)
        return word

    def operand(self, name: str) -> Operand | None:
        """What a node reads by that name; None for ""."""
        if not name:
            return None
        value = self.values.get(name)
        known = self.model.tensors.get(name, Tensor(name, None, "unknown"))
        if value is not None:
            known = Tensor(name, value.shape, value.dtype.name)
        return Operand(known, value, self.batch_axes.get(name), name in self.learned)

    def add(self, proto: NodeProto) -> None:
        """A layer, unless its results are constants; what refuses it is noted."""
        if all(name in self.values for name in proto.output if name):
            return
        results = [self.model.tensors.get(n, Tensor(n, None, "unknown")) for n in proto.output]
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        node = Node(
            proto, self.opsets.get(domain, 1), [self.operand(n) for n in proto.input], results,
            self.read, self.batch, self.parameters,
        )  # fmt: skip
        try:
            made = self.convert(proto, node)
            made.meta[NAME] = proto.name
            if all(VALUE in n.meta for n in made.all_input_nodes):
                self.evaluate(made, results)
            self.give(made, results)
        except UnsupportedOpError as error:
            self.refused.append(Refused(proto.name, proto.op_type, error.what))
            for tensor in results:
                self.stand_in(tensor)
        self.follow(node, results)

    def convert(self, proto: NodeProto, node: Node) -> fx.Node:
        """The fx node of a layer."""
        converter = converter_of(proto)
        if converter is None:
            raise UnsupportedOpError("no converter")
        given = [o.tensor for o in node.operands if o is not None]
        partial = next((t for t in (*given, *node.results) if t.dtype in _MOVED_ONLY), None)
        if partial is not None and kind_of(proto.op_type.lower()) not in ("view", "move"):
            raise UnsupportedOpError(f"PyTorch does not compute with {partial.dtype}")
        made = converter(node)
        node.refuse_unread()
        trained = {node.operand(k).tensor.name for k in node.trained}
        if isinstance(made, Call):
            args = map_aggregate(
                made.args, lambda a: self.source(a, trained) if isinstance(a, Operand) else a
            )
            if isinstance(made.target, str):
                return self.graph.call_method(made.target, args)
            return self.graph.call_function(made.target, args)
        if not isinstance(made, _NO_LAYER) and not hasattr(made, OP):
            setattr(made, OP, proto.op_type.lower())
        word = self.word(proto.name)
        self.root.add_module(word, made.eval())
        rest = [o for k, o in enumerate(node.operands) if o is not None and k not in node.taken]
        return self.graph.call_module(word, tuple(self.source(o, trained) for o in rest))

    def source(self, operand: Operand, trained: Collection[str]) -> fx.Node:
        """The node of what is read: a layer's, or a parameter's or a buffer's."""
        name = operand.tensor.name
        if name in self.nodes:
            return self.nodes[name]
        if operand.value is None:
            raise UnsupportedOpError(f"it reads '{name}', which no layer makes")
        key = name, name in trained
        if key not in self.stored:
            word = self.word(name)
            if name in trained:
                self.root.register_parameter(word, self.parameters.get(operand, "", np.asarray))
            else:
                self.root.register_buffer(word, torch_tensor(operand.value))
            self.stored[key] = self.graph.get_attr(word)
            self.stored[key].meta[VALUE] = getattr(self.root, word)
        return self.stored[key]

    def evaluate(self, made: fx.Node, results: Sequence[Tensor]) -> None:
        """Give a node its value, without storage, and hold that against what ONNX says."""
        try:
            value = made.meta[VALUE] = evaluate(made, self.root, self.mode)
        except FAILURES as error:
            why = " ".join(str(error).split())[:160]
            raise UnsupportedOpError(f"PyTorch does not compute it: {why}") from error
        values: Any = value if isinstance(value, list | tuple) else [value]
        for tensor, each in zip(results, values, strict=False):
            if not tensor.name or tensor.elements is None:
                continue
            dtype = str(each.dtype).removeprefix("torch.")
            if (tuple(each.shape), dtype) != (tensor.shape, tensor.dtype):
                given = f"{tuple(each.shape)} {dtype}"
                raise UnsupportedOpError(
                    f"PyTorch gives {given}, ONNX {tensor.shape} {tensor.dtype}"
                )

    def give(self, made: fx.Node, results: Sequence[Tensor]) -> None:
        """Let a node stand for its result, or nodes behind it for its several results."""
        value: Any = made.meta.get(VALUE)
        if not isinstance(value, list | tuple):
            made.meta[TENSOR] = results[0].name
            self.nodes[results[0].name] = made
            return
        for k, tensor in enumerate(results):
            if tensor.name in self.read:
                part = self.graph.call_function(operator.getitem, (made, k))
                part.meta |= {VALUE: value[k], TENSOR: tensor.name}
                self.nodes[tensor.name] = part

    def stand_in(self, tensor: Tensor) -> None:
        """A node for what a refused layer makes, so that those behind it are looked at too."""
        node = self.nodes[tensor.name] = self.graph.placeholder(self.word(tensor.name))
        if tensor.elements is not None and tensor.dtype not in ("string", "unknown"):
            with contextlib.suppress(UnsupportedOpError):
                node.meta[VALUE] = self.empty(tensor)

    def follow(self, node: Node, results: Sequence[Tensor]) -> None:
        """Note along which axis of the results the samples are, and which come from weights."""
        learned = node.weighted or any(o.learned for o in node.operands if o is not None)
        for tensor in results:
            if learned:
                self.learned.add(tensor.name)
            axis = node.batch_axis if node.placed else followed(node, tensor)
            if axis is not None and axis < len(tensor.shape or ()):
                self.batch_axes[tensor.name] = axis

    def raise_refused(self) -> None:
        """Raise where a layer cannot be converted.

        Raises:
            UnsupportedOpError: Names all of them, by operator and reason.
        """
        if not self.refused:
            return
        layers: dict[tuple[str, str], list[str]] = {}
        for each in self.refused:
            layers.setdefault((each.op, each.why), []).append(f"'{each.layer}'")
        ops = sorted({each.op for each in self.refused})
        raise UnsupportedOpError(
            "the model has operators that cannot be converted: " + ", ".join(ops),
            at="; ".join(f"{op}: {', '.join(names)}" for (op, _), names in layers.items()),
            why="; ".join(dict.fromkeys(f"{op}: {why}" for op, why in layers)),
            hint="splitc.frontend.convert.converts registers a converter of yours",
        )

    def finish(self) -> fx.GraphModule:
        """The graph module, with results of the names that they have in ONNX."""
        missing = [name for name in self.model.graph.outputs if name not in self.nodes]
        if missing:
            why = "it is the same whatever the inputs are"
            raise BadModelError(f"result '{missing[0]}' is a constant", why=why)
        ends = [self.nodes[name] for name in self.model.graph.outputs]
        self.graph.output(ends[0] if len(ends) == 1 else tuple(ends))
        module = fx.GraphModule(self.root, self.graph, self.model.name or "OnnxModel")
        given = analyse(module).names
        for place, wanted in enumerate(self.model.graph.outputs):
            if given[place] != wanted:
                ends[place] = self.keep(module, ends[place], wanted)
        output = next(iter(reversed(module.graph.nodes)))
        output.args = (ends[0] if len(ends) == 1 else tuple(ends),)
        module.graph.lint()
        module.recompile()
        return module

    def keep(self, module: fx.GraphModule, node: fx.Node, tensor: str) -> fx.Node:
        """A layer that passes a result on, where the result would bear another's name."""
        identity = nn.Identity().eval()
        setattr(identity, OP, "identity")
        word = self.word(tensor)
        module.add_submodule(word, identity)
        with module.graph.inserting_before(next(iter(reversed(module.graph.nodes)))):
            made = module.graph.call_module(word, (node,))
        made.meta |= {NAME: self.maker[tensor], TENSOR: tensor, VALUE: node.meta[VALUE]}
        return made
