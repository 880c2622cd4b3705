# SPDX-License-Identifier: Apache-2.0
"""What a server grants its peers, and what it keeps for itself."""

from __future__ import annotations

from dataclasses import dataclass

from splitc.errors import UsageError


@dataclass(frozen=True)
class Limits:
    """Bounds that hold whatever peers send.

    Args:
        peers: Devices at once.
        memory_bytes: Frames being collected or waiting, and answers kept, of all peers together.
        frames_in_flight: Of one peer: open, waiting, and answers kept, each.
        window: How far back a frame number may lie behind the newest of its session.
        deadline_s: How long after its first packet a frame's tail runs at the latest, for devices
            that name none.
        longest_deadline_s: The longest that a device may ask for.
        grace_s: How long packets that are late are waited for, for devices that name no time.
        idle_s: After so long without a packet a peer is forgotten.
        refusals_per_s: How often it is said, to all peers together, why they are not served.
    """

    peers: int = 256
    memory_bytes: int = 256 * 2**20
    frames_in_flight: int = 8
    window: int = 64
    deadline_s: float = 0.5
    longest_deadline_s: float = 30.0
    grace_s: float = 0.003
    idle_s: float = 60.0
    refusals_per_s: float = 200.0

    def __post_init__(self) -> None:
        for name in ("peers", "memory_bytes", "frames_in_flight"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} {getattr(self, name)} is not above 0")
        if not 0 < self.deadline_s <= self.longest_deadline_s:
            hint = f"give up to {self.longest_deadline_s:g} s"
            raise UsageError(f"a deadline of {self.deadline_s:g} s cannot be kept", hint=hint)

    def deadline(self, asked_s: float) -> float:
        """The deadline of a peer that asks for one; 0 asks for the server's own."""
        return min(asked_s, self.longest_deadline_s) if asked_s > 0 else self.deadline_s

    def grace(self, asked_s: float, deadline_s: float) -> float:
        """How long a peer's late packets are waited for; 0 asks for the server's own."""
        return min(asked_s if asked_s > 0 else self.grace_s, deadline_s)


class Allowance:
    """So many a second, and as many at once after a second without: a token bucket.

    Args:
        per_second: How many.
    """

    def __init__(self, per_second: float) -> None:
        self._rate = per_second
        self._left = per_second
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Whether one more is allowed; if so, it is counted."""
        self._left = min(self._rate, self._left + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
