# SPDX-License-Identifier: Apache-2.0
"""What a policy chooses from: routes, and what each is expected to take."""

from __future__ import annotations

import math
from dataclasses import dataclass

from splitc.errors import BadBundleError
from splitc.link.packets import OVERHEAD_BYTES, Chunks, Unit
from splitc.runtime.manifest import Expected, Missing, Remote, TensorSpec


@dataclass(frozen=True)
class Option:
    """One route, and what a frame on it is expected to take.

    Args:
        name: The route's.
        head_s: Seconds on the device.
        sent_bytes: Bytes of its packets, all headers included.
        packets: How many.
        tail_s: Seconds on the server.
        link_s: Seconds on the link that it was compiled for.
        agreement: Share of answers that its codec leaves as they are, 1 without one.
    """

    name: str
    head_s: float
    sent_bytes: int
    packets: int
    tail_s: float
    link_s: float = 0.0
    agreement: float = 1.0

    @staticmethod
    def of(remote: Remote, payload_bytes: int) -> Option:
        """What a head's manifest says of a route.

        Args:
            remote: The route.
            payload_bytes: Bytes of values that a packet holds.

        Raises:
            BadBundleError: What crosses has no fixed size.
        """
        rules = remote.missing or tuple(Missing.of(spec) for spec in remote.crosses)
        packets = nbytes = 0
        for spec, rule in zip(remote.crosses, rules, strict=True):
            packets += _packets(spec, rule, payload_bytes)
            nbytes += spec.bytes
        expected = remote.expected or Expected(head_ms=0.0, tail_ms=0.0)
        return Option(
            remote.name, expected.head_ms / 1e3, nbytes + packets * OVERHEAD_BYTES, packets,
            expected.tail_ms / 1e3, expected.link_ms / 1e3, expected.agreement,
        )  # fmt: skip

    @property
    def expected_s(self) -> float:
        """Seconds that a frame takes as it was predicted when the route was compiled."""
        return self.head_s + self.link_s + self.tail_s


def _packets(spec: TensorSpec, rule: Missing, payload_bytes: int) -> int:
    extents = [extent for extent in spec.shape if extent is not None]
    count = math.prod(extents)
    if len(extents) < len(spec.shape) or count < 0 or (count and spec.bytes % count):
        raise BadBundleError(f"'{spec.name}' cannot be sent", why="it has no fixed size")
    if not count:
        return 0
    if spec.bytes < count or rule.unit < 1:
        why = f"{count} elements in {spec.bytes} bytes, {rule.unit} at a time"
        raise BadBundleError(f"'{spec.name}' cannot be sent", why=why)
    return Chunks(count, Unit(rule.unit, rule.unit * (spec.bytes // count)), payload_bytes).packets
