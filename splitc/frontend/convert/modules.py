# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Modules for what PyTorch has no module for: functions with settings, uneven padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Function(nn.Module):
    """A function of tensors as a module.

    Args:
        function: Called with the operands by position and the settings by name.
        settings: They are shown, and make two modules differ.
    """

    def __init__(self, function: Callable[..., Any], **settings: Any) -> None:
        super().__init__()
        self.function = function
        self.settings = settings

    def forward(self, *operands: Tensor) -> Any:
        """What the function gives."""
        return self.function(*operands, **self.settings)

    def extra_repr(self) -> str:
        """The function's name and the settings."""
        shown = [f"{name}={value!r}" for name, value in self.settings.items()]
        return ", ".join((getattr(self.function, "__name__", repr(self.function)), *shown))


class Padded(nn.Module):
    """A module behind padding that differs from side to side.

        x ──► pad ──► inner ──► y

    Args:
        inner: A convolution or pooling without padding of its own.
        pads: Elements before and after each spatial axis, the last axis first; negative
            ones crop.
        value: What is padded with.
    """

    def __init__(self, inner: nn.Module, pads: Sequence[int], value: float = 0.0) -> None:
        super().__init__()
        self.inner = inner
        self.pads = [int(each) for each in pads]
        self.value = value
        for name in ("kernel_size", "stride", "dilation", "groups"):
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))

    @property
    def weight(self) -> Tensor | None:
        """The inner module's weight."""
        return getattr(self.inner, "weight", None)

    def forward(self, x: Tensor, *more: Tensor) -> Tensor:
        """The inner module on `x` [N, C, …] padded."""
        return self.inner(F.pad(x, self.pads, value=self.value), *more)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"pads={self.pads}, value={self.value}"


class Cropped(nn.Module):
    """A module whose result is cropped: a transposed convolution with uneven padding.

        x ──► inner ──► crop ──► y

    Args:
        inner: A transposed convolution without padding of its own.
        crops: Elements to take off before and after each spatial axis, the last axis first.
    """

    def __init__(self, inner: nn.Module, crops: Sequence[int]) -> None:
        super().__init__()
        self.inner = inner
        self.crops = [int(each) for each in crops]
        for name in ("stride", "dilation", "groups"):
            if hasattr(inner, name):
                setattr(self, name, getattr(inner, name))

    @property
    def weight(self) -> Tensor | None:
        """The inner module's weight."""
        return getattr(self.inner, "weight", None)

    def forward(self, x: Tensor, *more: Tensor) -> Tensor:
        """The inner module's result [N, C, …] without its edges."""
        return F.pad(self.inner(x, *more), [-each for each in self.crops])

    def extra_repr(self) -> str:
        """Its settings."""
        return f"crops={self.crops}"


class Join(nn.Module):
    """Concatenation where a stored operand of one sample joins every sample of a batch.

    Args:
        axis: Along which it joins.
        samples: The axis of the batch, another one.
    """

    def __init__(self, axis: int, samples: int) -> None:
        super().__init__()
        self.axis = axis
        self.samples = samples

    def forward(self, *operands: Tensor) -> Tensor:
        """The operands, of N samples or of one, in one."""
        shape = [-1] * operands[0].dim()
        shape[self.samples] = max(each.shape[self.samples] for each in operands)
        return torch.cat([each.expand(shape) for each in operands], self.axis)

    def extra_repr(self) -> str:
        """Its settings."""
        return f"axis={self.axis}, samples={self.samples}"
