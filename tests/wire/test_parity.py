# SPDX-License-Identifier: Apache-2.0
"""Parity packets: any k of a group give it back, however they are lost, and by zfec alone."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitc.arrays import Array
from splitc.errors import ToolchainError, UsageError
from splitc.runtime.manifest import Missing
from splitc.wire.assembly import Assembly
from splitc.wire.boundary import Boundary
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import Kind, Transport, read_header
from splitc.wire.parity import Parity
from splitc.wire.received import Received
from tests.wire.test_boundary import spec, values

zfec = pytest.importorskip("zfec", reason="needs the extra 'parity'")


def frame(count: int, payload_bytes: int, percent: int) -> tuple[Boundary, Array, Datagrams]:
    """A frame of so many bytes with its parity: data packets first."""
    one = spec("uint8", 1, count)
    boundary = Boundary([one], payload_bytes, 5, [Missing(scale="none")])
    array = values(one)
    data = boundary.pack([array], session=1, split=2, frame=0)
    more = Parity(boundary.chunks, payload_bytes, percent).pack(data)
    packets = [bytes(each.packet(k)) for each in (data, more) for k in range(len(each))]
    return boundary, array, Datagrams.packets(packets)


def receiver(boundary: Boundary, percent: int) -> Assembly:
    return Assembly(
        {0: boundary}, session=1, split=2, transport=Transport.PARITY, deadline_s=1.0,
        grace_s=0.25, parity_percent=percent,
    )  # fmt: skip


def test_parity_blocks_are_those_of_zfec_over_chunks_filled_up_with_zeros() -> None:
    boundary, _, packets = frame(95, 10, 30)
    rows = [bytes(packets.payload(k)).ljust(10, b"\0") for k in range(10)]
    wanted = zfec.Encoder(10, 13).encode(rows, (10, 11, 12))
    assert [bytes(packets.payload(k)) for k in range(10, 13)] == wanted
    for number in range(3):
        header = read_header(packets.packet(10 + number))
        assert header == (Kind.PARITY, 1, 2, 0, 0, number, 10, 30)
    assert boundary.chunks == 10


def test_groups_are_interleaved_and_their_blocks_run_through() -> None:
    _, _, packets = frame(300, 1, 7)
    groups = [range(g, 300, 3) for g in range(3)]
    number = 300
    for group in groups:
        rows = [bytes(packets.payload(chunk)) for chunk in group]
        for block in zfec.Encoder(100, 107).encode(rows, tuple(range(100, 107))):
            assert bytes(packets.payload(number)) == block
            number += 1
    assert number == len(packets)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 400), st.integers(1, 100), st.integers(0, 2**32), st.floats(0, 0.6),
    st.integers(1, 9),
)  # fmt: skip
def test_what_can_be_computed_is_and_the_rest_is_as_over_plain_udp(
    count: int, percent: int, seed: int, loss: float, together: int
) -> None:
    boundary, array, packets = frame(count, 2, percent)
    rng = np.random.default_rng(seed)
    kept = np.flatnonzero(rng.random(len(packets)) >= loss)
    rng.shuffle(kept)
    one, closed = receiver(boundary, percent), list[Received]()
    for start in range(0, len(kept), together):
        closed += one.add(packets.take(kept[start : start + together]), 1.0)
    closed += one.due(2.0)
    if not len(kept):
        assert closed == []
        return
    (received,) = closed
    chunks = boundary.chunks
    step = -(-chunks // 128)
    came, number = np.isin(np.arange(chunks), kept), chunks
    for group in range(step):
        here = slice(group, chunks, step)
        more = -(-len(came[here]) * percent // 100)
        parity = np.isin(np.arange(number, number + more), kept).sum()
        number += more
        if came[here].sum() + parity >= len(came[here]):
            came[here] = True
    assert (received.why == "complete") == came.all()
    assert received.came == came.sum()
    rows = np.zeros((chunks, 2), np.uint8)
    for chunk in range(chunks):
        payload = packets.payload(chunk)
        rows[chunk, : len(payload)] = np.frombuffer(payload, np.uint8)
    (wanted,), share = boundary.unpack(rows, came)
    np.testing.assert_array_equal(received.arrays[0], wanted)
    assert received.share == share
    if came.all():
        np.testing.assert_array_equal(received.arrays[0], array)


def test_a_frame_is_over_when_its_parity_comes() -> None:
    boundary, _, packets = frame(100, 10, 20)
    one = receiver(boundary, 20)
    one.add(packets.take([0, 9]), 1.0)
    assert one.next_due() == 2.0, "its last chunk is not its last packet"
    one.add(packets.take([10]), 1.5)
    assert one.next_due() == 1.75
    (received,) = one.due(1.75)
    assert (received.why, received.came) == ("grace", 2)


def test_parity_that_contradicts_the_session_is_dropped() -> None:
    boundary, _, packets = frame(100, 10, 20)
    for field, value in (("extra", 30), ("chunk", 2), ("chunks", 11), ("route", 1)):
        one = receiver(boundary, 20)
        bad = packets.take([10])
        bad.headers[field] = value
        assert one.add(bad, 1.0) == []
        assert one.counters.malformed == 1
        assert one.bytes_held == 0
    plain = Assembly({0: boundary}, session=1, split=2, deadline_s=1, grace_s=1)
    assert plain.add(packets.take([10]), 1.0) == []
    assert plain.counters.malformed == 1


def test_recovered_chunks_count_as_come() -> None:
    boundary, array, packets = frame(100, 10, 20)
    one = receiver(boundary, 20)
    (received,) = one.add(packets.take([0, 1, 2, 3, 5, 6, 7, 8, 10, 11]), 1.0)
    np.testing.assert_array_equal(received.arrays[0], array)
    assert (one.counters.recovered, one.counters.missing, one.loss_rate) == (2, 0, 0.0)


@pytest.mark.parametrize("percent", [0, -1, 101, 255])
def test_shares_of_parity_that_cannot_be_are_refused(percent: int) -> None:
    with pytest.raises(UsageError, match=f"parity {percent} is not in 1 to 100 percent"):
        Parity(10, 100, percent)


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zfec", None)
    with pytest.raises(ToolchainError, match=r"need zfec\n.*splitc\[parity\]"):
        Parity(10, 100, 20)
