# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
# pyright: reportPrivateUsage=false
"""Normal form of fx graphs: nothing changes in place what others read, nothing dead, all named."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.node import map_arg

from splitc.errors import UsageError
from splitc.frontend.torch.ops import op_of, plain
from splitc.frontend.torch.trace import VALUE, as_at_inference, evaluate, holds_tensor

NAME = "splitc_name"
"""Key of a layer's name in its node's `meta`."""

NAME_OF = "splitc_path"
"""Key of the name that a node would have as the function it was, in its `meta`."""

_CHANGES = frozenset(
    ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor",
     "ilshift", "irshift", "imatmul")
)  # fmt: skip
_OTHER_IN_TRAINING = frozenset(
    ("dropout", "alphadropout", "featuredropout", "featurealphadropout", "stochasticdepth",
     "batchnorm")
)  # fmt: skip
_FORMS = frozenset(
    ("unsqueeze_", "squeeze_", "transpose_", "t_", "swapaxes_", "swapdims_", "resize_",
     "as_strided_", "set_")
)  # fmt: skip


def normalise(module: fx.GraphModule) -> None:
    """Bring a graph whose nodes have values into normal form, in place."""
    graph = module.graph
    _take_apart(graph)
    for node in list(graph.nodes):
        if changes_operand(node, module):
            _read_the_changed(node)
    for node in list(graph.nodes):
        if node.op == "call_function" and plain(function_name(node)) in _OTHER_IN_TRAINING:
            _as_module(node, module)
    for node in reversed(list(graph.nodes)):
        if not node.users and node.op not in ("placeholder", "output"):
            graph.erase_node(node)
    _name(module)
    graph.lint()
    module.recompile()


def copied(graph: fx.Graph) -> fx.Graph:
    """A graph with the same nodes, their `meta` too."""
    copy = fx.Graph()
    copy.output(copy.graph_copy(graph, {}))
    return copy


def function_name(node: fx.Node) -> str:
    """The name of the function, method or operator that a node calls."""
    target: Any = node.target
    if isinstance(target, str):
        return target
    if target is getattr:
        return str(node.args[1])
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


def tangled(module: fx.GraphModule) -> str:
    """How a node changes what others read under another name, as a view; "" where none does.

    Such a graph has no normal form: what reads the view does not say that it depends on the
    change. torch.export can write it without changes in place.
    """
    place = {node: i for i, node in enumerate(module.graph.nodes)}
    sharing: dict[int, list[fx.Node]] = {}
    lost: set[int] = set()
    for node in module.graph.nodes:
        if isinstance(node.kwargs.get("out"), fx.Node):
            return f"'{node.name}' writes into a tensor that it is given"
        if not _is_tensor(node):
            continue
        memory = node.meta[VALUE].untyped_storage()._cdata
        same = sharing.setdefault(memory, [])
        if changes_operand(node, module):
            if function_name(node) in _FORMS:
                return f"'{node.name}' changes the shape of a tensor in place"
            for other in same:
                later = any(place[reader] > place[node] for reader in other.users)
                if other.op == "get_attr" and (later or node.users):
                    return f"'{node.name}' changes '{other.target}' of the module"
                if later and other is not node.args[0]:
                    return f"'{node.name}' changes in place what is read as '{other.name}' too"
            lost.add(memory)
        elif node.op == "get_attr" and memory in lost:
            return f"'{node.target}' of the module is read after it was changed"
        same.append(node)
    return ""


def _take_apart(graph: fx.Graph) -> None:
    """Let every element of a tuple or dict be taken out once, right behind what makes it."""
    for node in list(graph.nodes):
        if node.op in ("output", "placeholder", "get_attr") or _is_tensor(node) or not node.users:
            continue
        if function_name(node) != "getitem" or _is_tensor(node.args[0]):
            readers = dict.fromkeys(node.users)
            _read_parts(node, node.meta[VALUE], _parts(node), readers)


def _parts(node: fx.Node) -> Any:
    """A node's value with a node for every tensor in it."""
    value: Any = node.meta[VALUE]
    if isinstance(value, torch.Tensor):
        return node
    if not holds_tensor(value):
        return value
    keys = list(value) if isinstance(value, Mapping) else range(len(value))
    parts: dict[Any, Any] = {}
    for key in reversed(keys):
        if holds_tensor(value[key]):
            with node.graph.inserting_after(node):
                part = node.graph.call_function(operator.getitem, (node, key))
            part.meta[VALUE] = value[key]
            parts[key] = _parts(part)
        else:
            parts[key] = value[key]
    ordered = {key: parts[key] for key in keys}
    return ordered if isinstance(value, Mapping) else tuple(ordered.values())


def _read_parts(node: fx.Node, value: Any, parts: Any, readers: Iterable[fx.Node]) -> None:
    """Let the readers of a tuple read its elements, and it no more."""
    for reader in readers:
        name = function_name(reader)
        if reader.op == "call_function" and reader.target in (operator.getitem, getattr):
            key: Any = reader.args[1]
            inside = value[key] if name == "getitem" else getattr(value, name)
            if reader.target is getattr:
                key = next(i for i, each in enumerate(value) if each is inside)
            if isinstance(parts[key], fx.Node):
                reader.replace_all_uses_with(parts[key])
            else:
                _read_parts(reader, inside, parts[key], list(reader.users))
            reader.graph.erase_node(reader)
        else:

            def whole(each: fx.Node) -> Any:
                return parts if each is node else each

            reader.args = map_arg(reader.args, whole)
            reader.kwargs = map_arg(reader.kwargs, whole)


def _read_the_changed(node: fx.Node) -> None:
    """Let later readers of an operand read the result; earlier ones keep it as it was."""
    operand: Any = node.args[0]
    place = {each: i for i, each in enumerate(node.graph.nodes)}
    for reader in list(operand.users):
        if place[reader] > place[node]:
            reader.replace_input_with(operand, node)
    kept = [reader for reader in operand.users if reader is not node]
    if kept or operand.op in ("placeholder", "get_attr"):
        with node.graph.inserting_before(node):
            copy = node.graph.call_method("clone", (operand,))
        copy.meta = dict(operand.meta)
        copy.meta.pop(NAME, None)
        node.replace_input_with(operand, copy)


class InTraining(nn.Module):
    """A function that computes otherwise in training, told the mode that the module is in.

    Args:
        function: Takes `training` by name.
        names: The names of the tensors it takes, in order.
        settings: What else it takes.
    """

    def __init__(
        self, function: Callable[..., torch.Tensor], names: Sequence[str],
        settings: Mapping[str, Any],
    ) -> None:  # fmt: skip
        super().__init__()
        self.function = function
        self.names = tuple(names)
        self.settings = dict(settings)

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        """What the function makes of them."""
        given = dict(zip(self.names, tensors, strict=True))
        return self.function(**given, **self.settings, training=self.training)

    def extra_repr(self) -> str:
        """The function and its settings."""
        return ", ".join((self.function.__name__, *(f"{k}={v}" for k, v in self.settings.items())))


def _as_module(node: fx.Node, module: fx.GraphModule) -> None:
    """Functional dropout or batch norm as a module: tracing saw it in eval mode only."""
    function: Any = node.target
    try:
        bound = inspect.signature(function).bind(*node.args, **node.kwargs)
    except (TypeError, ValueError):
        return  # an operator of an exported program: its mode is fixed
    bound.apply_defaults()
    given = dict(bound.arguments)
    mode = given.pop("training", None)
    if mode is None or (mode and plain(function_name(node)) == "batchnorm"):
        return  # it has no running statistics, and takes those of the batch in eval mode too
    given.pop("inplace", None)
    names = [name for name, value in given.items() if isinstance(value, fx.Node)]
    settings = {name: value for name, value in given.items() if name not in names}
    kind, count = "norm" if plain(function_name(node)) == "batchnorm" else "dropout", 0
    while hasattr(module, name := f"{kind}_{count}"):
        count += 1
    node.meta.setdefault(NAME_OF, _path(node))
    module.add_submodule(name, InTraining(function, names, settings))
    module.get_submodule(name).training = module.training
    node.op, node.target = "call_module", name
    node.args, node.kwargs = tuple(given[name] for name in names), {}


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
    if NAME_OF in node.meta:
        return str(node.meta[NAME_OF])
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


def interpret(module: fx.GraphModule, inputs: Mapping[str, torch.Tensor]) -> None:
    """Write every node's value into its `meta`.

    Args:
        module: Any graph module.
        inputs: Examples by the name of the placeholder; those without one keep their defaults.

    Raises:
        UsageError: There is no example for an input.
        FAILURES: It does not run on these.
    """
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with as_at_inference(module):
        for node in list(module.graph.nodes):
            if node.op == "output":
                continue
            if node.op != "placeholder":
                value = evaluate(node, module, mode)
            elif (given := inputs.get(str(node.target).lstrip("*"))) is not None:
                with mode:
                    value = torch.empty(tuple(given.shape), dtype=given.dtype, device=given.device)
            elif node.args:
                value = node.args[0]
            else:
                raise UsageError(f"no example for input '{node.target}'")
            if holds_tensor(value):
                node.meta[VALUE] = value
            elif node.target is operator.setitem:
                raise TypeError(f"'{node.name}' writes into a tensor that it is given")
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
