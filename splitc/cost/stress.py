# SPDX-License-Identifier: Apache-2.0
"""What else a machine does while a network runs on it, and what that makes of a layer's time."""

from __future__ import annotations

from dataclasses import dataclass

from splitc.errors import UsageError

MODEL = "modelled: stress s slows arithmetic (CPU) or memory by 1/(1 - s)"


@dataclass(frozen=True)
class Stress:
    """Shares of a machine that others take.

    Args:
        cpu: Of its arithmetic, in [0, 1).
        memory: Of its memory's and caches' bandwidth, in [0, 1).

    Raises:
        UsageError: A share is outside.
    """

    cpu: float = 0.0
    memory: float = 0.0

    def __post_init__(self) -> None:
        for name, share in (("CPU", self.cpu), ("memory", self.memory)):
            if not 0 <= share < 1:
                why = "it is the share that others take: under 1, where nothing would be left"
                raise UsageError(f"{name} stress {share:g} is not in [0, 1)", why=why)


IDLE = Stress()
"""A machine that does nothing else."""


@dataclass(frozen=True)
class LayerTerms:
    """What a layer's time is made of: see `BoardCost`. Seconds.

    Args:
        overhead_s: What it costs beyond its arithmetic and bytes, the processor's.
        arithmetic_s: Its arithmetic.
        memory_s: The bytes that come while it computes.
        stall_s: Those that it waits for.
    """

    overhead_s: float = 0.0
    arithmetic_s: float = 0.0
    memory_s: float = 0.0
    stall_s: float = 0.0

    def seconds(self, stress: Stress) -> float:
        """The layer's time: what binds it decides which stress slows it."""
        slower = 1.0 / (1.0 - stress.cpu)
        waits = 1.0 / (1.0 - stress.memory)
        together_s = max(self.arithmetic_s * slower, self.memory_s * waits)
        return self.overhead_s * slower + together_s + self.stall_s * waits
