# SPDX-License-Identifier: Apache-2.0
"""Simulations as a picture: the share of frames that is done by a time, and times on a link."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from splitc.link.link_trace import LinkTrace
from splitc.pictures import draw
from splitc.simulate.record import Simulated


def plot(
    path: str | Path, runs: Mapping[str, Simulated], title: str,
    *, within_s: float | None = None, trace: LinkTrace | None = None,
) -> None:  # fmt: skip
    """Draw simulations, by what they are called.

    One panel has the share of all frames that is answered within a time: a frame that was given
    up never is. With a recorded link there are two more: its bandwidth, and what frames took,
    by the time that they came.

    Args:
        path: The picture; its ending says which kind.
        runs: They.
        title: What stands above.
        within_s: A limit to mark, in seconds.
        trace: The link that they ran over.

    Raises:
        UsageError: It has another ending than one that is known.
        ToolchainError: Nothing draws.
        OutputError: It cannot be written.
    """

    def body(figure: Any) -> None:
        if trace is None:
            _shares(figure.subplots(), runs, within_s)
            return
        ratios = {"height_ratios": [1.0, 1.6, 2.2]}
        link, times, shares = figure.subplots(3, 1, gridspec_kw=ratios)
        end_s = max(one.records[-1].began_s for one in runs.values())
        _link(link, trace, end_s)
        _times(times, runs, within_s)
        times.sharex(link)
        _shares(shares, runs, within_s)

    draw(path, title, body, height=4.2 if trace is None else 8.4)


def _shares(axes: Any, runs: Mapping[str, Simulated], within_s: float | None) -> None:
    last_ms = 0.0
    for name, one in runs.items():
        took = np.sort(one.latencies_s) * 1e3
        if not len(took):
            continue
        share = np.arange(1, len(took) + 1) / len(one.records)
        axes.step(took, share, where="post", label=name, linewidth=1.6)
        last_ms = max(last_ms, float(np.percentile(took, 99.5)))
    _limit(axes.axvline, within_s)
    axes.set(xlabel="latency (ms)", ylabel="share of frames", ylim=(0, 1.02))
    axes.set_xlim(0, max(last_ms, (within_s or 0.0) * 1e3, 1e-3) * 1.05)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=9)


def _link(axes: Any, trace: LinkTrace, end_s: float) -> None:
    axes.step([*trace.times_s, max(end_s, trace.times_s[-1])],
              [bps / 1e6 for bps in (*trace.bandwidth_bps, trace.bandwidth_bps[-1])],
              where="post", color="black", linewidth=1.2)  # fmt: skip
    axes.set(ylabel="Mbit/s", xlim=(0, end_s))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)


def _times(axes: Any, runs: Mapping[str, Simulated], within_s: float | None) -> None:
    for name, one in runs.items():
        answered = [record for record in one.records if record.latency_s is not None]
        axes.plot(
            [record.began_s for record in answered], one.latencies_s * 1e3, ".", markersize=2.5,
            label=name,
        )  # fmt: skip
    _limit(axes.axhline, within_s)
    axes.set(xlabel="time (s)", ylabel="latency (ms)")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)


def _limit(line: Any, within_s: float | None) -> None:
    if within_s is not None:
        line(within_s * 1e3, color="black", linestyle=":", linewidth=1.0)
