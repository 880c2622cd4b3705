# SPDX-License-Identifier: Apache-2.0
"""Write the two traces beside this file: links that change, for `splitc simulate` and the relay.

    python examples/traces/make_traces.py

Both are made from a stated model and a seed, and say so in their first lines. A recording of a
link of yours is better: the same columns, one row for each time that you measured.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
STEP_S = 0.5

Series = NDArray[np.float64]

DIP = """\
# Made, not recorded: a link that falls from 50 to 10 Mbit/s and recovers.
# 15 s at 50, down to 10 within 3 s, 17 s there, up again within 5 s, 20 s at 50; each row times
# a factor exp(0.05 z) with z normal and of correlation 0.8 from row to row, seed 1. Losses are
# 1 % at 50 Mbit/s and grow to 3 % at 10.
"""
WALK = """\
# Made, not recorded: a walk away from an access point and back, 1 m/s, from 2 to 40 m.
# Log-distance path loss with exponent 3 and 3 dB of shadowing that is the same again after
# some 4 m; 47 dB of signal over noise at 2 m; the rate is 30 % of Shannon's on 20 MHz, at most
# 60 Mbit/s; packets are lost by 0.5 % and by 1 / (1 + e^(S - 4)) more at S dB. Seed 2.
"""


def correlated(count: int, keeps: float, seed: int) -> Series:
    """Normal numbers of which neighbours are alike: an autoregressive series of order one."""
    noise = np.random.default_rng(seed).standard_normal(count)
    series = np.empty(count)
    series[0] = noise[0]
    for k in range(1, count):
        series[k] = keeps * series[k - 1] + np.sqrt(1 - keeps**2) * noise[k]
    return series


def dip() -> tuple[Series, Series, Series]:
    """Times in s, Mbit/s and losses of a link that falls and recovers."""
    times = np.arange(0, 60, STEP_S)
    course = np.interp(times, [0, 15, 18, 35, 40, 60], [50, 50, 10, 10, 50, 50])
    loss = 0.01 + 0.02 * (50 - course) / 40
    return times, course * np.exp(0.05 * correlated(len(times), 0.8, 1)), loss


def walk() -> tuple[Series, Series, Series]:
    """Times in s, Mbit/s and losses of a walk away from an access point and back."""
    times = np.arange(0, 76, STEP_S)
    metres = np.interp(times, [0, 38, 76], [2, 40, 2])
    shadow = 3 * correlated(len(times), np.exp(-STEP_S / 4), 2)
    snr_db = 47 - 30 * np.log10(metres / 2) + shadow
    rate = np.minimum(0.3 * 20 * np.log2(1 + 10 ** (snr_db / 10)), 60)
    return times, rate, 0.005 + 0.99 / (1 + np.exp(np.minimum(snr_db - 4, 50)))


def write(name: str, about: str, columns: tuple[Series, Series, Series]) -> None:
    """Write one trace."""
    rows = (f"{t:g},{mbit:.2f},{loss:.4f}\n" for t, mbit, loss in zip(*columns, strict=True))
    (HERE / name).write_text(about + "time_s,bandwidth_mbit,loss\n" + "".join(rows), "utf-8")


if __name__ == "__main__":
    write("dip.csv", DIP, dip())
    write("walk.csv", WALK, walk())
