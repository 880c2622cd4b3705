# SPDX-License-Identifier: Apache-2.0
"""What `splitc plan --tested` prints with `--json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from splitc.cli.objects import Printed

if TYPE_CHECKING:
    from splitc.search.loss_choice import Choice, LossPlan
    from splitc.simulate.plan_trial import Trial


class ChoiceObject(msgspec.Struct, frozen=True, kw_only=True):
    """A network and how its boundary is sent.

    `latency_ms` is kept by the plan's share of all inferences, `kept` is the share that keeps
    the plan's limit; `missing` is the expected share of the elements that the tail does without.
    """

    cut: str
    dropout_rate: str
    bits: int
    mtu_bytes: int
    parity_percent: int
    resends: bool
    packets: int
    parity_packets: int
    sent_bytes: int
    head_ms: float
    tail_ms: float
    latency_ms: float
    kept: float
    missing: float
    accuracy: float

    @staticmethod
    def of(choice: Choice, plan: LossPlan) -> ChoiceObject:
        """One that was planned."""
        crossing, net = choice.crossing, choice.trained
        return ChoiceObject(
            cut=net.cut, dropout_rate=net.dropout_rate, bits=net.bits,
            mtu_bytes=choice.sending.mtu, parity_percent=choice.sending.parity_percent,
            resends=choice.sending.resends, packets=crossing.packets,
            parity_packets=crossing.blocks, sent_bytes=crossing.nbytes,
            head_ms=choice.head_s * 1e3, tail_ms=choice.tail_s * 1e3,
            latency_ms=choice.latency_s * 1e3, kept=choice.within(plan.within_s),
            missing=crossing.missing.mean, accuracy=choice.accuracy,
        )  # fmt: skip


class TrialObject(msgspec.Struct, frozen=True, kw_only=True):
    """The winner over a link of the relay's: frames that kept the limit, Wilson's 95 % interval
    of their share, and the mean accuracy, give or take `accuracy_error` 95 times of 100."""

    frames: int
    kept: int
    low: float
    high: float
    missing: float
    accuracy: float
    accuracy_error: float

    @staticmethod
    def of(trial: Trial) -> TrialObject:
        """What was counted."""
        low, high = trial.interval
        return TrialObject(
            frames=trial.frames, kept=trial.kept, low=low, high=high, missing=trial.missing,
            accuracy=trial.accuracy, accuracy_error=trial.accuracy_error,
        )  # fmt: skip


class LossPlanObject(Printed, frozen=True, kw_only=True):
    """`splitc plan --tested`: the most accurate way to keep a latency over a lossy link.

    `alone` has, for each knob, the best that it reaches with all others as they are by default;
    null where none keeps the limit. `compile` and `send` are the options of those verbs for the
    winner.
    """

    within_ms: float
    share: float
    loss_rate: float
    combinations: int
    winner: ChoiceObject
    frontier: tuple[ChoiceObject, ...]
    alone: dict[str, ChoiceObject | None]
    compile: tuple[str, ...]
    send: tuple[str, ...]
    figures: str
    check: TrialObject | None

    @staticmethod
    def of(
        plan: LossPlan, compiled: tuple[str, ...], send: tuple[str, ...], trial: Trial | None
    ) -> LossPlanObject:
        """A plan, and what came of trying it out."""
        from splitc.search.loss_choice import KNOBS

        alone = {knob: plan.alone(knob) for knob in KNOBS}
        return LossPlanObject(
            within_ms=plan.within_s * 1e3,
            share=plan.share,
            loss_rate=plan.link.loss_rate,
            combinations=len(plan.choices),
            winner=ChoiceObject.of(plan.winner, plan),
            frontier=tuple(ChoiceObject.of(choice, plan) for choice in plan.frontier),
            alone={
                knob: None if choice is None else ChoiceObject.of(choice, plan)
                for knob, choice in alone.items()
            },
            compile=compiled,
            send=send,
            figures=plan.figures,
            check=None if trial is None else TrialObject.of(trial),
        )
