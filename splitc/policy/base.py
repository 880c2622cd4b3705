# SPDX-License-Identifier: Apache-2.0
"""Policies: what picks each frame's route."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from splitc.errors import SplitcError, UsageError
from splitc.passes.items import item_text, parse_item
from splitc.policy.option import Option


@dataclass(frozen=True)
class LinkState:
    """What is measured of link, device and server.

    Args:
        bandwidth_bps: Bits a second towards the server; None while nothing was measured.
        loss_rate: Share of packets lost towards the server, in [0, 1].
        rtt_s: Seconds there and back of a packet; None while nothing was measured.
        head_load: What the device takes over what it was expected to; 1 where as expected.
        tail_load: The same of the server.
        wait_s: Seconds that a frame waits at the server until its tail runs.
    """

    bandwidth_bps: float | None = None
    loss_rate: float = 0.0
    rtt_s: float | None = None
    head_load: float = 1.0
    tail_load: float = 1.0
    wait_s: float = 0.0

    def latency_s(self, option: Option) -> float:
        """Seconds that a frame on a route is expected to take now.

        Before a bandwidth was measured that is what was expected of it all along.
        """
        if self.bandwidth_bps is None:
            return option.expected_s
        return (
            option.head_s * self.head_load
            + option.sent_bytes * 8 / self.bandwidth_bps
            + (self.rtt_s or 0.0)
            + self.wait_s
            + option.tail_s * self.tail_load
        )


class Chooser(Protocol):
    """Picks one frame's route after another's. The same history gives the same routes."""

    def route(self, seen: LinkState, now: float) -> str:
        """The route of the next frame.

        Args:
            seen: What is measured.
            now: Seconds, never less than before.

        Returns:
            The name of one of the options.
        """
        ...


@dataclass(frozen=True)
class Policy:
    """How routes are picked. A subclass is a frozen dataclass: its fields are its options.

    Its text is written like a pass's: `adaptive`, or `adaptive(within_s=0.05)`. Packs bring
    their own under `policies`.
    """

    name: ClassVar[str]

    def start(self, options: Sequence[Option]) -> Chooser:
        """Begin with a device's routes.

        Args:
            options: They, in the bundle's order; there is one at least.

        Raises:
            UsageError: It cannot choose among these.
        """
        raise SplitcError(f"policy '{self.name}' has no start")

    def __str__(self) -> str:
        return item_text(self.name, self)

    @staticmethod
    def parse(text: str) -> Policy:
        """Read `adaptive`, `name(option=value)`, or the path of a plan of `splitc plan`.

        Raises:
            UsageError: An unknown policy or option, or malformed text.
        """
        if text.endswith(".json") or Path(text).is_file():
            text = f"map(plan={json.dumps(text)})"
        one = parse_item("policies", text, what="policy", example="adaptive")
        assert isinstance(one, Policy)
        return one


def option_named(name: str, options: Sequence[Option]) -> Option:
    """The option of a name.

    Raises:
        UsageError: There is none; the hint lists what there is.
    """
    for option in options:
        if option.name == name:
            return option
    known = ", ".join(option.name for option in options)
    raise UsageError(f"there is no route '{name}'", hint=f"there is {known}")
