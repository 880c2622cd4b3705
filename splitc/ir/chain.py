# SPDX-License-Identifier: Apache-2.0
"""Layers that a pass puts behind a tensor: rewrites of a bare graph."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from splitc.errors import BadModelError, IllegalCutError, UsageError, nearest
from splitc.ir.cut import Cut
from splitc.ir.graph import Layer, LayerGraph, Tensor

if TYPE_CHECKING:
    from onnx import NodeProto
    from torch import nn

CHANNEL = "channel"
"""Kind of the layers that stand for what the link does to values: not compiled, no cost."""

FLOATS = ("float16", "bfloat16", "float32", "float64")


class Code(NamedTuple):
    """How elements of a tensor of codes are read that a link lost.

    Args:
        fill: Bytes that stand for them, repeated over the tensor: the code of the value 0.
        unit: Elements that travel together, those that packed codes share.
    """

    fill: bytes = b""
    unit: int = 1


@dataclass(frozen=True)
class Insertion:
    """One layer to stand in a chain behind a tensor: what text knows, and what runs it.

    Args:
        name: Behind the tensor's name and a dot it is the layer's and its tensor's.
        op: Lower-case operator name.
        shape: Extents of what it makes.
        dtype: Element type of what it makes.
        param_bytes: Bytes of its weights.
        flops: Floating-point operations of one run.
        kind: What sort of work it is; by default from `op`.
        modules: Makes its `nn.Module`s, applied one after another: one, or a
            convolution and the batch norm folded into it. Called only by carriers
            that hold modules, so that a bare graph needs no torch.
        node: For ONNX: given the name read and the name to make, the one node that
            computes it and the arrays that it reads by name, which begin with the name
            to make. None where ONNX has no such operator.
        code: How elements of what it makes are read that a link lost, where that is a code.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    param_bytes: int = 0
    flops: int = 0
    kind: str = ""
    modules: Callable[[], Sequence[nn.Module]] | None = None
    node: Callable[[str, str], tuple[NodeProto, Mapping[str, Any]]] | None = None
    code: Code | None = None


def chain_layers(tensor: str, chain: Sequence[Insertion], source: str = "") -> list[Layer]:
    """The layers of a chain behind a tensor, or behind another one but named after it."""
    made: list[Layer] = []
    read = source or tensor
    for each in chain:
        name = f"{tensor}.{each.name}"
        out = Tensor(name, each.shape, each.dtype)
        made.append(
            Layer(name, each.op, (read,), (out,), each.param_bytes, each.flops, kind=each.kind)
        )
        read = name
    return made


def codes_of(tensor: str, chain: Sequence[Insertion]) -> dict[str, Code]:
    """How lost elements are read of the codes that a chain behind a tensor makes."""
    return {f"{tensor}.{each.name}": each.code for each in chain if each.code is not None}


def check_chain(graph: LayerGraph, tensor: str, chain: Sequence[Insertion]) -> None:
    """Raise where a chain cannot stand behind a tensor.

    Raises:
        UsageError: There is no such tensor, or a name is taken: the same pass twice, say.
    """
    if tensor not in graph.tensors:
        raise UsageError(f"there is no tensor '{tensor}'", hint=nearest(tensor, graph.tensors))
    taken = {*graph.index, *graph.tensors}
    for each in chain:
        name = f"{tensor}.{each.name}"
        if name in taken:
            raise UsageError(
                f"there is a '{name}' behind '{tensor}' already",
                hint="apply the pass once, or at another cut",
            )
        taken.add(name)


def insert_layers(graph: LayerGraph, tensor: str, chain: Sequence[Insertion]) -> LayerGraph:
    """The graph with a chain of layers that every reader of a tensor reads instead of it.

    A result of the network stays the tensor itself.

    Raises:
        UsageError: There is no such tensor, or a name is taken.
    """
    check_chain(graph, tensor, chain)
    added = chain_layers(tensor, chain)
    if not added:
        return graph
    last = added[-1].outputs[0].name
    layers: list[Layer] = []
    for i, layer in enumerate(graph.layers):
        read = tuple(last if name == tensor else name for name in layer.inputs)
        layers.append(replace(layer, inputs=read))
        if i == max(graph.producer[tensor], graph.input_count - 1):
            layers += added
    return LayerGraph(tuple(layers), graph.outputs)


def replace_head_layers(cut: Cut, chain: Sequence[Insertion]) -> LayerGraph:
    """The graph with a chain of layers from its input to its tail, instead of the head.

    Raises:
        IllegalCutError: Not one input, or not one tensor that crosses.
        BadModelError: The chain makes something else than that tensor.
    """
    graph = cut.graph
    source, tensor = head_ends(cut, chain)
    added = chain_layers(tensor.name, chain, source.name)
    last = added[-1].outputs[0].name if added else source.name
    tail = [
        replace(layer, inputs=tuple(last if name == tensor.name else name for name in layer.inputs))
        for layer in (graph.layers[i] for i in cut.tail)
    ]
    return LayerGraph((*graph.layers[: graph.input_count], *added, *tail), graph.outputs)


def head_ends(cut: Cut, chain: Sequence[Insertion] | None = None) -> tuple[Tensor, Tensor]:
    """What a head reads and what it makes, where another can stand in its place.

    Args:
        cut: Where the head ends.
        chain: The other one, if it is there already.

    Raises:
        IllegalCutError: The network has several inputs, the head makes a result of the
            network, or not one tensor crosses.
        BadModelError: The chain makes something else than the tensor that crosses.
        UsageError: A name in the chain is taken.
    """
    what = f"the head before '{cut.name}' cannot be replaced"
    why = ""
    if cut.graph.input_count != 1:
        names = ", ".join(t.name for t in cut.graph.inputs)
        why = f"the network has {cut.graph.input_count} inputs: {names}"
    elif len(cut.boundary) != 1:
        why = f"{len(cut.boundary)} tensors cross: " + ", ".join(t.name for t in cut.boundary)
    elif cut.results:
        why = f"it makes a result of the network: '{cut.results[0]}'"
    elif not cut.is_proper:
        why = "head or tail would be empty"
    if why:
        raise IllegalCutError(what, why=why)
    source, tensor = cut.graph.inputs[0], cut.boundary[0]
    if chain is not None:
        check_chain(cut.graph, tensor.name, chain)
        end = chain[-1] if chain else source
        made, wanted = (end.shape, end.dtype), (tensor.shape, tensor.dtype)
        if made != wanted:
            raise BadModelError(what, why=f"the new one makes {made}, what crosses is {wanted}")
    return source, tensor


def bypass_layers(graph: LayerGraph, names: Collection[str]) -> LayerGraph:
    """The graph without some layers of one input and one output: readers read the input.

    Raises:
        UsageError: One of them reads or makes several tensors, or is an input.
    """
    check_bypass(graph, names)
    instead: dict[str, str] = {}
    layers: list[Layer] = []
    for layer in graph.layers:
        read = tuple(instead.get(name, name) for name in layer.inputs)
        if layer.name in names:
            instead[layer.outputs[0].name] = read[0]
        else:
            layers.append(replace(layer, inputs=read))
    return LayerGraph(
        tuple(layers), tuple(dict.fromkeys(instead.get(name, name) for name in graph.outputs))
    )


def check_bypass(graph: LayerGraph, names: Collection[str]) -> None:
    """Raise where a layer cannot be left out.

    Raises:
        UsageError: There is no such layer, or it reads or makes several tensors, or none.
    """
    for name in names:
        layer = graph.layer(name)
        if (len(layer.inputs), len(layer.outputs)) != (1, 1):
            why = f"it reads {len(layer.inputs)} tensors and makes {len(layer.outputs)}"
            raise UsageError(f"layer '{name}' cannot be left out", why=why)


def channel_layers(graph: LayerGraph) -> tuple[str, ...]:
    """Names of the layers that stand for the link."""
    return tuple(layer.name for layer in graph.layers if layer.kind == CHANNEL)
