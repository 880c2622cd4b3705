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
from splitc.frontend.torch.form import NAME, copied
from splitc.frontend.torch.layers import INSERTED, analyse
from splitc.frontend.torch.trace import VALUE, as_at_inference, evaluate, graph_module
from splitc.frontend.torch.values import tensor_of
from splitc.ir.chain import Insertion, check_chain, head_ends
from splitc.ir.cut import Cut
from splitc.ir.graph import Tensor


def feed_modules(
    module: fx.GraphModule, name: str, given: Tensor, chain: Sequence[Insertion]
) -> fx.GraphModule:
    """A graph module whose input is another tensor, with a chain that makes the old one of it.

    Args:
        module: A graph in normal form.
        name: The input's.
        given: What it is to be.
        chain: The layers that make what it was.

    Raises:
        UsageError: A name is taken.
        BadModelError: A layer of the chain does not take what it gets.
    """
    made = _copy(module)
    source, _ = analyse(made).element[name]
    was = source.meta[VALUE]
    source.meta[VALUE] = was.new_empty(given.static_shape, dtype=getattr(torch, given.dtype))
    return _inserted(made, name, chain, was)


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
        UsageError: There is no such tensor, or a name is taken.
        BadModelError: A layer of the chain has no module, or does not take what it gets.
    """
    return _inserted(_copy(module), tensor, chain)


def _inserted(
    made: fx.GraphModule, tensor: str, chain: Sequence[Insertion], like: torch.Tensor | None = None
) -> fx.GraphModule:
    """The graph module itself with a chain behind a tensor; `like` has its device and type."""
    layers = analyse(made)
    check_chain(layers.graph, tensor, chain)
    source = _source(layers.nodes[tensor], *layers.element[tensor])
    stay = {node for (node, _), name in zip(layers.results, layers.names, strict=True)
            if name == tensor}  # fmt: skip
    readers = [reader for reader in source.users if reader.op != "output" and reader not in stay]
    last = source
    for each in chain:
        last = _append(made, tensor, each, last, source.meta[VALUE] if like is None else like)
    for reader in readers:
        reader.replace_input_with(source, last)
    _stand_together(
        made.graph, layers.graph.layers[layers.graph.producer[tensor]].name, source, last
    )
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
        path = _free(made, f"{_word(tensor)}.{_word(each.name)}" + (f"_{k + 1}" if k else ""))
        made.add_submodule(path, new.to(like.device, like.dtype).train(made.training))
        with made.graph.inserting_after(last):
            last = made.graph.call_module(path, (last,))
        last.meta[NAME] = f"{tensor}.{each.name}" + (f".{k + 1}" if k else "")
        last.meta[INSERTED] = f"{tensor}.{each.name}"
        with as_at_inference(made):
            last.meta[VALUE] = evaluate(last, made, FakeTensorMode(allow_non_fake_inputs=True))
    given = tensor_of(each.name, last.meta[VALUE])
    if (given.shape, given.dtype) != (each.shape, each.dtype):
        why = f"its module gives {given.shape} {given.dtype}, it says {each.shape} {each.dtype}"
        raise BadModelError(f"layer '{each.name}' makes something else", why=why)
    return last


def _free(made: fx.GraphModule, path: str) -> str:
    """A path for a new module that no module, parameter or buffer has, nor one on the way to it."""
    taken = {str(n.target) for n in made.graph.nodes if n.op in ("call_module", "get_attr")}
    root, count = "link", 1
    while any(f"{root}.{path}.".startswith(f"{t}.") or t.startswith(f"{root}.{path}.")
              for t in taken):  # fmt: skip
        count += 1
        root = f"link_{count}"
    return f"{root}.{path}"


def _stand_together(graph: fx.Graph, layer: str, source: fx.Node, last: fx.Node) -> None:
    """Put what stands inside a layer, or among the inputs, and is no part of it behind a chain.

    So the chain follows the layer, as it does in the layer graph.
    """
    nodes = list(graph.nodes)
    if source.op == "placeholder":
        for node in nodes[nodes.index(last) :]:
            if node.op == "placeholder":
                source.append(node)
                source = node
        return
    first = next(node for node in nodes if node.meta.get(NAME) == layer)
    between = nodes[nodes.index(first) + 1 : nodes.index(source)]
    needed = {source}
    for node in reversed(between):
        if any(reader in needed for reader in node.users):
            needed.add(node)
    for node in reversed(between):
        if node not in needed:
            last.append(node)


def replace_head(module: fx.GraphModule, cut: Cut, chain: Sequence[Insertion]) -> fx.GraphModule:
    """A graph module with the modules of a chain from its input to its tail, without the head.

    They are its submodules `link.TENSOR.NAME`, TENSOR being what crossed.

    Args:
        module: A graph in normal form.
        cut: A cut of its layers.
        chain: The layers of the new head.

    Raises:
        IllegalCutError: Not one input, or not one tensor that crosses.
        BadModelError: A layer of the chain has no module, or does not take what it gets.
    """
    source, tensor = head_ends(cut, chain)
    made = _copy(module)
    layers = analyse(made)
    last = layers.nodes[source.name][0]
    before = _source(layers.nodes[tensor.name], *layers.element[tensor.name])
    for each in chain:
        last = _append(made, tensor.name, each, last, before.meta[VALUE])
    before.replace_all_uses_with(last)
    for node in reversed(list(made.graph.nodes)):
        if not node.users and node.op not in ("placeholder", "output"):
            made.graph.erase_node(node)
    made.graph.lint()
    return _copy(made)


def bypass_nodes(module: fx.GraphModule, names: Collection[str]) -> fx.GraphModule:
    """A graph module without the layers of these names: readers read what they read."""
    graph = copied(module.graph)
    for node in list(graph.nodes):
        if not {node.meta.get(NAME), node.meta.get(INSERTED)}.isdisjoint(names):
            node.replace_all_uses_with(node.all_input_nodes[0])
            graph.erase_node(node)
    graph.lint()
    return graph_module(module, graph, type(module).__name__)


def _copy(module: fx.GraphModule) -> fx.GraphModule:
    return graph_module(module, copied(module.graph), type(module).__name__)


def _source(nodes: Sequence[fx.Node], node: fx.Node, keys: tuple[object, ...]) -> fx.Node:
    """The node that gives a tensor: for an element of a tuple, the first that takes it out."""
    return nodes[0] if keys else node


def _word(name: str) -> str:
    return re.sub(r"\W", "_", name)
