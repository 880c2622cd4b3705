# SPDX-License-Identifier: Apache-2.0
"""Ranges of rates that recipes draw from."""

from __future__ import annotations

from splitc.errors import UsageError


def within(name: str, rates: tuple[float, float]) -> tuple[float, float]:
    """The lowest and highest rate as they are.

    Raises:
        UsageError: They are out of order, or not in [0, 1).
    """
    low, high = rates
    if not 0 <= low <= high < 1:
        raise UsageError(f"{name} {low:g} to {high:g} is not in [0, 1)")
    return rates
