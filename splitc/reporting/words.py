# SPDX-License-Identifier: Apache-2.0
"""Quantities as people read them."""

from __future__ import annotations


def short_bytes(count: int) -> str:
    """`4.0 kB`, `1.6 MB`: three figures for a table."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def short_ms(ms: float) -> str:
    """Milliseconds: one decimal, below 1 two figures that count."""
    return f"{ms:,.1f}" if ms >= 1 or ms == 0 else f"{ms:.2g}"


def short_bps(bps: float) -> str:
    """`20 Mbit/s`, `5.47 kbit/s`: a bandwidth in three figures."""
    value, unit = bps, "bit/s"
    for larger in ("kbit/s", "Mbit/s", "Gbit/s"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"


def short_flops(count: int) -> str:
    """`8.2 GFLOP`, `233 kFLOP`: three figures."""
    value, unit = float(count), "FLOP"
    for larger in ("kFLOP", "MFLOP", "GFLOP"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}"


def short_mj(mj: float) -> str:
    """Energy of millijoules: `892.5 mJ`, `2.24 J`."""
    return f"{short_ms(mj)} mJ" if mj < 1000 else f"{mj / 1000:,.2f} J"


def printable(text: str) -> str:
    """Text out of a model, without what has no picture: control characters, line ends."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def shortened(text: str, most: int) -> str:
    """Text of so many characters at most, its end kept: that is where names differ."""
    return text if len(text) <= most else "…" + text[-(most - 1) :]
