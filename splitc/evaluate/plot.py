# SPDX-License-Identifier: Apache-2.0
"""An evaluation as a picture: accuracy against the share of packets lost, a line a network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from splitc.evaluate.accuracy import Evaluation
from splitc.pictures import draw


def plot(path: str | Path, found: Evaluation, title: str) -> None:
    """Draw it.

    Args:
        path: The picture; its ending says which kind.
        found: What was found.
        title: What stands above.

    Raises:
        UsageError: It has another ending than one that is known.
        ToolchainError: Nothing draws.
        OutputError: It cannot be written.
    """

    def body(figure: Any) -> None:
        axes: Any = figure.subplots()
        for one in found.subjects:
            points = found.of(one)
            axes.plot(
                [100 * p.loss_rate for p in points], [100 * p.accuracy for p in points],
                marker="o", markersize=4, label=f"{one.name} ({one.boundary_bytes:,} bytes)",
            )  # fmt: skip
        axes.set(xlabel="packets lost (%)", ylabel="accuracy (%)")
        axes.grid(alpha=0.3)
        axes.legend(loc="lower left", fontsize=9)

    draw(path, title, body)
