# SPDX-License-Identifier: Apache-2.0
"""What keeps a policy from changing its mind with every frame."""

from __future__ import annotations

from splitc.errors import UsageError
from splitc.policy.option import Option

_SOON, _MOST = 4, 16
"""Holds within which a route is left soon; times the least hold."""


def check_hold(hold_s: float) -> None:
    """Raise where a hold is none.

    Raises:
        UsageError: It is below 0, or without end.
    """
    if not 0 <= hold_s < float("inf"):
        raise UsageError(f"hold_s {hold_s:g} is below 0")


class Steady:
    """The route that is taken, while another may be wanted.

    A route with fewer bytes is taken at once: the link is slower than it was, and each further
    frame pays. One with more bytes has to be wanted for a while on end: for `hold_s`, or, where
    such a one was left again soon after it was taken, twice as long each time, up to 16 times.
    No route is taken within `hold_s` of the last change. So a link that comes and goes is met
    by the route that bears it.

    Args:
        current: The route that is taken first.
        hold_s: Seconds.
    """

    def __init__(self, current: Option, hold_s: float) -> None:
        self.current = current
        self._least_s = self._hold_s = hold_s
        self._changed_s = float("-inf")
        self._has_risen = False
        self._wanted: str | None = None
        self._since_s = 0.0

    def take(self, wanted: Option, now: float) -> str:
        """The route to take where this one is wanted."""
        if wanted.name == self.current.name:
            self._wanted = None
            return self.current.name
        if self._wanted != wanted.name:
            self._wanted, self._since_s = wanted.name, now
        more = wanted.sent_bytes > self.current.sent_bytes
        held = now >= self._since_s + self._hold_s if more else True
        if held and now >= self._changed_s + self._least_s:
            if self._has_risen:
                soon = now < self._changed_s + _SOON * self._hold_s and not more
                self._hold_s = (
                    min(self._hold_s * 2, self._least_s * _MOST) if soon else self._least_s
                )
            self.current, self._changed_s, self._has_risen = wanted, now, more
            self._wanted = None
        return self.current.name
