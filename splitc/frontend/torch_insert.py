# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""New modules in an fx graph, and layers taken out of one; the given graph stays as it is."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensorMode

from splitc.errors import BadModelError
from splitc.frontend.torch_form import NAME
from splitc.frontend.torch_layers import analyse
from splitc.frontend.torch_trace import VALUE, as_at_inference, evaluate
from splitc.insertion import Insertion


def insert_modules(
    module: fx.GraphModule, tensor: str, chain: Sequence[Insertion]
) -> fx.GraphModule:
    """A graph module with the modules of a chain between a tensor and its readers.

    They are its submodules `link.TENSOR.NAME`, with `_` for what Python has no names for.

    Args:
        module: A graph in normal form.
        tensor: The tensor's name.
        chain: The layers to insert.

    Raises:
        BadModelError: A layer of the chain has no module, or does not take what it gets.
    """
    made = _copy(module)
    layers = analyse(made)
    source = _source(layers.nodes[tensor], *layers.element[tensor])
    stay = {node for (node, _), name in zip(layers.results, layers.names, strict=True)
            if name == tensor}  # fmt: skip
    readers = [reader for reader in source.users if reader.op != "output" and reader not in stay]
    last = source
    for each in chain:
        last = _append(made, tensor, each, last, source.meta[VALUE])
    for reader in readers:
        reader.replace_input_with(source, last)
    made.graph.lint()
    made.recompile()
    return made


def _append(
    made: fx.GraphModule, tensor: str, each: Insertion, last: fx.Node, like: torch.Tensor
) -> fx.Node:
    """Nodes for one layer of a chain behind a node; the last of them."""
    if each.modules is None:
        raise BadModelError(f"layer '{each.name}' has no module", why="PyTorch cannot run it")
    for k, new in enumerate(each.modules()):
        path = f"link.{_word(tensor)}.{_word(each.name)}" + (f"_{k + 1}" if k else "")
        made.add_submodule(path, new.to(like.device, like.dtype).train(made.training))
        with made.graph.inserting_after(last):
            last = made.graph.call_module(path, (last,))
        last.meta[NAME] = f"{tensor}.{each.name}" + (f".{k + 1}" if k else "")
        with as_at_inference(made):
            last.meta[VALUE] = evaluate(last, made, FakeTensorMode(allow_non_fake_inputs=True))
    made_shape = tuple(last.meta[VALUE].shape)
    if made_shape != each.shape:
        why = f"its module gives {made_shape}, it says {each.shape}"
        raise BadModelError(f"layer '{each.name}' has another shape", why=why)
    return last


def bypass_nodes(module: fx.GraphModule, names: Collection[str]) -> fx.GraphModule:
    """A graph module without the layers of these names: readers read what they read."""
    graph = _copied(module.graph)
    for node in list(graph.nodes):
        if node.meta.get(NAME) in names and node.op not in ("placeholder", "output"):
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph.erase_node(node)
    graph.lint()
    return fx.GraphModule(module, graph, type(module).__name__)


def _copied(graph: fx.Graph) -> fx.Graph:
    copy = fx.Graph()
    copy.output(copy.graph_copy(graph, {}))
    return copy


def _copy(module: fx.GraphModule) -> fx.GraphModule:
    return fx.GraphModule(module, _copied(module.graph), type(module).__name__)


def _source(nodes: Sequence[fx.Node], node: fx.Node, keys: tuple[object, ...]) -> fx.Node:
    """The node that gives a tensor: for an element of a tuple, the first that takes it out."""
    return nodes[0] if keys else node


def _word(name: str) -> str:
    return re.sub(r"\W", "_", name)
