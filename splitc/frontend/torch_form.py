# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""Normal form of fx graphs: nothing changes in place what others read, nothing dead, all named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.node import map_arg

from splitc.errors import BadModelError
from splitc.frontend.torch_ops import op_of, plain
from splitc.frontend.torch_trace import VALUE, as_at_inference, evaluate, holds_tensor

NAME = "splitc_name"
"""Key of a layer's name in its node's `meta`."""

_CHANGES = frozenset(("iadd", "isub", "imul", "itruediv", "ipow", "iand", "ior", "setitem"))


def normalise(module: fx.GraphModule) -> None:
    """Bring a graph whose nodes have values into normal form, in place."""
    graph = module.graph
    for node in list(graph.nodes):
        if changes_operand(node, module):
            _read_the_changed(node)
    for node in list(graph.nodes):
        if node.op == "call_function" and plain(function_name(node)) == "dropout":
            _as_module(node, module)
    for node in reversed(list(graph.nodes)):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)
    _name(module)
    graph.lint()
    module.recompile()


def function_name(node: fx.Node) -> str:
    """The name of the function, method or operator that a node calls."""
    target: Any = node.target
    if isinstance(target, str):
        return target
    packet = getattr(target, "overloadpacket", None)
    return str(getattr(packet if packet is not None else target, "__name__", target))


def changes_operand(node: fx.Node, module: nn.Module) -> bool:
    """Whether a node writes its result over its first operand."""
    if not node.args or not isinstance(node.args[0], fx.Node):
        return False
    if node.op == "call_module":
        return bool(getattr(module.get_submodule(str(node.target)), "inplace", False))
    if node.op not in ("call_function", "call_method"):
        return False
    name = function_name(node)
    trailing = name.endswith("_") and not name.endswith("__")
    return trailing or name in _CHANGES or node.kwargs.get("inplace") is True


def _read_the_changed(node: fx.Node) -> None:
    """Let later readers of an operand read the result; earlier ones keep it as it was."""
    operand: Any = node.args[0]
    place = {each: i for i, each in enumerate(node.graph.nodes)}
    for reader in list(operand.users):
        if place[reader] > place[node]:
            reader.replace_input_with(operand, node)
    if function_name(node) == "setitem":
        return
    kept = [reader for reader in operand.users if reader is not node]
    if kept or operand.op in ("placeholder", "get_attr"):
        with node.graph.inserting_before(node):
            copy = node.graph.call_method("clone", (operand,))
        copy.meta = dict(operand.meta)
        copy.meta.pop(NAME, None)
        node.replace_input_with(operand, copy)


def _as_module(node: fx.Node, module: fx.GraphModule) -> None:
    """Functional dropout as a module: tracing saw it in eval mode, training needs it."""
    rate = node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5)
    if not isinstance(rate, int | float) or hasattr(node.target, "overloadpacket"):
        return
    count = 0
    while hasattr(module, name := f"dropout_{count}"):
        count += 1
    module.add_submodule(name, nn.Dropout(float(rate)))
    module.get_submodule(name).training = module.training
    node.op, node.target, node.args, node.kwargs = "call_module", name, node.args[:1], {}


def _name(module: fx.GraphModule) -> None:
    """Give every node that computes its layer's name, unique: the path of its module."""
    taken = {str(n.meta.get(NAME, n.target)) for n in module.graph.nodes if n.op == "placeholder"}
    taken |= {n.meta[NAME] for n in module.graph.nodes if NAME in n.meta}
    count: dict[str, int] = {}
    for node in module.graph.nodes:
        if node.op in ("placeholder", "output", "get_attr") or NAME in node.meta:
            continue
        if function_name(node) == "getitem" and not _is_tensor(node.args[0]):
            continue
        base = name = _path(node)
        while name in taken:
            count[base] = count.get(base, 1) + 1
            name = f"{base}.{count[base]}"
        node.meta[NAME] = name
        taken.add(name)


def _is_tensor(arg: Any) -> bool:
    return isinstance(arg, fx.Node) and hasattr(arg.meta.get(VALUE), "dtype")


def _path(node: fx.Node) -> str:
    """`layer1.0.conv2` for a module, `layer1.0.add` for a function called in one."""
    if node.op == "call_module":
        return str(node.target)
    name = function_name(node).strip("_")
    shown = {"iadd": "add", "isub": "sub", "imul": "mul", "truediv": "div", "itruediv": "div",
             "getitem": "slice"}.get(name, name)  # fmt: skip
    stack: Any = node.meta.get("nn_module_stack") or {}
    if not stack:
        return shown
    path, kind = list(stack.values())[-1]
    kind_name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    leaf = kind_name.rpartition(".")[2]
    if path and kind_name.startswith("torch.nn") and op_of(leaf, (), ()) == op_of(name, (), ()):
        return str(path)
    return f"{path}.{shown}" if path else shown


def interpret(module: fx.GraphModule, inputs: Sequence[torch.Tensor]) -> None:
    """Write every node's value into its `meta`.

    Raises:
        BadModelError: There are more inputs than examples.
        FAILURES: It does not run on these.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    rest = iter(inputs)
    with as_at_inference(module):
        for node in list(module.graph.nodes):
            if node.op == "output":
                continue
            if node.op != "placeholder":
                value = evaluate(node, module, mode)
            elif (given := next(rest, None)) is not None:
                with mode:
                    value = torch.empty(tuple(given.shape), dtype=given.dtype, device=given.device)
            elif node.args:
                value = node.args[0]
            else:
                raise BadModelError(f"no example for input '{node.target}'")
            if holds_tensor(value):
                node.meta[VALUE] = value
            else:
                _write_in(node, value)
    module.graph.lint()
    module.recompile()


def _write_in(node: fx.Node, value: Any) -> None:
    """Write a value that is no tensor into the arguments of its readers."""
    for reader in list(node.users):
        args, kwargs = map_arg((reader.args, reader.kwargs), lambda n: value if n is node else n)
        reader.args, reader.kwargs = args, kwargs
    node.graph.erase_node(node)
