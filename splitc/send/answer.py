# SPDX-License-Identifier: Apache-2.0
"""What a device gets for one frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from splitc.arrays import Array, Arrays
from splitc.errors import DeviceError, SplitcError

Origin = Literal["server", "last", "whole", "nobody"]
"""Who answered: the server; nobody, so that the last answer stands in; the whole network here;
nobody at all."""


@dataclass(frozen=True)
class Answer:
    """The network's results for one frame, and how they came.

    Args:
        frame: Number of the frame, from 0.
        origin: Who answered.
        found: The results by name; empty where nobody answered.
        share: Of the boundary's elements, how many the server had; 0 where it did not answer.
        head_s: Seconds that the head took.
        link_tail_s: Seconds from the last packet sent to the answer's last; None where the
            server did not answer.
        frame_s: Seconds from the inputs to the answer.
        why_not: Why the server did not answer.
        route: Name of the route that the frame took; None where it was not sent.
    """

    frame: int
    origin: Origin
    found: Arrays
    share: float
    head_s: float
    link_tail_s: float | None
    frame_s: float
    why_not: SplitcError | None = None
    route: str | None = None

    @property
    def results(self) -> Arrays:
        """Arrays by result name.

        Raises:
            SplitcError: Nobody answered; says why.
        """
        if self.origin == "nobody":
            raise self.why_not or DeviceError(f"frame {self.frame} was not answered")
        return self.found

    def __getitem__(self, name: str) -> Array:
        """One result. Raises as `results` does."""
        return self.results[name]
