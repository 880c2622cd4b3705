# SPDX-License-Identifier: Apache-2.0
"""What leaves, in which order, and no faster than the link."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitc.send.outbox import Outbox
from splitc.send.pacing import Bucket
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import IP_UDP_BYTES, Kind

PACKET = 1472


def packets(count: int, kind: Kind = Kind.DATA, size: int = PACKET - 32) -> Datagrams:
    """That many packets, told apart by their chunk numbers."""
    made = Datagrams.packets([bytes(size + 32)] * count)
    made.headers["kind"] = kind
    made.headers["chunk"] = np.arange(count)
    return made


def chunks(out: list[Datagrams]) -> list[int]:
    return [int(chunk) for some in out for chunk in some.headers["chunk"]]


def test_without_a_bandwidth_everything_leaves_at_once() -> None:
    outbox = Outbox(Bucket(None, 1500))
    outbox.frame(0, packets(500))
    assert chunks(outbox.leave(0.0)) == list(range(500))
    assert outbox.next_s(0.0) is None


@given(
    bits=st.floats(1e4, 1e9),
    lateness=st.lists(st.floats(0.0, 2e-3), min_size=1, max_size=8),
    count=st.integers(1, 60),
)
def test_a_link_is_never_sent_more_than_it_takes(
    bits: float, lateness: list[float], count: int
) -> None:
    outbox, now, sent, step = Outbox(Bucket(bits, 1500)), 0.0, 0, 0
    times: list[float] = []
    outbox.frame(0, packets(count), times.append)
    burst = max(2 * 1528, bits / 8 * 2e-3)
    while (due := outbox.next_s(now)) is not None:
        now = max(due, now) + lateness[step % len(lateness)]
        step += 1
        sent += sum(int((one.lengths + IP_UDP_BYTES).sum()) for one in outbox.leave(now))
        assert sent <= burst + now * bits / 8 + 1
        assert step < 10 * count + 10, "each wait lets a packet go"
    assert times == [now]
    assert sent == count * (PACKET + IP_UDP_BYTES)


def test_timers_that_are_late_do_not_slow_the_sending_down() -> None:
    bucket, gone = Bucket(9e6, 1500), 0
    for step in range(2000):
        gone += bucket.take(np.full(100, PACKET), step * 1e-3)
    assert gone * (PACKET + IP_UDP_BYTES) * 8 == pytest.approx(2 * 9e6, rel=0.01)


def test_messages_go_before_frames_and_frames_in_order() -> None:
    outbox, left = Outbox(Bucket(8e6, 1500)), list[tuple[int, float]]()
    for frame in (0, 1):
        outbox.frame(frame, packets(2), lambda now, frame=frame: left.append((frame, now)))
    assert len(chunks(outbox.leave(0.0))) == 2
    outbox.message(packets(1, Kind.NACK, size=1))
    out = outbox.leave(0.01) + outbox.leave(0.02)
    kinds = [int(kind) for some in out for kind in some.headers["kind"]]
    assert kinds[0] == Kind.NACK
    assert left == [(0, 0.0), (1, 0.02)]


def test_a_frame_that_is_taken_back_does_not_leave() -> None:
    outbox = Outbox(Bucket(8e6, 1500))
    outbox.frame(0, packets(10), lambda now: pytest.fail("it left"))
    assert len(chunks(outbox.leave(0.0))) == 2
    outbox.take_back(0)
    assert outbox.leave(100.0) == []
