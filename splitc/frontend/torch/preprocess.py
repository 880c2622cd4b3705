# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""What makes a frame what a network reads, as modules: one operator each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn


class Turned(nn.Module):
    """A map with its dimensions in another order, contiguous.

    Args:
        order: Which of the given dimensions stands where.
    """

    splitc_op: ClassVar[str] = "transpose"

    def __init__(self, order: Sequence[int]) -> None:
        super().__init__()
        self.order = tuple(order)

    def forward(self, x: Tensor) -> Tensor:
        """`x` [four dimensions], turned."""
        return x.permute(self.order).contiguous()

    def extra_repr(self) -> str:
        """Its settings."""
        return f"order={self.order}"


class Cast(nn.Module):
    """The same numbers as another element type.

    Args:
        dtype: Its name: float32, say.
    """

    splitc_op: ClassVar[str] = "cast"

    def __init__(self, dtype: str) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        """`x` [any shape] as that type."""
        return x.to(getattr(torch, self.dtype))

    def extra_repr(self) -> str:
        """Its settings."""
        return f"dtype={self.dtype}"


class Resized(nn.Module):
    """A map of another height and width: bilinear between pixel centres, without antialiasing.

    Args:
        size: Height and width.
    """

    splitc_op: ClassVar[str] = "resize"

    def __init__(self, size: Sequence[int]) -> None:
        super().__init__()
        self.size = tuple(size)

    def forward(self, x: Tensor) -> Tensor:
        """`x` [N, C, h, w] as [N, C, height, width]."""
        return nn.functional.interpolate(x, self.size, mode="bilinear", align_corners=False)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"size={self.size}"


class Reversed(nn.Module):
    """Channels the other way round.

    Args:
        axis: Where they are.
        count: How many.
    """

    splitc_op: ClassVar[str] = "gather"

    def __init__(self, axis: int, count: int) -> None:
        super().__init__()
        self.axis = axis
        order = torch.arange(count - 1, -1, -1)
        self.register_buffer("order", order, persistent=False)
        self.order: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """`x` [four dimensions], the last channel first."""
        return x.index_select(self.axis, self.order)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"axis={self.axis}"


class _ByChannel(nn.Module):
    """One number a channel; not trained, and in no state dict: the settings say it."""

    def __init__(self, values: Sequence[float], extents: Sequence[int]) -> None:
        super().__init__()
        self.values = tuple(values)
        numbers = torch.tensor(self.values, dtype=torch.float64).reshape(tuple(extents))
        self.register_buffer("by", numbers, persistent=False)
        self.by: Tensor

    def extra_repr(self) -> str:
        """Its settings."""
        return f"values={self.values}"


class Scaled(_ByChannel):
    """Each channel times a number of its own.

    Args:
        values: The numbers.
        extents: The shape they are broadcast from.
    """

    splitc_op: ClassVar[str] = "mul"

    def forward(self, x: Tensor) -> Tensor:
        """`x` [four dimensions], scaled."""
        return x * self.by


class Added(_ByChannel):
    """Each channel plus a number of its own.

    Args:
        values: The numbers.
        extents: The shape they are broadcast from.
    """

    splitc_op: ClassVar[str] = "add"

    def forward(self, x: Tensor) -> Tensor:
        """`x` [four dimensions], moved."""
        return x + self.by
