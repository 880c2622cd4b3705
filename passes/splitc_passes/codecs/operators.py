# SPDX-License-Identifier: Apache-2.0
"""Single operators to insert, each one ONNX node and one module with the same cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from splitc.ir.chain import Insertion

if TYPE_CHECKING:
    from onnx import NodeProto
    from torch import nn

Shape = tuple[int, ...]
Numbers = np.ndarray[Any, np.dtype[Any]]

SINGLE = "float32"


def hard_sigmoid(name: str, shape: Shape, alpha: float, beta: float) -> Insertion:
    """alpha x + beta within [0, 1], in one node of any opset."""

    def modules() -> Sequence[nn.Module]:
        from splitc_passes.layers.arithmetic import HardSigmoid

        return (HardSigmoid(alpha, beta),)

    attributes = {"alpha": alpha, "beta": beta}
    return _operator(
        name, "HardSigmoid", shape, modules, flops=3 * math.prod(shape), attributes=attributes
    )


def times(name: str, shape: Shape, factor: float) -> Insertion:
    """Multiplication by a number."""

    def modules() -> Sequence[nn.Module]:
        from splitc_passes.layers.arithmetic import Times

        return (Times(factor),)

    number = {"factor": np.array(factor, np.float32)}
    return _operator(name, "Mul", shape, modules, flops=math.prod(shape), stored=number)


def plus(name: str, shape: Shape, summand: float) -> Insertion:
    """Addition of a number."""

    def modules() -> Sequence[nn.Module]:
        from splitc_passes.layers.arithmetic import Plus

        return (Plus(summand),)

    number = {"summand": np.array(summand, np.float32)}
    return _operator(name, "Add", shape, modules, flops=math.prod(shape), stored=number)


def floor(name: str, shape: Shape, *, packing: bool = False) -> Insertion:
    """The whole number below; `packing` says that training leaves it out."""

    def modules() -> Sequence[nn.Module]:
        from splitc_passes.layers.arithmetic import Floor

        return (Floor(packing=packing),)

    return _operator(name, "Floor", shape, modules, flops=math.prod(shape))


def cast(name: str, shape: Shape, dtype: str) -> Insertion:
    """Conversion to another element type."""

    def modules() -> Sequence[nn.Module]:
        import torch

        from splitc_passes.layers.arithmetic import ToType

        return (ToType(getattr(torch, dtype)),)

    return _operator(name, "Cast", shape, modules, dtype=dtype, attributes={"to": dtype})


def reshape(name: str, shape: Shape) -> Insertion:
    """Another shape for the same elements."""

    def modules() -> Sequence[nn.Module]:
        from splitc_passes.layers.arithmetic import Reshape

        return (Reshape(shape),)

    return _operator(name, "Reshape", shape, modules, stored={"shape": np.array(shape, np.int64)})


def product(name: str, shape: Shape, matrix: Numbers) -> Insertion:
    """A product of what is read [..., K] by constants [K, L]; the result has the shape."""

    def modules() -> Sequence[nn.Module]:
        from splitc_passes.layers.arithmetic import Product

        return (Product(matrix),)

    flops = 2 * math.prod(shape) * matrix.shape[0]
    return _operator(name, "MatMul", shape, modules, flops=flops, stored={"matrix": matrix})


def append_zeros(name: str, shape: Shape, count: int) -> Insertion:
    """So many zeros behind each sample; the result has the shape [N, E]."""

    def modules() -> Sequence[nn.Module]:
        from splitc_passes.layers.arithmetic import AppendZeros

        return (AppendZeros(shape[0], count),)

    zeros = {"zeros": np.zeros((shape[0], count), np.float32)}
    return _operator(name, "Concat", shape, modules, stored=zeros, attributes={"axis": 1})


def leading(name: str, shape: Shape) -> Insertion:
    """The first elements of each sample, so many as the shape [N, E] says."""

    def modules() -> Sequence[nn.Module]:
        from splitc_passes.layers.arithmetic import Leading

        return (Leading(shape[1]),)

    bounds = {"starts": [0], "ends": [shape[1]], "axes": [1]}
    stored = {key: np.array(value, np.int64) for key, value in bounds.items()}
    return _operator(name, "Slice", shape, modules, stored=stored)


def _operator(
    name: str,
    op: str,
    shape: Shape,
    modules: Callable[[], Sequence[nn.Module]],
    *,
    dtype: str = SINGLE,
    flops: int = 0,
    stored: Mapping[str, Numbers] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Insertion:
    """One ONNX operator; what it stores are its further operands."""
    constants = dict(stored or {})

    def node(read: str, made: str) -> tuple[NodeProto, Mapping[str, Numbers]]:
        from onnx import helper

        arrays = {f"{made}.{key}": array for key, array in constants.items()}
        given = dict(attributes or {})
        if "to" in given:
            given["to"] = helper.np_dtype_to_tensor_dtype(np.dtype(given["to"]))
        return helper.make_node(op, [read, *arrays], [made], **given), arrays

    size = sum(array.nbytes for array in constants.values())
    return Insertion(name, op.lower(), shape, dtype, size, flops, modules=modules, node=node)
