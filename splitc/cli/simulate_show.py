# SPDX-License-Identifier: Apache-2.0
"""What `splitc simulate` prints for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from splitc.cli import show

if TYPE_CHECKING:
    from splitc.cli.simulate_object import SimulatedRunObject, SimulateObject


def print_simulated(found: SimulateObject, link: str, *, quiet: bool) -> None:
    """A line a run, and what is to be known of the figures."""
    console = show.out()
    console.print(f"{found.frames:,} frames of {found.bundle} over {link}", soft_wrap=True)
    columns = ["share", "mean", "p50", "p95", "p99 ms", "missed"]
    right = any(run.accuracy is not None for run in found.runs)
    energy = any(run.energy_mj is not None for run in found.runs)
    columns += ["right"] * right + ["mJ"] * energy
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for run in found.runs:
        latency = run.latency_ms
        times = (latency.mean, latency.p50, latency.p95, latency.p99)
        cells = [f"{run.share:.1%}", *("" if ms is None else f"{ms:.2f}" for ms in times)]
        cells.append(f"{run.missed / run.frames:.1%}")
        cells += [f"{run.accuracy or 0.0:.2%}"] * right
        cells += ["" if run.energy_mj is None else f"{run.energy_mj:.2f}"] * energy
        table.add_row(run.name, *cells)
    console.print(table)
    if quiet:
        return
    for line in _about(found):
        console.print(line, style="dim", soft_wrap=True)


def _about(found: SimulateObject) -> list[str]:
    """What is to be known of the figures."""
    spread = f", spread {found.spread:g}" if found.spread else ""
    lines = [
        f"missed: not answered within {found.within_s * 1e3:g} ms; seed {found.seed}",
        f"times of heads and tails: {found.figures}{spread}",
    ]
    for run in found.runs:
        lines += _about_run(run)
    lines += dict.fromkeys(note for run in found.runs for note in run.notes)
    return lines


def _about_run(run: SimulatedRunObject) -> list[str]:
    lines: list[str] = []
    if len(run.routes) > 1:
        took = ", ".join(f"{name} {count:,}" for name, count in run.routes.items())
        many = "change" if run.switches == 1 else "changes"
        lines.append(f"{run.name}: frames by route {took}; {run.switches:,} {many}")
    if run.unanswered:
        frames = "1 frame was" if run.unanswered == 1 else f"{run.unanswered:,} frames were"
        lines.append(f"{run.name}: {frames} never answered")
    if run.queue_full:
        lines.append(
            f"{run.name}: {run.queue_full:,} packets came to a full queue and were lost: "
            "see --pace and --queue"
        )
    return lines
