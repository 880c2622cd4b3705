# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Single operators as modules: what ONNX has a node for, with its constants as buffers.

Quantising and packing are made of them. Where a gradient is wanted, rounding lets it pass
straight through, and what only moves bits about gives back what it gets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from splitc_passes.layers.straight_through import wants_gradient

Numbers = np.ndarray[Any, np.dtype[Any]]


class _Constants(nn.Module):
    """A module whose buffers keep their element types, whatever network it is put into."""

    def hold(self, name: str, numbers: Numbers) -> None:
        """Keep numbers as a buffer that no state dict lists: they follow from the settings."""
        self.register_buffer(name, torch.from_numpy(numbers.copy()), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        def moved(t: Tensor) -> Tensor:
            return t.to(fn(t).device)

        return super()._apply(moved, recurse)


class HardSigmoid(nn.Module):
    """alpha * x + beta, held within [0, 1].

    Args:
        alpha: Factor.
        beta: Summand.
    """

    splitc_op: ClassVar[str] = "hardsigmoid"

    def __init__(self, alpha: float, beta: float) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta

    def forward(self, x: Tensor) -> Tensor:
        """`x` [any shape] brought into [0, 1]."""
        return (x * self.alpha + self.beta).clamp(0.0, 1.0)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"alpha={self.alpha!r}, beta={self.beta!r}"


class Times(_Constants):
    """Multiply by a number.

    Args:
        factor: The number.
    """

    splitc_op: ClassVar[str] = "mul"
    number: Tensor

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.hold("number", np.array(factor, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """`x` [any shape] times the number."""
        return x * self.number

    def extra_repr(self) -> str:
        """Its settings."""
        return f"factor={self.factor!r}"


class Plus(_Constants):
    """Add a number.

    Args:
        summand: The number.
    """

    splitc_op: ClassVar[str] = "add"
    number: Tensor

    def __init__(self, summand: float) -> None:
        super().__init__()
        self.summand = summand
        self.hold("number", np.array(summand, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """`x` [any shape] plus the number."""
        return x + self.number

    def extra_repr(self) -> str:
        """Its settings."""
        return f"summand={self.summand!r}"


class Floor(nn.Module):
    """The whole number below; its gradient passes straight through.

    Args:
        packing: Whether it is a step of packing, which training leaves out.
    """

    splitc_op: ClassVar[str] = "floor"

    def __init__(self, *, packing: bool = False) -> None:
        super().__init__()
        self.packing = packing

    def forward(self, x: Tensor) -> Tensor:
        """`x` [any shape] rounded down."""
        if not wants_gradient(x):
            return x.floor()
        return x if self.packing else x + (x.floor() - x).detach()


class ToType(nn.Module):
    """Convert to another element type; whole numbers that are trained through stay floats.

    Args:
        dtype: The element type. An unsigned one takes the whole number below.
    """

    splitc_op: ClassVar[str] = "cast"

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """`x` [any shape] in the element type."""
        if self.dtype.is_floating_point or not wants_gradient(x):
            return x.to(self.dtype)
        return x + (x.floor() - x).detach()

    def extra_repr(self) -> str:
        """Its settings."""
        return f"dtype={self.dtype}"


class Reshape(_Constants):
    """Another shape for the same elements; samples stay apart.

        x ──► reshape ──► x
        N,…               N,…

    Args:
        shape: The result's. Any number of samples may come where its rank and x's are above 1.
    """

    splitc_op: ClassVar[str] = "reshape"

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.hold("sizes", np.array(shape, np.int64))  # as ONNX stores it

    def forward(self, x: Tensor) -> Tensor:
        """`x` in the shape."""
        if wants_gradient(x):
            return x
        if x.dim() > 1 and len(self.shape) > 1:
            return x.reshape(len(x), *self.shape[1:])
        return x.reshape(self.shape)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"shape={self.shape}"


class Product(_Constants):
    """A matrix product by constants, exact where the terms and sums are.

        x ──► x @ matrix
        …,K   …,L

    Args:
        matrix: [K, L].
    """

    splitc_op: ClassVar[str] = "matmul"
    matrix: Tensor

    def __init__(self, matrix: Numbers) -> None:
        super().__init__()
        self.hold("matrix", matrix)

    def forward(self, x: Tensor) -> Tensor:
        """`x` times the matrix."""
        if wants_gradient(x):
            return x
        # Products of fp32 may run in a shorter type there; of fp64 they never do.
        if x.is_cuda or torch.is_autocast_enabled(x.device.type):
            return (x.double() @ self.matrix.double()).float()
        return x @ self.matrix

    def extra_repr(self) -> str:
        """Its settings."""
        return f"{self.matrix.tolist()}"


class AppendZeros(_Constants):
    """Zeros behind the elements of each sample.

        x ──► concat ──► x, zeros
        N,E              N,E+count

    Args:
        samples: N.
        count: How many zeros.
    """

    splitc_op: ClassVar[str] = "concat"
    zeros: Tensor

    def __init__(self, samples: int, count: int) -> None:
        super().__init__()
        self.hold("zeros", np.zeros((samples, count), np.float32))

    def forward(self, x: Tensor) -> Tensor:
        """`x` with the zeros."""
        if wants_gradient(x):
            return x
        zeros = self.zeros
        if len(zeros) != len(x):
            zeros = zeros[:1].expand(len(x), -1)
        return torch.cat([x, zeros], 1)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"count={self.zeros.shape[1]}"


class Leading(_Constants):
    """The first elements of each sample.

        x ──► slice ──► x
        N,E             N,count

    Args:
        count: How many.
    """

    splitc_op: ClassVar[str] = "slice"

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.hold("bounds", np.array([0, count, 1], np.int64))  # as ONNX stores them

    def forward(self, x: Tensor) -> Tensor:
        """The first columns of `x`."""
        return x if wants_gradient(x) else x[:, : self.count]

    def extra_repr(self) -> str:
        """Its settings."""
        return f"count={self.count}"
