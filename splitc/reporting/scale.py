# SPDX-License-Identifier: Apache-2.0
"""From values to places on a chart, and the values that are written beside its axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """An axis, linear or logarithmic.

    Args:
        least: The value at its beginning; above 0 where it is logarithmic.
        most: The value at its end, above `least`.
        log: Whether equal ratios are equal distances.
    """

    least: float
    most: float
    log: bool = False

    @staticmethod
    def around(values: Iterable[float], *, log: bool = False) -> Scale:
        """An axis that holds values with room at its ends, from 0 where it is linear."""
        given = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
        most = max(given, default=1.0) or 1.0
        if not log:
            return Scale(0.0, most * 1.08)
        least = min(given, default=1.0)
        room = max((most / least) ** 0.06, 1.15)
        return Scale(least / room, most * room, log=True)

    def share(self, value: float) -> float:
        """Where a value is, from 0 at the beginning to 1 at the end; held within."""
        if self.log:
            value = max(value, self.least)
            place = math.log(value / self.least) / math.log(self.most / self.least)
        else:
            place = (value - self.least) / (self.most - self.least)
        return min(max(place, 0.0), 1.0)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values, so many or a few more."""
        if self.log:
            return self._log_ticks(about)
        raw = (self.most - self.least) / about
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(s * power for s in (1, 2, 5, 10) if s * power >= raw * 0.999)
        first, last = math.ceil(self.least / step), math.floor(self.most / step)
        return [k * step for k in range(first, last + 1)]

    def _log_ticks(self, about: int) -> list[float]:
        first, last = math.floor(math.log10(self.least)), math.ceil(math.log10(self.most))
        for steps in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
            found = [s * 10.0**k for k in range(first, last + 1) for s in steps]
            found = [v for v in found if self.least <= v <= self.most]
            if len(found) <= about + 2:
                return found
        return found[:: -(-len(found) // about)]


def percent(share: float) -> str:
    """A share as a coordinate."""
    return f"{share * 100:.2f}".rstrip("0").rstrip(".") + "%"


Write = Callable[[float], str]
"""How a tick's value is written."""
