# SPDX-License-Identifier: Apache-2.0
"""The policy that does not choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from splitc.policy.base import Chooser, LinkState, Policy, option_named
from splitc.policy.option import Option


@dataclass(frozen=True)
class Fixed(Policy):
    """The same route for every frame.

    Args:
        route: Its name.
    """

    name: ClassVar[str] = "fixed"
    route: str

    def start(self, options: Sequence[Option]) -> Chooser:
        """Begin. Raises UsageError where there is no such route."""
        return _Always(option_named(self.route, options).name)


@dataclass(frozen=True)
class _Always(Chooser):
    name: str

    def route(self, seen: LinkState, now: float) -> str:
        return self.name
