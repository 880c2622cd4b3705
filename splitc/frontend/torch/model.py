# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""The PyTorch front end: an fx graph as a `Model`."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.export import ExportedProgram

from splitc.arrays import Array, nudged
from splitc.errors import BadModelError, UnsupportedOpError, one_line
from splitc.frontend.torch.channel import channel_way, received
from splitc.frontend.torch.form import normalise
from splitc.frontend.torch.indices import divisors, index_extents
from splitc.frontend.torch.insert import bypass_nodes, feed_modules, insert_modules, replace_head
from splitc.frontend.torch.layers import Layers, analyse
from splitc.frontend.torch.read import (
    bind,
    check_weights,
    exported,
    fixed_inputs,
    quiet,
    read_pt2,
    traced,
)
from splitc.frontend.torch.split import extract
from splitc.frontend.torch.ties import lower_places_first
from splitc.frontend.torch.trace import FAILURES, VALUE, as_at_inference
from splitc.frontend.torch.values import leaves
from splitc.ir.chain import Code, Insertion, check_bypass, codes_of
from splitc.ir.cut import Cut
from splitc.ir.graph import LayerGraph, Tensor
from splitc.ir.layout import Layouts
from splitc.ir.model import DEFAULT_MAX_BYTES, SplitInTwo
from splitc.ir.segment import Segment
from splitc.link.packets import Scale


@dataclass(frozen=True)
class TorchModel(SplitInTwo):
    """A layer graph with its weights in an fx `GraphModule`.

    The module stays trainable: its submodules, parameters and buffers are the objects
    of the module that was read, so training either trains both. Layers are what the
    network computes at inference; dropout stays in the module and is no layer. Dropout and
    batch norm follow the module's mode, as functions too; other branches on `self.training`
    are those of eval mode.

    Args:
        module: The network in normal form; what nodes give is in their `meta`.
        graph: The layer DAG.
        cut: The cut a pass chose.
        note: What the reader should know: say, that only torch.export could trace it.
        codec: The passes that put its codec in, as text, where a fine-tuned folder says so.
        codes: Of tensors that are codes, how lost elements are read.
    """

    module: fx.GraphModule = field(repr=False)
    graph: LayerGraph
    cut: Cut | None = None
    note: str = ""
    codec: str = ""
    codes: Mapping[str, Code] = field(default_factory=dict[str, Code], repr=False)

    @property
    def name(self) -> str:
        """The class of the module that was read."""
        return type(self.module).__name__

    @property
    def digest(self) -> str:
        """sha256 of what is computed, with which weights; computed anew at each call."""
        found = hashlib.sha256(self.module.code.encode())
        for node in self.module.graph.nodes:
            if node.op == "call_module":
                found.update(repr(self.module.get_submodule(str(node.target))).encode())
        stored = (*self.module.named_parameters(), *self.module.named_buffers())
        for name, tensor in sorted(stored, key=lambda each: each[0]):
            found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            bits = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            found.update(bits.numpy().data)
        return found.hexdigest()

    @property
    def index_extents(self) -> dict[str, int]:
        """How many places an input's elements choose from, by input name, where it is indices."""
        return index_extents(self.module, [tensor.name for tensor in self.graph.inputs])

    @property
    def divisors(self) -> frozenset[str]:
        """The inputs whose quotients are integers: 0 has no meaning there."""
        return divisors(self.module, [tensor.name for tensor in self.graph.inputs])

    @property
    def settled(self) -> dict[str, Array]:
        """No input: a program that was exported has its shapes from its samples."""
        return {}

    def with_graph(self, graph: LayerGraph) -> TorchModel:
        """The model with an annotated graph over the same layers."""
        return replace(self, graph=graph)

    def with_cut(self, cut: Cut) -> TorchModel:
        """The model with a chosen cut."""
        return replace(self, cut=cut)

    def fingerprint(self) -> str:
        """Changes when the graph, the cut or the weights do."""
        text = str(self.graph) + (self.cut.name if self.cut else "") + self.digest
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def layers(self) -> Layers:
        """The module's nodes as layers."""
        return analyse(self.module)

    def extract(self, segment: Segment, layouts: Layouts | None = None) -> TorchModel:
        """A segment of this model's graph as a module that shares its weights with this one.

        Args:
            segment: What to take out.
            layouts: How the tensors that it reads and makes lie, as `OnnxModel.extract` has it.
        """
        results = [tensor.name for tensor in segment.results if tensor not in segment.sends]
        part = extract(
            self.module, self.layers, segment.name, [tensor.name for tensor in segment.reads],
            [tensor.name for tensor in segment.makes], results, segment.turned(layouts or {}),
        )  # fmt: skip
        return TorchModel(part, analyse(part).graph)

    def insert(self, tensor: str, chain: Sequence[Insertion]) -> TorchModel:
        """The model with a chain of new modules behind a tensor; weights stay shared.

        The modules get the device and element type of the tensor and the mode of the module.
        """
        module = insert_modules(self.module, tensor, chain)
        codes = {**self.codes, **codes_of(tensor, chain)}
        return TorchModel(module, analyse(module).graph, note=self.note, codes=codes)

    def fed(self, name: str, given: Tensor, chain: Sequence[Insertion]) -> TorchModel:
        """The model whose input is another tensor, of which a chain of modules makes the old one.

        Weights stay shared.
        """
        module = feed_modules(self.module, name, given, chain)
        return replace(self, module=module, graph=analyse(module).graph, cut=None)

    def bypass(self, layers: Collection[str]) -> TorchModel:
        """The model without some layers of one input and one output; weights stay shared."""
        check_bypass(self.graph, layers)
        module = bypass_nodes(self.module, layers)
        return TorchModel(
            module, analyse(module).graph, note=self.note, codec=self.codec, codes=self.codes
        )

    def replace_head(self, cut: Cut, chain: Sequence[Insertion]) -> TorchModel:
        """The model with new modules in the place of a cut's head; the tail's weights stay shared.

        The modules get the device and element type of the boundary and the mode of the module.
        """
        module = replace_head(self.module, cut, chain)
        codes = {**self.codes, **codes_of(cut.boundary[0].name, chain)}
        return TorchModel(module, analyse(module).graph, note=self.note, codes=codes)

    def batched(self, count: int) -> TorchModel:
        """The model for so many times as many samples, along the first axis of what crosses.

        Its inputs and results stand in the same order; their names may be others. Weights stay
        shared.

        Raises:
            BadModelError: It computes with the number of samples.
        """
        from splitc.frontend.torch.batch import any_batch

        many = tuple(each.repeat(count, *[1] * (each.dim() - 1)) for each in self.examples())
        return load_torch(any_batch(self), many)

    @cached_property
    def program(self) -> ExportedProgram:
        """The module as torch.export has it at inference, for backends.

        Raises:
            UnsupportedOpError: torch.export refuses it.
        """
        try:
            with quiet(), as_at_inference(self.module):
                return torch.export.export(self.module, self.examples(), strict=False)
        except FAILURES as error:
            why = one_line(error)
            raise UnsupportedOpError("torch.export refuses the module", why=why) from error

    def examples(self) -> tuple[torch.Tensor, ...]:
        """Zeros in the shape and element type of each input, where the weights are."""
        device = next((p.device for p in self.module.parameters()), torch.device("cpu"))
        return tuple(
            torch.zeros(value.shape, dtype=value.dtype, device=device)
            for value in (n.meta[VALUE] for n in self.module.graph.nodes if n.op == "placeholder")
        )

    def nudged(self, seed: int) -> TorchModel:
        """The model with each weight up to two of its type's steps off; see `Network.nudged`."""
        rng = np.random.Generator(np.random.PCG64(seed))
        module = copy.deepcopy(self.module)
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.ndim > 1 and tensor.dtype in (torch.float32, torch.float64):
                moved = nudged(tensor.detach().cpu().numpy(), rng)
                tensor.data.copy_(torch.from_numpy(moved))
        return replace(self, module=module)

    def unload(self) -> None:
        """Nothing: `run` calls the module itself."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the module in eval mode, without gradients.

        Args:
            inputs: Arrays by input name, of the graph's shapes and dtypes; left unchanged.

        Returns:
            Arrays by result name.

        Raises:
            BadModelError: An input is missing or of another form, or the module fails.
        """
        feed = self.feed(inputs)
        with as_at_inference(self.module), lower_places_first(self.graph):
            try:
                made: Any = self.module(*feed)
            except FAILURES as error:
                raise BadModelError("the module does not run", why=one_line(error)) from error
        values = [
            _array(name, value)
            for name, value in zip(self.layers.names, leaves(made).values(), strict=True)
        ]
        found = dict(zip(self.layers.names, values, strict=True))
        return {name: found[name] for name in self.graph.outputs}

    def feed(self, inputs: Mapping[str, Array]) -> list[torch.Tensor]:
        """What the module takes, of arrays by input name; where the weights are.

        Raises:
            BadModelError: An input is missing or of another form.
        """
        return [
            _laid_out(_fed(t, inputs), n.meta[VALUE]).to(e.device)
            for t, e, n in zip(
                self.graph.inputs, self.examples(), self.module.graph.find_nodes(op="placeholder"),
                strict=True,
            )
        ]  # fmt: skip

    def parameters_beyond(self, other: object) -> tuple[str, ...]:
        """Names of the parameters that are not another model's too."""
        known = other.module.parameters() if isinstance(other, TorchModel) else ()
        theirs = {id(each) for each in known}
        return tuple(n for n, each in self.module.named_parameters() if id(each) not in theirs)

    def received(self, inputs: Mapping[str, Array], cut: Cut, seed: int) -> dict[str, Array] | None:
        """What the tail gets of each tensor that crosses a cut, with the channels on.

        Args:
            inputs: Arrays by input name.
            cut: A cut of this model's graph.
            seed: Of what the channels draw.

        Returns:
            Arrays by tensor name, of the tensors' own shapes and element types; None where
            a channel stands anywhere else than at the cut.
        """
        made = received(self.module, self.layers, self.feed(inputs), cut, seed)
        return None if made is None else {name: _array(name, made[name]) for name in made}

    def loss_scale(self, tensor: str) -> Scale | None:
        """How a channel behind a tensor that crosses scales what it did not lose.

        None where no channel does, or one that does not say how.
        """
        way = channel_way(self.graph, tensor)
        channels = () if way is None else map(self._channel, way.channels)
        scales = (getattr(channel, "scale", None) for channel in channels)
        return next((scale for scale in scales if scale), None)

    def channel_settings(self, layer: str) -> str:
        """What a channel layer is set to, as `rate=0.1`."""
        return self._channel(layer).extra_repr()

    def _channel(self, layer: str) -> nn.Module:
        node, _ = self.layers.element[self.graph.layer(layer).outputs[0].name]
        return self.module.get_submodule(str(node.target))


def _fed(tensor: Tensor, inputs: Mapping[str, Array]) -> torch.Tensor:
    if tensor.name not in inputs:
        raise BadModelError(f"no value for input '{tensor.name}'")
    array = inputs[tensor.name]
    if (array.shape, array.dtype.name) != (tensor.shape, tensor.dtype):
        given = f"{'x'.join(map(str, array.shape))} {array.dtype.name}"
        wanted = f"{'x'.join(map(str, tensor.shape or ()))} {tensor.dtype}"
        raise BadModelError(f"input '{tensor.name}' is {given}", why=f"the model takes {wanted}")
    if tensor.dtype == "bfloat16":
        return torch.from_numpy(np.array(array).view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def _laid_out(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A tensor in another's order in memory: kernels may round otherwise in each."""
    order = sorted(range(tensor.dim()), key=like.stride, reverse=True)
    back = [order.index(dim) for dim in range(tensor.dim())]
    return tensor.permute(order).contiguous().permute(back)


def _array(name: str, value: torch.Tensor) -> Array:
    if value.dtype == torch.bfloat16:
        import ml_dtypes

        return _array(name, value.detach().view(torch.int16)).view(ml_dtypes.bfloat16)
    try:
        return value.detach().cpu().numpy().copy()
    except TypeError as error:
        raise BadModelError(f"result '{name}' is {value.dtype}", why="numpy has none") from error


def load_torch(
    source: nn.Module | ExportedProgram | str | Path,
    example_inputs: torch.Tensor | Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> TorchModel:
    """Read a module, an exported program or a `.pt2` file; `splitc.load` says the rest."""
    if isinstance(source, str | Path):
        source = read_pt2(Path(source), max_bytes)
    note = ""
    if isinstance(source, ExportedProgram):
        module = exported(source)
        fixed = fixed_inputs(source)
        note = "an exported program computes in train mode as in eval mode"
        note += f"; {fixed}" if fixed else ""
    else:
        module, note = traced(source, bind(source, example_inputs))
    normalise(module)
    check_weights(module)
    layers = analyse(module)
    for tensor in layers.graph.tensors.values():
        if tensor.nbytes is not None and tensor.nbytes > max_bytes:
            why = f"it takes {tensor.nbytes:,} bytes, the limit is {max_bytes:,}"
            raise BadModelError(f"tensor '{tensor.name}' is too large", why=why)
    return TorchModel(module, layers.graph, note=note)
