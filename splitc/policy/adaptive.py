# SPDX-License-Identifier: Apache-2.0
"""The policy that goes by what is measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from splitc.errors import UsageError
from splitc.policy.base import Chooser, LinkState, Policy
from splitc.policy.option import Option
from splitc.policy.steady import Steady, check_hold


@dataclass(frozen=True)
class Adaptive(Policy):
    """The quickest route as link, device and server are now, or the most exact within a limit.

    Without a limit the quickest is wanted of those whose codec leaves nearly all answers as they
    are. With one, of the routes that keep it the one that leaves most of them so, of equals the
    quickest; where none keeps it, the quickest of all: bits are given up before the limit is,
    and come back when there is room. Another route than the one that is taken has to be better
    by a margin, and see `Steady`.

    Args:
        within_s: The limit, seconds from a frame's inputs to its answer; None is none.
        margin: How much better another route has to be, as a share, in [0, 1).
        hold_s: Seconds for which a route with more bytes has to be the better one, and that
            lie between two changes at least.
        agreement: Without a limit, the share of answers that a route has to leave as they are,
            in [0, 1]; where none does, the routes that leave most.

    Raises:
        UsageError: One of them is out of its range.

    References:
        McNamee et al., "A Case for Adaptive Deep Neural Networks in Edge Computing", 2020,
        arXiv:2008.01814: what staying costs. Almeida et al., "DynO", 2022: cut and
        precision by request.
    """

    name: ClassVar[str] = "adaptive"
    within_s: float | None = None
    margin: float = 0.1
    hold_s: float = 0.5
    agreement: float = 0.99

    def __post_init__(self) -> None:
        if self.within_s is not None and not 0 < self.within_s < float("inf"):
            raise UsageError(f"within_s {self.within_s:g} is not above 0")
        if not 0 <= self.margin < 1:
            raise UsageError(f"margin {self.margin:g} is not in [0, 1)")
        check_hold(self.hold_s)
        if not 0 <= self.agreement <= 1:
            raise UsageError(f"agreement {self.agreement:g} is not in [0, 1]")

    def start(self, options: Sequence[Option]) -> Chooser:
        """Begin with the route that was expected to be the best."""
        return _Adapting(self, options)


class _Adapting(Chooser):
    def __init__(self, policy: Adaptive, options: Sequence[Option]) -> None:
        self._policy = policy
        self._options = tuple(options)
        least = min(policy.agreement, max(option.agreement for option in options))
        self._exact = tuple(option for option in options if option.agreement >= least)
        self._steady = Steady(self._best(LinkState(), policy.within_s), policy.hold_s)

    def route(self, seen: LinkState, now: float) -> str:
        return self._steady.take(self._wanted(seen), now)

    def _wanted(self, seen: LinkState) -> Option:
        """The best route, if it is enough better than the one that is taken."""
        current, limit_s = self._steady.current, self._policy.within_s
        less = 1.0 - self._policy.margin
        # For another route the limit is a little lower: at the limit itself it would come and go.
        best = self._best(seen, None if limit_s is None else limit_s * less)
        now_s, then_s = seen.latency_s(current), seen.latency_s(best)
        if limit_s is not None and now_s <= limit_s:
            # It keeps the limit: only for more exact answers, or equal ones sooner.
            finer = best.agreement > current.agreement and then_s <= limit_s * less
            sooner = best.agreement == current.agreement and then_s < now_s * less
            return best if finer or sooner else current
        return best if then_s < now_s * less else current

    def _best(self, seen: LinkState, limit_s: float | None) -> Option:
        """The most exact within the limit, of equals the quickest; the quickest if none is.

        Without a limit the quickest of those that are exact enough.
        """
        options = self._exact if limit_s is None else self._options
        took = [(seen.latency_s(option), option) for option in options]
        within = [(s, o) for s, o in took if limit_s is not None and s <= limit_s]
        if not within:
            return min(took, key=lambda each: each[0])[1]
        return min(within, key=lambda each: (-each[1].agreement, each[0]))[1]
