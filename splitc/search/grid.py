# SPDX-License-Identifier: Apache-2.0
"""Grids of conditions: how busy the device may be, and how quick the link.

In TOML; what is left out is not stressed, or the paper's::

    cpu = [0.0, 0.3, 0.6, 0.9]        # shares of the device's arithmetic that others take
    memory = [0.0, 0.5]               # shares of its memory's bandwidth
    bandwidth = ["10Mbit", "50Mbit"]  # of the link
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from splitc.cost.stress import Stress
from splitc.errors import UsageError, nearest
from splitc.link.link import parse_bandwidth

MOST_CONDITIONS = 10_000
_MOST_BYTES = 2**20
_HINT = "examples/conditions.toml is one"


class Point(NamedTuple):
    """A condition: shares of the device that others take, and the link's bits a second."""

    cpu: float
    memory: float
    bandwidth_bps: float

    @property
    def stress(self) -> Stress:
        """What the device does beside."""
        return Stress(self.cpu, self.memory)

    def __str__(self) -> str:
        busy = f"CPU {100 * self.cpu:g} %, memory {100 * self.memory:g} %"
        return f"{busy}, {self.bandwidth_bps / 1e6:g} Mbit/s"


@dataclass(frozen=True)
class Grid:
    """Every combination of some stresses and bandwidths.

    Args:
        cpu: Shares of the device's arithmetic that others take, ascending.
        memory: Shares of its memory's bandwidth, ascending.
        bandwidths_bps: Bits a second, descending.

    Raises:
        UsageError: A value is out of its range or there twice, or there are none or too many.
    """

    cpu: tuple[float, ...]
    memory: tuple[float, ...]
    bandwidths_bps: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, values in (
            ("cpu", self.cpu), ("memory", self.memory), ("bandwidth", self.bandwidths_bps),
        ):  # fmt: skip
            if not values:
                raise UsageError(f"the grid of conditions has no {name}", hint=_HINT)
            if len({*values}) < len(values):
                raise UsageError(f"the grid of conditions has one {name} twice")
        for share in self.cpu:
            Stress(cpu=share)
        for share in self.memory:
            Stress(memory=share)
        for bits in self.bandwidths_bps:
            parse_bandwidth(bits)
        count = len(self.cpu) * len(self.memory) * len(self.bandwidths_bps)
        if count > MOST_CONDITIONS:
            raise UsageError(f"{count:,} conditions; {MOST_CONDITIONS:,} at most")

    @cached_property
    def points(self) -> tuple[Point, ...]:
        """Every combination, the bandwidth changing quickest."""
        return tuple(map(Point._make, product(self.cpu, self.memory, self.bandwidths_bps)))


PAPER = Grid(
    tuple(k / 10 for k in range(10)), tuple(k / 10 for k in range(10)), (50e6, 37.5e6, 25e6, 10e6)
)
"""CPU and memory stress of 0 to 90 %, and the four bandwidths of McNamee et al., "A Case for
Adaptive Deep Neural Networks in Edge Computing", 2020, arXiv:2008.01814."""


def read_grid(path: str | Path) -> Grid:
    """Read a file of conditions.

    Raises:
        UsageError: It cannot be read, has a key that there is not, or a value that is none:
            a bandwidth without its unit, a stress of 1.
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"there is no file '{path}'", hint=_HINT)
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise UsageError(f"'{path}' is no grid", why=f"it is over {_MOST_BYTES:,} bytes")
        found = tomllib.loads(data.decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        why = " ".join(str(error).split())[:300]
        raise UsageError(f"cannot read conditions '{path}'", why=why, hint=_HINT) from error
    return _grid(found, str(path))


def _grid(found: Mapping[str, Any], at: str) -> Grid:
    known = ("cpu", "memory", "bandwidth")
    for key in found:
        if key not in known:
            raise UsageError(f"there is no condition '{key}'", at=at, hint=nearest(key, known))
    if not found:
        raise UsageError("the grid of conditions is empty", at=at, hint=_HINT)
    try:
        return Grid(
            tuple(sorted(_shares(found, "cpu"))),
            tuple(sorted(_shares(found, "memory"))),
            tuple(sorted(_bandwidths(found), reverse=True)),
        )
    except UsageError as error:
        raise UsageError(error.what, at=at, why=error.why, hint=error.hint) from error


def _shares(found: Mapping[str, Any], name: str) -> Sequence[float]:
    values = _list(found.get(name, [0.0]), name)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            hint = f"write {name} like [0.0, 0.3, 0.9]"
            raise UsageError(f"{name} {value!r} is no share", hint=hint)
    return [float(value) for value in values]


def _bandwidths(found: Mapping[str, Any]) -> Sequence[float]:
    if "bandwidth" not in found:
        return PAPER.bandwidths_bps
    values = _list(found["bandwidth"], "bandwidth")
    for value in values:
        if not isinstance(value, str) or not re.search(r"[A-Za-z]", value):
            hint = 'write it with its unit, in quotes: "10Mbit"'
            raise UsageError(f"bandwidth {value!r} has no unit", hint=hint)
    return [parse_bandwidth(value) for value in values]


def _list(values: Any, name: str) -> list[Any]:
    if not isinstance(values, list):
        raise UsageError(f"{name} {values!r} is no list", hint="write the values in [ ]")
    return list(values)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
