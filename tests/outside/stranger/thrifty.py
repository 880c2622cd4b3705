# SPDX-License-Identifier: Apache-2.0
"""A policy of somebody's own: the fewest bytes while the link is busy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from splitc.policy import Chooser, LinkState, Option, Policy


@dataclass(frozen=True)
class Thrifty(Policy):
    """The route with the fewest bytes where the link is slower than a limit, else the quickest.

    Args:
        below_bps: The limit, bits a second.
    """

    name: ClassVar[str] = "thrifty"
    below_bps: float = 1e6

    def start(self, options: Sequence[Option]) -> Chooser:
        """Begin."""
        return _Thrifty(self.below_bps, options)


@dataclass(frozen=True)
class _Thrifty(Chooser):
    below_bps: float
    options: Sequence[Option]

    def route(self, seen: LinkState, now: float) -> str:
        if seen.bandwidth_bps is not None and seen.bandwidth_bps < self.below_bps:
            return min(self.options, key=lambda option: option.sent_bytes).name
        return min(self.options, key=seen.latency_s).name
