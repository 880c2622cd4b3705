# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""What the families of operators share: values to read, and operators as an opset spells them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from hypothesis import strategies as st

from tests.random_networks.network import Network, UnusableError

T = TypeVar("T")


class Draw(Protocol):
    """Who decides: Hypothesis, whose failures shrink, or a seeded generator, which never tires."""

    def one_of(self, *values: Any) -> Any:
        """One of a few values, the first the simplest."""
        ...

    def number(self, low: int, high: int) -> int:
        """A whole number, both ends possible."""
        ...

    def some(self, values: Sequence[T], least: int, most: int, *, unique: bool = False) -> list[T]:
        """Some of a few values, in any order."""
        ...

    def order(self, count: int) -> list[int]:
        """An order of so many."""
        ...

    def yes(self) -> bool:
        """A choice, No the simpler."""
        ...


@dataclass(frozen=True)
class Shrinking:
    """Hypothesis decides."""

    draw: st.DrawFn

    def one_of(self, *values: Any) -> Any:
        """See `Draw`."""
        return self.draw(st.sampled_from(values))

    def number(self, low: int, high: int) -> int:
        """See `Draw`."""
        return self.draw(st.integers(low, high))

    def some(self, values: Sequence[T], least: int, most: int, *, unique: bool = False) -> list[T]:
        """See `Draw`."""
        each = st.sampled_from(values)
        return self.draw(st.lists(each, min_size=least, max_size=most, unique=unique))

    def order(self, count: int) -> list[int]:
        """See `Draw`."""
        return list(self.draw(st.permutations(range(count))))

    def yes(self) -> bool:
        """See `Draw`."""
        return self.draw(st.booleans())


@dataclass(frozen=True)
class Seeded:
    """A generator decides, every way alike."""

    by: random.Random

    def one_of(self, *values: Any) -> Any:
        """See `Draw`."""
        return self.by.choice(values)

    def number(self, low: int, high: int) -> int:
        """See `Draw`."""
        return self.by.randint(low, high)

    def some(self, values: Sequence[T], least: int, most: int, *, unique: bool = False) -> list[T]:
        """See `Draw`."""
        if unique:
            return self.by.sample(values, self.by.randint(least, min(most, len(values))))
        return [self.by.choice(values) for _ in range(self.by.randint(least, most))]

    def order(self, count: int) -> list[int]:
        """See `Draw`."""
        return self.by.sample(range(count), count)

    def yes(self) -> bool:
        """See `Draw`."""
        return self.by.random() < 0.5


EXTENTS = (3, 1, 5, 2, 8, 17, 33)
WIDTHS = (3, 1, 4, 8, 5, 16, 17, 33)
FLOATS = ("float32", "float16", "float64")
INTEGERS = ("int64", "int32", "int8", "uint8", "int16", "uint16", "uint32", "uint64")


def picked(
    draw: Draw, n: Network, kinds: str | Sequence[str] = "f", ranks: Sequence[int] = range(7),
    like: str = "",
) -> str:  # fmt: skip
    """A value of a kind (numpy's letters, or names of types) and rank, the newest the simplest.

    `like` asks for the shape and type of another value.

    Raises:
        UnusableError: There is none.
    """
    found = [
        name
        for name, value in reversed(n.values.items())
        if name not in n.stored
        and (value.array.dtype.kind in kinds if isinstance(kinds, str) else value.dtype in kinds)
        and value.array.ndim in ranks
        and (not like or (value.shape, value.dtype) == (n[like].shape, n[like].dtype))
    ]
    if not found:
        raise UnusableError
    return draw.one_of(*found[:6])


def axes_of(draw: Draw, rank: int, most: int = 4) -> list[int]:
    """Axes, of either sign, none twice."""
    some = draw.some(range(rank), 1, most, unique=True)
    return [a - rank if draw.yes() else a for a in some]


def axis_of(draw: Draw, rank: int) -> int:
    """An axis, of either sign."""
    return draw.number(-rank, rank - 1) if rank else 0


def named(n: Network, since: int, name: str, value: list[int]) -> dict[str, Any]:
    """A list of numbers as an attribute, where the opset has it so; see `read`."""
    return {name: value} if n.opset < since else {}


def read(n: Network, since: int, value: list[int]) -> list[str]:
    """A list of numbers as an input, where the opset has it so."""
    return [n.put(value, "int64")] if n.opset >= since else []


def operand(draw: Draw, n: Network, like: str, kind: str = "normal") -> str:
    """A second operand for an elementwise operator: stored or not, of its shape or repeated."""
    value = n[like]
    shape = list(value.shape)
    form = draw.one_of("stored", "other", "same", "input")
    if form == "same":
        return like
    if form == "other":
        return picked(draw, n, [value.dtype], like=like if draw.yes() else "")
    # Leading ones may go, and any axis may be repeated.
    shape = shape[draw.number(0, len(shape)) :]
    shape = [1 if draw.one_of(0, 0, 1) else size for size in shape]
    make = n.weight if form == "stored" else n.input
    return make(value.dtype, tuple(shape), filling(draw, value.dtype, kind))


def filling(draw: Draw, dtype: str, kind: str = "normal") -> str:
    """A kind of values for a type; `kind` itself for floats, or with ties."""
    if dtype == "bool":
        return "yes"
    if dtype == "uint8":
        return draw.one_of("small", "pixels")
    if np.dtype(dtype).kind in "iu":
        return "whole" if np.dtype(dtype).kind == "i" else "small"
    return kind if kind != "normal" else draw.one_of("normal", "normal", "ties", "zeros")
