# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
# pyright: reportPrivateUsage=false
"""From a module to an fx graph of its leaf modules and functions, shapes beside each node.

Tracing runs the module once on tensors without storage: shapes are numbers while it
traces, so that control flow on them is followed, arithmetic with them vanishes, and
only what depends on a tensor's values cannot be traced.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.node import map_arg
from torch.fx.proxy import TraceError
from torch.utils._python_dispatch import TorchDispatchMode

VALUE = "splitc_value"
"""Key of a node's value in its `meta`: what it gives, as tensors without storage."""

OP = "splitc_op"
"""Attribute of a module that is one layer: its op, in lower case."""

FAILURES = (
    RuntimeError, TypeError, ValueError, AttributeError, LookupError, NotImplementedError,
    AssertionError, NameError, ArithmeticError, SyntaxError,
)  # fmt: skip
"""What a module's code, fx and torch.export raise when they cannot go on."""

_OPEN = (nn.Transformer, nn.TransformerEncoder, nn.TransformerEncoderLayer,
         nn.TransformerDecoder, nn.TransformerDecoderLayer)  # fmt: skip
"""PyTorch's own modules that hold blocks a network may be cut between."""


@dataclass(frozen=True)
class Examples:
    """Example values by the name of `forward`'s argument; None is passed on as it is.

    Args:
        args: Those it takes by position, in order.
        kwargs: Those it takes by name.
    """

    args: Mapping[str, torch.Tensor | None]
    kwargs: Mapping[str, torch.Tensor | None]

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors among them."""
        return {n: t for n, t in {**self.args, **self.kwargs}.items() if t is not None}


class _Proxy(fx.Proxy):
    """A value under trace that knows its shape and element type."""

    @property
    def _value(self) -> Any:
        return self.node.meta[VALUE]

    def __getattr__(self, k: str) -> Any:
        found = getattr(self._value, k)
        if isinstance(found, torch.Tensor):
            if isinstance(self._value, tuple):
                return self[next(i for i, each in enumerate(self._value) if each is found)]
            return self.tracer.create_proxy("call_function", getattr, (self, k), {})
        return super().__getattr__(k) if callable(found) else found

    def __len__(self) -> int:
        return len(self._value)

    def __getitem__(self, key: Any) -> Any:
        value = self._value
        if isinstance(key, slice) and isinstance(value, list | tuple):
            return tuple(self[i] for i in range(*key.indices(len(value))))
        return self.tracer.create_proxy("call_function", operator.getitem, (self, key), {})

    def __contains__(self, item: object) -> bool:
        return item in self._value


class ShapeTracer(fx.Tracer):
    """Traces with example inputs: leaf modules stay, containers are traced through.

    Args:
        inputs: Example values.
    """

    proxy_buffer_attributes = True

    def __init__(self, inputs: Examples) -> None:
        super().__init__()
        self._inputs = inputs
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        self.evaluating = False
        self._autocast = any(map(torch.is_autocast_enabled, ("cpu", "cuda")))

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """A proxy that knows its value."""
        return _Proxy(node, self)

    def create_args_for_root(
        self, root_fn: Callable[..., Any], is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        """A placeholder for each example; other arguments keep their defaults.

        The root is called as a module, so that its hooks are traced too.
        """
        args = [self._placeholder(name, value) for name, value in self._inputs.args.items()]
        kwargs = {
            name: self._placeholder(name, value) for name, value in self._inputs.kwargs.items()
        }

        def call() -> Any:
            return _without_classes(self.root(*args, **kwargs))

        return call, []

    def _placeholder(self, name: str, value: torch.Tensor | None) -> Any:
        if value is None:
            return None
        made: Any = super().create_proxy("placeholder", name, (), {})
        made.node.meta[VALUE] = self._mode.from_tensor(value)
        return made

    def create_arg(self, a: Any) -> Any:
        """A tensor that is no parameter or buffer is a constant, with a value as all have."""
        made: Any = super().create_arg(a)
        if isinstance(made, fx.Node) and made.op == "get_attr" and VALUE not in made.meta:
            made.meta[VALUE] = self._evaluate(made)
        return made

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **named: Any
    ) -> Any:
        """A proxy of what the node gives; the value itself where it is no tensor."""
        if any(map(torch.is_autocast_enabled, ("cpu", "cuda"))) != self._autocast:
            raise TraceError("forward casts by itself, in torch.autocast")
        proxy = super().create_proxy(kind, target, args, kwargs, *more, **named)
        value = self._evaluate(proxy.node)
        if not holds_tensor(value):
            self.graph.erase_node(proxy.node)
            return value
        proxy.node.meta[VALUE] = value
        return proxy

    def _evaluate(self, node: fx.Node) -> Any:
        self.evaluating = True
        try:
            return evaluate(node, self.root, self._mode)
        finally:
            self.evaluating = False

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Leaf modules become a node, except inside the evaluation of one."""
        if self.evaluating:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Parameters and buffers become nodes, except inside the evaluation of one."""
        if self.evaluating:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """PyTorch's own modules that compute, and those that name their op; never the root."""
        if not module_qualified_name or isinstance(m, _OPEN):
            return False
        if hasattr(m, OP):
            return True
        return super().is_leaf_module(m, module_qualified_name)

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """The elements of a tuple, or along a tensor's first dimension."""
        values: Any = obj
        return iter([values[i] for i in range(len(obj.node.meta[VALUE]))])

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Refused: it depends on a tensor's values."""
        raise TraceError(f"'{obj.node.name}' decides what is computed")


def _without_classes(value: Any) -> Any:
    """A result with its data classes, named tuples and mappings as plain dicts and tuples."""
    if isinstance(value, Mapping):
        return {key: _without_classes(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_without_classes(each) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _without_classes(getattr(value, f.name)) for f in fields(value)}
    return value


def evaluate(node: fx.Node, root: nn.Module, mode: FakeTensorMode) -> Any:
    """What a node gives, as tensors without storage, from its operands' values."""
    if node.op == "get_attr":
        found = attribute(root, str(node.target))
        return mode.from_tensor(found) if isinstance(found, torch.Tensor) else found
    args: Any
    kwargs: Any
    args, kwargs = map_arg((node.args, node.kwargs), lambda n: n.meta[VALUE])
    with mode, torch.no_grad():
        if node.op == "call_module":
            called: Any = root.get_submodule(str(node.target))
            own = getattr(called, "weight", None)
            _refuse_mixture(type(called).__name__.lower(), (*args[:1], own))
            if _normalises(called) and len(args) == 1 and args[0].dim() > 1:
                called._check_input_dim(args[0])
                if args[0].shape[1] == called.num_features:
                    return torch.empty_like(args[0])  # hundreds of times quicker
            return called(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        function: Any = node.target
        _refuse_mixture(str(getattr(function, "__name__", "")), args[:2])
        return function(*args, **kwargs)


def _normalises(called: nn.Module) -> bool:
    """Whether a module is a plain batch norm, which gives tensors like what it gets."""
    hooks = called._forward_hooks or called._forward_pre_hooks
    return type(called) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d) and not hooks


_STRICT = ("linear", "conv1d", "conv2d", "conv3d", "matmul")


def _refuse_mixture(name: str, operands: Sequence[Any]) -> None:
    """Raise where tensors without storage would pass and real ones fail: two element types."""
    kinds = [each.dtype for each in operands if isinstance(each, torch.Tensor)]
    if name in _STRICT and len(set(kinds)) > 1:
        raise TypeError(f"{name} of {kinds[0]} and {kinds[1]}")


def attribute(root: nn.Module, path: str) -> Any:
    """The attribute of a module at a dotted path."""
    found: Any = root
    for name in path.split("."):
        found = getattr(found, name)
    return found


def holds_tensor(value: Any) -> bool:
    """Whether a value is a tensor, or a container with one in it."""
    if isinstance(value, torch.Tensor):
        return True
    if isinstance(value, Mapping):
        return any(holds_tensor(each) for each in value.values())
    return isinstance(value, list | tuple) and any(holds_tensor(each) for each in value)


@contextmanager
def as_at_inference(module: nn.Module) -> Generator[None]:
    """Eval mode, no gradients; afterwards every module's own mode and the random state are back.

    Flags are set one by one: modules that come from torch.export refuse `eval()`.
    """
    training = [(each, each.training) for each in module.modules()]
    devices = sorted({p.device.index for p in module.parameters() if p.device.type == "cuda"})
    try:
        for each, _ in training:
            each.training = False
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            yield
    finally:
        for each, mode in training:
            each.training = mode


class _NoDraws(TorchDispatchMode):
    """Fails where forward draws random numbers of no traced value: one draw would be stored."""

    def __init__(self, tracer: ShapeTracer) -> None:
        super().__init__()
        self._tracer = tracer

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # fmt: skip
        if torch.Tag.nondeterministic_seeded in func.tags and not self._tracer.evaluating:
            raise TraceError(f"forward draws random numbers: {func}")
        return func(*args, **(kwargs or {}))


def trace(module: nn.Module, inputs: Examples) -> fx.GraphModule:
    """A module as a graph of its own leaf modules, with values in the nodes' `meta`.

    Raises:
        FAILURES: It cannot be traced.
    """
    tracer = ShapeTracer(inputs)
    with kept(module) as changed:
        with as_at_inference(module), _NoDraws(tracer):
            graph = tracer.trace(module)
        made = graph_module(module, graph, type(module).__name__)
    if changed:
        raise TraceError(f"forward assigns '{min(changed)}'")
    return made


def graph_module(source: nn.Module, graph: fx.Graph, name: str) -> fx.GraphModule:
    """A graph with the parameters, buffers and submodules of a module: the very objects.

    What is not in the source's `state_dict`, buffers and constants, is not in the result's.
    """
    made = fx.GraphModule(source, graph, name)
    for path in {str(node.target) for node in graph.nodes if node.op == "get_attr"}:
        place, _, last = path.rpartition(".")
        owner = source.get_submodule(place)
        stays = owner._parameters.keys() | owner._buffers.keys() - owner._non_persistent_buffers_set
        if last not in stays:
            made.get_submodule(place)._non_persistent_buffers_set.add(last)
    for each in made.modules():
        if type(each) is nn.Module:  # fx makes them for the paths of the others
            each.training = made.training
    return made


@contextmanager
def kept(module: nn.Module) -> Generator[set[str]]:
    """Afterwards every module has the attributes of before: a run leaves its values in them.

    Yields:
        Afterwards, the names of parameters and buffers that were assigned.
    """
    owned = [vars(each) for each in module.modules()]
    held = [*owned, *(v for own in owned for v in own.values() if isinstance(v, dict))]
    before: list[tuple[dict[str, Any], dict[str, Any]]] = [(each, dict(each)) for each in held]
    lists = [(v, list(v)) for own in owned for v in own.values() if isinstance(v, list)]
    stored = [own[kind] for own in owned for kind in ("_buffers", "_parameters")]
    changed: set[str] = set()
    try:
        yield changed
    finally:
        for now, then in before:
            if any(now is each for each in stored):
                changed.update(name for name in then if now.get(name) is not then[name])
            now.clear()
            now.update(then)
        for values, then in lists:
            values[:] = then
