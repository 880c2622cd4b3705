# SPDX-License-Identifier: Apache-2.0
"""A device, a server and the link between them on a simulated clock."""

from __future__ import annotations

from splitc.simulate.parts import Assumed, AssumedParts, BundleParts, Parts
from splitc.simulate.record import Record, Simulated
from splitc.simulate.simulate import simulate
from splitc.simulate.two_ways import TwoWays

__all__ = [
    "Assumed", "AssumedParts", "BundleParts", "Parts", "Record", "Simulated", "TwoWays",
    "simulate",
]  # fmt: skip
