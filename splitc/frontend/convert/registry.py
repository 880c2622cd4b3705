# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""What converters of ONNX operators are given, what they give back, and the table of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch
from onnx import NodeProto
from torch import nn

from splitc.arrays import Array
from splitc.errors import UnsupportedOpError
from splitc.frontend.onnx.flops import attributes
from splitc.ir.graph import Tensor
from splitc.plugins import plugins

_HARMLESS = frozenset((
    "kernel_shape", "storage_order", "stash_type", "saturate", "sorted", "seed", "consumed_inputs",
    "allowzero", "num_outputs", "split", "extrapolation_value",
    "round_mode", "ceil_mode", "keepdims", "momentum", "cubic_coeff_a", "exclude_outside",
    "nearest_mode",
))  # fmt: skip
"""Attributes that the shapes of results tell already, or that change no result at inference."""

_NO_TENSOR = ("string", "sequence", "optional", "unknown")


@dataclass(frozen=True, eq=False)
class Operand:
    """What a node reads.

    Args:
        tensor: Its name, shape and element type.
        value: The array, where it is the same whatever the network is given.
        batch_axis: Along which axis the samples of the network's inputs are, if along one.
        learned: Whether it is computed with weights.
    """

    tensor: Tensor
    value: Array | None = None
    batch_axis: int | None = None
    learned: bool = False


@dataclass(frozen=True, eq=False)
class Call:
    """A function or method to call instead of a module.

    Args:
        target: A function, or the name of a tensor's method.
        args: What it is called with; an `Operand`, also in a list, stands for its value.
    """

    target: Callable[..., Any] | str
    args: tuple[Any, ...]


@dataclass
class Parameters:
    """Parameters made of an ONNX model's weights, each once however many layers read it."""

    made: dict[tuple[str, str], nn.Parameter] = field(
        default_factory=dict[tuple[str, str], nn.Parameter]
    )

    def get(self, operand: Operand, form: str, change: Callable[[Array], Array]) -> nn.Parameter:
        """The parameter of a stored weight in one form: as it is, transposed…"""
        assert operand.value is not None
        key = operand.tensor.name, form
        if key not in self.made:
            tensor = torch_tensor(change(operand.value))
            self.made[key] = nn.Parameter(tensor, requires_grad=tensor.is_floating_point())
        return self.made[key]


class Node:
    """A layer of an ONNX network, for a converter to read.

    Operands are counted from 0. Those that a converter takes as constants, weights or
    optional settings are not passed to the module that it returns; the others are, in order.

    Args:
        proto: The ONNX node.
        opset: Version of the operator set that it is of.
        operands: What it reads; None for an operand left out.
        results: What it makes, with shapes as far as they are known.
        read: Names of the results that something reads.
        batch: The number of samples in the network's inputs.
        parameters: Where its weights are kept.
    """

    def __init__(
        self,
        proto: NodeProto,
        opset: int,
        operands: Sequence[Operand | None],
        results: Sequence[Tensor],
        read: Collection[str],
        batch: int | None,
        parameters: Parameters,
    ) -> None:
        self.op = proto.op_type
        self.opset = opset
        self.operands = tuple(operands)
        self.results = tuple(results)
        self.read = frozenset(read)
        self.batch = batch
        self.taken: set[int] = set()
        self.trained: set[int] = set()
        self.weighted = False
        self.placed = False
        self.batch_axis: int | None = None
        self._attributes = attributes(proto)
        self._unread = set(self._attributes) - _HARMLESS
        self._schema = (self.op, opset, "" if proto.domain == "ai.onnx" else proto.domain)
        self._parameters = parameters

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute as a Python value; text as `str`."""
        self._unread.discard(name)
        value = self._attributes.get(name, default)
        return value.decode(errors="replace") if isinstance(value, bytes) else value

    def has(self, k: int) -> bool:
        """Whether operand k is given."""
        return k < len(self.operands) and self.operands[k] is not None

    def operand(self, k: int) -> Operand:
        """Operand k.

        Raises:
            UnsupportedOpError: It is left out.
        """
        found = self.operands[k] if k < len(self.operands) else None
        if found is None:
            raise UnsupportedOpError(f"it has no operand {k}")
        return found

    def samples(self, k: int = 0) -> int | None:
        """The axis along which operand k has the samples of a batch."""
        return self.operand(k).batch_axis

    def shape(self, k: int) -> tuple[int, ...]:
        """The shape of operand k.

        Raises:
            UnsupportedOpError: It depends on data.
        """
        return _fixed(self.operand(k).tensor)

    def result_shape(self, k: int = 0) -> tuple[int, ...]:
        """The shape of result k.

        Raises:
            UnsupportedOpError: It depends on data.
        """
        return _fixed(self.results[k])

    def axis(self, value: int, rank: int) -> int:
        """An axis counted from the front."""
        return value + rank if value < 0 else value

    def is_constant(self, k: int) -> bool:
        """Whether operand k is given and the same whatever the network is given."""
        return self.has(k) and self.operand(k).value is not None

    def constant(self, k: int) -> Array:
        """The array of operand k, which the converter takes.

        Raises:
            UnsupportedOpError: It is computed from the network's inputs.
        """
        value = self.operand(k).value
        if value is None:
            raise UnsupportedOpError(f"operand {k}, '{self.operand(k).tensor.name}', is computed")
        self.taken.add(k)
        return value

    def optional(self, k: int) -> Array | None:
        """The array of operand k, or None where it is left out; the converter takes it."""
        return self.constant(k) if self.has(k) else None

    def setting(self, name: str, k: int) -> Array | None:
        """What older operator sets have as an attribute and newer ones as operand k."""
        value = self.attribute(name)
        return self.optional(k) if value is None else np.asarray(value)

    def ignore(self, k: int) -> None:
        """Take operand k, whatever it is: what it says is known otherwise."""
        self.taken.add(k)

    def parameter(
        self, k: int, form: str = "", change: Callable[[Array], Array] = np.asarray
    ) -> nn.Parameter:
        """The weight that operand k is, to be trained; the converter takes it.

        Args:
            k: Which operand.
            form: Names the change: layers that read one weight in one form share it.
            change: Brings the array into the form that the module has it in.

        Raises:
            UnsupportedOpError: It is computed from the network's inputs.
        """
        self.constant(k)
        self.weighted = True
        return self._parameters.get(self.operand(k), form, change)

    def train(self, k: int) -> None:
        """Let operand k, where it is a constant with a fraction, be passed as a parameter."""
        value = self.operand(k).value
        if value is not None and self.operand(k).tensor.dtype in ("float32", "float64", "float16"):
            self.trained.add(k)
            self.weighted = True

    def place_batch(self, axis: int | None) -> None:
        """Say along which axis of the results the samples are, where no rule can tell."""
        self.placed = True
        self.batch_axis = axis

    def refuse_unread(self) -> None:
        """Refuse a node with an attribute that nobody asked for and that is not its default.

        Raises:
            UnsupportedOpError: Names the attributes.
        """
        known = onnx.defs.get_schema(*self._schema).attributes if (
            self._unread and onnx.defs.has(self.op, *self._schema[1:])) else {}  # fmt: skip
        shown = [
            f"{name}={self._attributes[name]}"
            for name in sorted(self._unread)
            if name not in known or self._attributes[name] != _default(known[name])
        ]
        if shown:
            raise UnsupportedOpError(f"unknown attribute {', '.join(shown)}")

    def refuse_results(self, first: int = 1) -> None:
        """Refuse a node of which more than the first results are read.

        Raises:
            UnsupportedOpError: Names the result.
        """
        for tensor in self.results[first:]:
            if tensor.name in self.read:
                raise UnsupportedOpError(f"its result '{tensor.name}' is read")


def _default(attribute: onnx.defs.OpSchema.Attribute) -> Any:
    default = attribute.default_value
    return onnx.helper.get_attribute_value(default) if default.name else None


def _fixed(tensor: Tensor) -> tuple[int, ...]:
    if tensor.shape is None or any(extent is None for extent in tensor.shape):
        raise UnsupportedOpError(f"the shape of '{tensor.name}' depends on data")
    return tensor.static_shape


def torch_tensor(array: Array) -> torch.Tensor:
    """A tensor with a copy of an array's values.

    Raises:
        UnsupportedOpError: PyTorch has no such element type.
    """
    dtype = torch_dtype(array.dtype.name)
    if dtype is torch.bfloat16:
        return torch.from_numpy(np.array(array, order="C").view(np.int16)).view(dtype)
    try:
        return torch.from_numpy(np.array(array, order="C"))
    except TypeError as error:
        raise UnsupportedOpError(f"PyTorch takes no constants of {array.dtype.name}") from error


def torch_dtype(name: str) -> torch.dtype:
    """PyTorch's element type of that name.

    Raises:
        UnsupportedOpError: There is none.
    """
    found: Any = None if name in _NO_TENSOR else getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        raise UnsupportedOpError(f"PyTorch has no tensors of {name}")
    return found


Converter = Callable[[Node], nn.Module | Call]
_CONVERTERS: dict[tuple[str, str], Converter] = {}


def converts(*ops: str, domain: str = "") -> Callable[[Converter], Converter]:
    """Register a converter of ONNX operators; it replaces one registered before.

        @converts("Swish", domain="my.ops")
        def swish(node: Node) -> nn.Module:
            return nn.SiLU()

    A converter gets a `Node` and returns an `nn.Module`, which is called with the operands
    that the converter has not taken, or a `Call`. It raises `UnsupportedOpError`, with the
    reason as its first argument, where it cannot.

    Args:
        ops: Names of the operators.
        domain: Their domain; "" is ONNX's own.
    """

    def register(converter: Converter) -> Converter:
        for op in ops:
            _CONVERTERS[domain, op] = converter
        return converter

    return register


def converter_of(node: NodeProto) -> Converter | None:
    """The converter of a node's operator, a pack's if need be; None where there is none."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    if (domain, node.op_type) not in _CONVERTERS:
        name = f"{domain}::{node.op_type}" if domain else node.op_type
        module = plugins().converters.get(name)
        if module is not None:
            importlib.import_module(module)
    return _CONVERTERS.get((domain, node.op_type))


def converted_ops() -> Mapping[str, tuple[str, ...]]:
    """Names of the operators that have a converter, by domain."""
    found: dict[str, list[str]] = {}
    for domain, op in sorted(_CONVERTERS):
        found.setdefault(domain, []).append(op)
    return {domain: tuple(ops) for domain, ops in found.items()}
