# SPDX-License-Identifier: Apache-2.0
"""Quantities as people read them."""

from __future__ import annotations

from collections.abc import Sequence


def short_bytes(count: int) -> str:
    """`4.0 kB`, `1.6 MB`: three figures for a table."""
    value, unit = _scaled(count, ("B", "kB", "MB", "GB"), 1000)
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def short_ms(ms: float) -> str:
    """Milliseconds: one decimal, below 1 two figures that count."""
    return f"{ms:,.1f}" if ms >= 1 or ms == 0 else f"{ms:.2g}"


def short_bps(bps: float) -> str:
    """`20 Mbit/s`, `5.47 kbit/s`: a bandwidth in three figures."""
    value, unit = _scaled(bps, ("bit/s", "kbit/s", "Mbit/s", "Gbit/s"), 999.5)
    return f"{value:.3g} {unit}"


def short_flops(count: int) -> str:
    """`8.2 GFLOP`, `233 kFLOP`: three figures."""
    value, unit = _scaled(count, ("FLOP", "kFLOP", "MFLOP", "GFLOP"), 999.5)
    return f"{value:.3g} {unit}"


def short_mj(mj: float) -> str:
    """Energy of millijoules: `892.5 mJ`, `2.24 J`."""
    return f"{short_ms(mj)} mJ" if mj < 1000 else f"{mj / 1000:,.2f} J"


def shortened(text: str, most: int) -> str:
    """Text of so many characters at most, its end kept: that is where names differ."""
    return text if len(text) <= most else "…" + text[-(most - 1) :]


def _scaled(value: float, units: Sequence[str], below: float) -> tuple[float, str]:
    """A value in the first of units, each a thousand of the one before, where it is below."""
    for unit in units[:-1]:
        if value < below:
            return value, unit
        value /= 1000
    return value, units[-1]
