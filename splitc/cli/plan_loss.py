# SPDX-License-Identifier: Apache-2.0
"""`splitc plan --tested`: cut, dropout rate, bits, packet size and parity chosen together."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from splitc.cli import options as o
from splitc.errors import UsageError, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from splitc.ir.model import Model
    from splitc.search.loss_choice import Choice, LossPlan
    from splitc.simulate.plan_trial import Trial

LOSSES = "A lossy link"
_NAME_WIDTH = 19

Tested = Annotated[
    str | None,
    typer.Option("--tested", metavar="FILE", rich_help_panel=LOSSES,
                 help="Networks trained for losses and their accuracies, TOML or JSON: choose "
                 "among them, and how to send, for the link's loss rate."),
]  # fmt: skip
Within = Annotated[
    str | None,
    typer.Option("--within", metavar="TIME", rich_help_panel=LOSSES,
                 help="Limit of the latency, like 60ms."),
]  # fmt: skip
Share = Annotated[
    float,
    typer.Option("--share", metavar="Q", rich_help_panel=LOSSES,
                 help="Of the inferences that must keep it, in 0 to 1."),
]  # fmt: skip
Mtus = Annotated[
    str | None,
    typer.Option("--mtus", metavar="BYTES,…", rich_help_panel=LOSSES,
                 help="Packet sizes to try; by default 576, 1024 and the link's."),
]  # fmt: skip
Parities = Annotated[
    str,
    typer.Option("--parities", metavar="PERCENT,…", rich_help_panel=LOSSES,
                 help="Parity packets for 100 of data to try."),
]  # fmt: skip
Resend = Annotated[
    bool,
    typer.Option("--resend/--no-resend", rich_help_panel=LOSSES,
                 help="Also try to send again what is lost, until all is there."),
]  # fmt: skip
Sealed = Annotated[
    bool,
    typer.Option("--sealed", rich_help_panel=LOSSES, help="Packets are sealed with a key."),
]
Burst = Annotated[
    float | None,
    typer.Option("--burst", metavar="PACKETS", rich_help_panel=LOSSES,
                 help="Losses come in bursts of so many packets on average, as [b]splitc doctor "
                 "--link[/] measures."),
]  # fmt: skip
Check = Annotated[
    int,
    typer.Option("--check", metavar="N", rich_help_panel=LOSSES,
                 help="Send N frames over a simulated link as the winner says, and count."),
]  # fmt: skip
Seed = Annotated[
    int,
    typer.Option("--check-seed", metavar="N", rich_help_panel=LOSSES, help="Of its losses."),
]


@dataclass(frozen=True)
class LossOptions:
    """What to choose from, and what must be kept."""

    tested: Tested = None
    within: Within = None
    share: Share = 0.99
    mtus: Mtus = None
    parities: Parities = "0,10,25,50,75,100"
    resend: Resend = True
    sealed: Sealed = False
    burst: Burst = None
    check: Check = 0
    check_seed: Seed = 0


def plan_for_losses(
    model: Model, where: o.ScenarioOptions, losses: LossOptions, *, json: bool, quiet: bool
) -> None:
    """Print the most accurate way to keep a latency over a lossy link, and the frontier.

    Args:
        model: The network.
        where: Where it is to run; its link has the loss rate.
        losses: With `tested`.
        json: Print one object.
        quiet: The winner alone.

    Raises:
        UsageError: There is no limit, or see `read_tested` and `plan_for_loss`.
        NoLegalCutError: Nothing keeps the limit.
    """
    from splitc.cli import show
    from splitc.cli.plan_loss_object import LossPlanObject
    from splitc.search.loss_choice import plan_for_loss
    from splitc.search.tested import read_tested
    from splitc.simulate.plan_trial import try_out

    if losses.tested is None or losses.within is None:
        hint = "like --tested tested.json --within 60ms"
        raise UsageError("a plan for losses needs --tested and --within", hint=hint)
    plan = plan_for_loss(
        model, read_tested(losses.tested), within=losses.within, share=losses.share,
        mtus=None if losses.mtus is None else parse_numbers("--mtus", losses.mtus),
        parities=parse_numbers("--parities", losses.parities), resends=losses.resend,
        sealed=losses.sealed, mean_burst=losses.burst, scenario=where.scenario(),
    )  # fmt: skip
    winner = plan.winner
    trial = None
    if losses.check:
        trial = try_out(winner, plan.within_s, losses.check, losses.check_seed)
    send = send_options(plan)
    if json:
        show.print_json(LossPlanObject.of(plan, compile_options(plan), send, trial))
        return
    console = show.out()
    console.print(_frontier(plan))
    if not quiet:
        console.print(_alone(plan))
    console.print(_summary(plan))
    if trial is not None:
        console.print(_checked(plan, trial))
    made = " ".join(map(shlex.quote, compile_options(plan)))
    console.print(show.plain(f"Compile with: {made}"), soft_wrap=True)
    console.print("Send with: " + " ".join(send), soft_wrap=True)
    if not quiet:
        head, _, tail = plan.figures.partition(" and ")
        console.print(f"{len(plan.choices)} combinations; link {plan.link}.", style="dim")
        console.print(f"Times are\n{head}\nand {tail}.", style="dim")


def parse_numbers(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers with commas between.

    Raises:
        UsageError: They are none.
    """
    if not re.fullmatch(r"\d{1,5}(,\d{1,5}){0,31}", text):
        raise UsageError(f"{option} {text}", hint="whole numbers with commas: 0,25,50")
    return tuple(map(int, text.split(",")))


def compile_options(plan: LossPlan) -> tuple[str, ...]:
    """The options of `splitc compile` that the winner means; levels take `--calibrate` too."""
    from splitc.search.tested import WHOLE_BITS

    net = plan.winner.trained
    codec = ("--codec", f"quantize-boundary(bits={net.bits})")
    return ("--cut", net.cut, *(() if net.bits == WHOLE_BITS else codec))


def send_options(plan: LossPlan) -> tuple[str, ...]:
    """The options of `splitc send` that the winner means: the tail waits as long as the limit
    leaves, rounded down."""
    how = plan.winner.sending
    deadline = math.floor(plan.winner.deadline_s(plan.within_s) * 1e5) / 100
    grace = math.ceil(plan.winner.crossing.grace_s * 1e5) / 100
    options = ["--transport", how.transport]
    if how.parity_percent:
        options += ["--parity", f"{how.parity_percent}%"]
    options += ["--mtu", str(how.mtu), "--bandwidth", f"{plan.link.bandwidth_bps / 1e6:g}Mbit"]
    return (*options, "--deadline", f"{deadline:g}ms", "--grace", f"{grace:g}ms")


def _frontier(plan: LossPlan) -> Table:
    """What no other combination beats, rows that read the same left out."""
    table = _table("frontier")
    shown = -math.inf
    for choice in plan.frontier:
        if choice is plan.winner or round(choice.accuracy, 1) > shown:
            shown = round(choice.accuracy, 1)
            mark = "▸" if choice is plan.winner else ""
            late = choice.latency_s > plan.within_s
            style = "bold" if mark else "dim" if late else ""
            table.add_row(mark, *_cells(choice), style=style)
    return table


def _alone(plan: LossPlan) -> Table:
    """What each knob reaches by itself within the limit."""
    from splitc.search.loss_choice import KNOBS

    table = _table("one alone")
    for knob in KNOBS:
        choice = plan.alone(knob)
        if choice is None:
            table.add_row("", knob, *["–"] * 6)
        else:
            table.add_row("", knob, *_cells(choice)[1:])
    return table


def _table(first: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("", width=1)
    table.add_column(first, width=_NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    table.add_column("r", width=6, no_wrap=True, overflow="ellipsis", justify="right")
    for name, width in (("bits", 4), ("packet", 6)):
        table.add_column(name, width=width, justify="right")
    table.add_column("sent", width=11, no_wrap=True)
    for name, width in (("ms", 7), ("missing", 7), ("accuracy", 8)):
        table.add_column(name, width=width, justify="right")
    return table


def _cells(choice: Choice) -> Sequence[str]:
    from splitc.cli.show import milliseconds

    missing = choice.crossing.missing.mean
    cut, rate, bits, mtu, *_ = choice.knobs
    return (
        printable(cut), printable(rate), str(bits), str(mtu), str(choice.sending),
        milliseconds(choice.latency_s), f"{100 * missing:.1f}%", f"{choice.accuracy:.1f}",
    )  # fmt: skip


def _summary(plan: LossPlan) -> str:
    from splitc.search.loss_choice import KNOBS

    winner = plan.winner
    kept = 100 * winner.within(plan.within_s)
    best = [choice.accuracy for choice in map(plan.alone, KNOBS) if choice is not None]
    held = f", one knob alone {max(best):.1f}" if best else ", no knob alone keeps the limit"
    return (
        f"Within {plan.within_s * 1e3:g} ms for {100 * plan.share:g} % of the inferences: "
        f"{winner.accuracy:.1f}{held}.\nPredicted to be kept by {kept:.4g} %."
    )


def _checked(plan: LossPlan, trial: Trial) -> str:
    low, high = trial.interval
    holds = "holds" if low >= plan.share else "may hold" if high >= plan.share else "does not hold"
    return (
        f"Simulated: {trial.kept} of {trial.frames} frames kept {plan.within_s * 1e3:g} ms, "
        f"{100 * low:.2f} to {100 * high:.2f} %\n(Wilson, 95 %): {100 * plan.share:g} % {holds}. "
        f"Accuracy {trial.accuracy:.1f} ± {trial.accuracy_error:.1f}, "
        f"missing {100 * trial.missing:.1f} %."
    )
