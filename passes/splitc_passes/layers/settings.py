# SPDX-License-Identifier: Apache-2.0
"""Settings of layers: attributes that are checked whenever they are set."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor

from splitc.errors import UsageError

T = TypeVar("T")


class Setting(Generic[T]):
    """An attribute of a layer that refuses what its check refuses, also when set later.

    Args:
        check: From the attribute's name and a value, the value to keep; raises what is
            said where the value cannot be.
    """

    def __init__(self, check: Callable[[str, T], T]) -> None:
        self.check = check
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> T:
        return vars(instance)[f"_{self.name}"]

    def __set__(self, instance: object, value: T) -> None:
        vars(instance)[f"_{self.name}"] = self.check(self.name, value)


def rate(name: str, value: float | Tensor) -> float | Tensor:
    """A share in [0, 1), or one for each sample [N].

    Raises:
        UsageError: It is outside [0, 1), or of another shape.
    """
    return _within(name, value, lambda v: (v >= 0) & (v < 1), "in [0, 1)")


def at_least_one(name: str, value: float | Tensor) -> float | Tensor:
    """A finite number from 1, or one for each sample [N].

    Raises:
        UsageError: It is below 1 or not finite, or of another shape.
    """
    return _within(name, value, lambda v: (v >= 1) & v.isfinite(), "a finite number from 1")


def decibels(name: str, value: float | Tensor) -> float | Tensor:
    """A ratio in dB, or one for each sample [N]; infinite for no noise.

    Raises:
        UsageError: It is no number or minus infinity, or of another shape.
    """
    return _within(name, value, lambda v: v > -math.inf, "a ratio in dB")


def deviation(name: str, value: float | Tensor) -> float | Tensor:
    """A standard deviation, or one for each sample [N].

    Raises:
        UsageError: It is below 0 or not finite, or of another shape.
    """
    return _within(name, value, lambda v: (v >= 0) & v.isfinite(), "a finite number from 0")


def bit_count(name: str, value: int) -> int:
    """Bits of one value, from 1 to 16.

    Raises:
        UsageError: It is something else.
    """
    if value not in range(1, 17):
        raise UsageError(f"{name} {value} is not a whole number from 1 to 16")
    return int(value)


def _within(
    name: str, value: float | Tensor, test: Callable[[Tensor], Tensor], wanted: str
) -> float | Tensor:
    if isinstance(value, Tensor):
        if value.dim() > 1 or not value.numel():
            why = f"it has the shape {tuple(value.shape)}; it takes one number for each sample"
            raise UsageError(f"{name} is not one number for each sample", why=why)
        each = value.reshape(-1)
        bad = each[~test(each)]
        if bad.numel():
            raise UsageError(f"{name} {bad[0].item():g} is not {wanted}")
        return value
    if not test(torch.tensor(value, dtype=torch.float64)):
        raise UsageError(f"{name} {value:g} is not {wanted}")
    return float(value)
