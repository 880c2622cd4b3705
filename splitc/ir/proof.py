# SPDX-License-Identifier: Apache-2.0
"""Why a found placement is the best one, or how far it may be off; the manifest carries it."""

from __future__ import annotations

import msgspec


class FlowProof(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="flow"):
    """The cheapest of all downsets: no cut costs less than the maximum flow.

    Prices are integers, in picoseconds or picojoules. `value` is the cut's, summed anew over
    its layers and tensors; `flow` the value of the maximum flow that gave it, null where the
    cut is after a layer on every path, which needs no flow. `lower_bound` is the least of all
    cuts after such layers, all flows, and the bounds of the stretches between such layers that
    were passed over; `stretches` were solved by a flow. The best cut's value is the bound.
    """

    cutter: str
    value: int
    flow: int | None
    lower_bound: int
    stretches: int


class Enumerated(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="enumerated"
):
    """The best of `count` placements, which are all there are of their `kind`.

    `value` is the objective's: seconds or joules.
    """

    cutter: str
    value: float
    count: int
    kind: str


class Heuristic(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="heuristic"
):
    """A placement that may not be the best.

    `value` is the objective's, in seconds or joules; `why` says what was left out;
    `lower_bound` is a value that no placement is below, null where none is known.
    """

    cutter: str
    value: float
    why: str
    lower_bound: float | None = None


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="given"):
    """No search: the cut was named, or the model had it already; `value` as above."""

    value: float


Proof = FlowProof | Enumerated | Heuristic | Given


def lower_bound(proof: Proof) -> float | None:
    """What no placement is below, in seconds or joules; None where that is not known."""
    if isinstance(proof, Heuristic):
        return proof.lower_bound
    return proof.value if isinstance(proof, Enumerated) else None
