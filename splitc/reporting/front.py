# SPDX-License-Identifier: Apache-2.0
"""Which of some points no other is better than in both of two figures."""

from __future__ import annotations

import math
from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """The numbers of the points that no other beats, by the first figure; less is better.

    Of equal points it is the first.
    """
    best, found = math.inf, list[int]()
    for k in sorted(range(len(points)), key=lambda k: (*points[k], k)):
        if points[k][1] < best:
            best = points[k][1]
            found.append(k)
    return tuple(found)


def thinned(numbers: Sequence[int], most: int) -> tuple[int, ...]:
    """So many of some numbers at most, evenly spread, the first and the last among them."""
    if len(numbers) <= most:
        return tuple(numbers)
    if most < 2:
        return tuple(numbers[:most])
    step = (len(numbers) - 1) / (most - 1)
    return tuple(numbers[round(k * step)] for k in range(most))
