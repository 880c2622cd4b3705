# SPDX-License-Identifier: Apache-2.0
"""The tables of `splitc plan --conditions`, for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.table import Table

from splitc.cli.show import milliseconds, plain, short_bytes
from splitc.search.transitions import FACTORS, Factor, Transition, transitions

if TYPE_CHECKING:
    from rich.console import RenderableType

    from splitc.search.condition_plan import ConditionPlan
    from splitc.search.grid import Point

_ROWS = 12
_MOST_COLUMNS = 7
_TITLES: dict[Factor, str] = {
    "bandwidth": "Mbit/s",
    "cpu": "CPU, link",
    "memory": "memory, link",
}


def tables(plan: ConditionPlan, switch_s: float, *, show_all: bool) -> Iterator[RenderableType]:
    """What staying costs, by what changes; the routes; which one each condition wants."""
    for factor in FACTORS:
        found = transitions(plan.compared, factor)
        moving = sorted((one for one in found if one.gain > 0), key=lambda one: -one.gain)
        shown = moving if show_all else _telling(moving)
        if shown:
            yield _transition_table(plan, factor, shown, switch_s)
        if found:
            more = "; more with --all" if len(shown) < len(moving) else ""
            what = {"cpu": "CPU stress", "memory": "memory stress"}.get(factor, factor)
            yield f"{len(moving)} of {len(found)} changes of {what} move the best cut{more}.\n"
    yield _route_table(plan)
    yield _map_table(plan)


def _telling(moving: list[Transition]) -> list[Transition]:
    """The first of those that say the same of where one comes to."""
    same = {(one.after, one.kept, one.best): one for one in reversed(moving)}
    return [one for one in moving if same[one.after, one.kept, one.best] is one][:_ROWS]


def _table(**columns: int) -> Table:
    """A table of columns by width; the first is text, `cut` columns too."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for number, (name, width) in enumerate(columns.items()):
        text = number == 0 or name.endswith("cut")
        table.add_column(
            name.replace("_", " ").rstrip(), width=width, no_wrap=True, overflow="ellipsis",
            justify="left" if text else "right",
        )  # fmt: skip
    return table


def _transition_table(
    plan: ConditionPlan, factor: Factor, shown: list[Transition], switch_s: float
) -> Table:
    cuts = plan.compared.cuts
    table = _table(
        **{_TITLES[factor]: 14, "kept cut": 14, "ms": 9, "best cut": 14, "ms ": 9, "gain": 6,
           "frames": 7},
    )  # fmt: skip
    for one in shown:
        frames = one.break_even(switch_s)
        table.add_row(
            _change(one, factor),
            plain(cuts[one.kept].name), milliseconds(one.kept_s),
            plain(cuts[one.best].name), milliseconds(one.best_s),
            f"{100 * one.gain:.1f}%", "never" if frames is None else f"{frames:,}",
        )  # fmt: skip
    return table


def _change(one: Transition, factor: Factor) -> str:
    if factor == "bandwidth":
        return f"{_mbits(one.before)} → {_mbits(one.after)}"
    before, after = (100 * getattr(point, factor) for point in (one.before, one.after))
    return f"{before:.3g} → {after:.3g} %, {_mbits(one.after)}"


def _mbits(point: Point) -> str:
    return f"{point.bandwidth_bps / 1e6:.5g}"


def _route_table(plan: ConditionPlan) -> Table:
    carried = plan.carried
    wanted = [int(place) for place in carried.best]
    table = _table(route=26, crosses=9, **{"head ms": 9, "tail ms": 9, "conditions": 10})
    for k, (name, cost) in enumerate(zip(plan.names, carried.costs, strict=True)):
        table.add_row(
            plain(f"{k + 1}  {name}"), short_bytes(cost.boundary_bytes),
            milliseconds(cost.head_s), milliseconds(cost.tail_s), str(wanted.count(k)),
        )  # fmt: skip
    return table


def _map_table(plan: ConditionPlan) -> Table:
    """Numbers of routes by CPU stress and bandwidth, memory as idle as the grid has it."""
    carried = plan.carried
    idle = min(point.memory for point in carried.points)
    some = {p: k for p, k in zip(carried.points, carried.best, strict=True) if p.memory == idle}
    links = sorted({point.bandwidth_bps for point in some}, reverse=True)[:_MOST_COLUMNS]
    table = _table(**{"CPU stress": 12, **{f"{bits / 1e6:.5g} Mb": 8 for bits in links}})
    for cpu in sorted({point.cpu for point in some}):
        row = {point.bandwidth_bps: k for point, k in some.items() if point.cpu == cpu}
        cells = [str(int(row[bits]) + 1) if bits in row else "–" for bits in links]
        table.add_row(f"{100 * cpu:.3g} %", *cells)
    return table


def summary(plan: ConditionPlan) -> Iterator[str]:
    """What the routes are worth, in lines."""
    chosen, swept = plan.chosen, plan.swept
    how = "no other set of as many is better" if chosen.exact else "there may be better sets"
    modelled = "Modelled: with" if plan.is_measured else "With"
    yield (
        f"{modelled} these alone a frame takes {chosen.regret_s * 1e3:.2f} ms "
        f"({100 * plan.regret_share:.2g} %) more in the mean\n"
        f"than with the best of all cuts; {how}."
    )
    if swept.whole_s is not None and not plan.is_measured:
        best_s = swept.latency_s.min(axis=1)
        device = int((swept.whole_s[:, 0] < best_s).sum())
        server = int((swept.whole_s[:, 1] < best_s).sum())
        if device or server:
            yield (
                f"Of {len(swept.points)} conditions all on the device is quicker in {device}, "
                f"all on the server in {server}."
            )
    for point, why in plan.carried.skipped:
        yield f"Not measured: {point}:\n  " + why.replace(": ", ":\n  ", 1)
