# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false, reportUnknownLambdaType=false
"""From a module to an fx graph of its leaf modules and functions, shapes beside each node.

Tracing runs the module once on tensors without storage: shapes are numbers while it
traces, so that control flow on them is followed, arithmetic with them vanishes, and
only what depends on a tensor's values cannot be traced.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.node import map_arg
from torch.fx.proxy import TraceError

VALUE = "splitc_value"
"""Key of a node's value in its `meta`: what it gives, as tensors without storage."""

OP = "splitc_op"
"""Attribute of a module that is one layer: its op, in lower case."""

FAILURES = (
    RuntimeError, TypeError, ValueError, AttributeError, LookupError, NotImplementedError,
    AssertionError, NameError, ArithmeticError,
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
        self._evaluating = False

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
            return self.root(*args, **kwargs)

        return call, []

    def _placeholder(self, name: str, value: torch.Tensor | None) -> Any:
        if value is None:
            return None
        made: Any = super().create_proxy("placeholder", name, (), {})
        made.node.meta[VALUE] = self._mode.from_tensor(value)
        return made

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *more: Any, **named: Any
    ) -> Any:
        """A proxy of what the node gives; the value itself where it is no tensor."""
        proxy = super().create_proxy(kind, target, args, kwargs, *more, **named)
        value = self._evaluate(proxy.node)
        if not holds_tensor(value):
            self.graph.erase_node(proxy.node)
            return value
        proxy.node.meta[VALUE] = value
        return proxy

    def _evaluate(self, node: fx.Node) -> Any:
        self._evaluating = True
        try:
            return evaluate(node, self.root, self._mode)
        finally:
            self._evaluating = False

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Leaf modules become a node, except inside the evaluation of one."""
        if self._evaluating:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Parameters and buffers become nodes, except inside the evaluation of one."""
        if self._evaluating:
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


def evaluate(node: fx.Node, root: nn.Module, mode: FakeTensorMode) -> Any:
    """What a node gives, as tensors without storage, from its operands' values."""
    if node.op == "get_attr":
        return attribute(root, str(node.target))
    args, kwargs = map_arg((node.args, node.kwargs), lambda n: n.meta[VALUE])
    with mode, torch.no_grad():
        if node.op == "call_module":
            called = root.get_submodule(str(node.target))
            own = getattr(called, "weight", None)
            _refuse_mixture(type(called).__name__.lower(), (*args[:1], own))
            return called(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        function: Any = node.target
        _refuse_mixture(str(getattr(function, "__name__", "")), args[:2])
        return function(*args, **kwargs)


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


def trace(module: nn.Module, inputs: Examples) -> fx.GraphModule:
    """A module as a graph of its own leaf modules, with values in the nodes' `meta`.

    Raises:
        FAILURES: It cannot be traced.
    """
    before = set(vars(module))
    tracer = ShapeTracer(inputs)
    try:
        with as_at_inference(module):
            graph = tracer.trace(module)
        return fx.GraphModule(module, graph, type(module).__name__)
    finally:
        for name in set(vars(module)) - before:
            if name.startswith("_tensor_constant"):
                delattr(module, name)
