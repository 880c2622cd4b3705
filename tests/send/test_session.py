# SPDX-License-Identifier: Apache-2.0
"""A device's conversation with a server over a simulated link: what becomes of frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from splitc.errors import BadBundleError, DeviceError
from splitc.send.settings import Settings, Transport
from splitc.send.talk import Outcome
from splitc.wire.handshake import Code
from splitc.wire.header import Header, Kind, read_header
from tests.send.honest_server import HonestServer
from tests.send.simulation import REMOTE, SPLIT, Trouble, World, tail, values

KEY = b"k" * 32


def server(key: bytes | None = None, refuses: Code | None = None) -> HonestServer:
    return HonestServer(REMOTE, SPLIT, tail, key=key, refuses=refuses)


def frames(world: World, count: int, every_s: float = 0.02) -> None:
    while not world.session.open:
        world.run(0.1)
    for ticket in range(count):
        world.submit(ticket)
        world.run(every_s)
    world.run(2.0)


def assert_answered(outcome: Outcome, ticket: int) -> None:
    """The server's answer to all of the frame, bit for bit."""
    assert outcome.arrays is not None
    assert outcome.share == 1.0
    for found, right in zip(outcome.arrays, tail(values(ticket)), strict=True):
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("transport", ["udp", "resend", "parity", "tcp"])
def test_every_frame_is_answered_over_a_good_link(transport: Transport, key: bytes | None) -> None:
    world = World(server(key), Settings(transport=transport), key=key)
    frames(world, 12)
    for ticket in range(12):
        assert_answered(world.outcomes[ticket], ticket)
    counters = world.session.counters
    assert (counters.packets_resent, counters.nacks, counters.sessions) == (0, 0, 1)
    assert counters.packets_sent == len(world.sent)


def test_a_frame_that_is_there_before_the_server_waits_for_it() -> None:
    world = World(server())
    world.submit(7)
    world.run(0.1)
    assert_answered(world.outcomes[7], 7)


def test_without_sending_again_what_is_lost_stays_lost_and_is_answered() -> None:
    world = World(server(), trouble=Trouble(loss=0.3), seed=3)
    frames(world, 60)
    assert world.session.counters.packets_resent == 0
    shares = [one.share for one in world.outcomes.values() if one.arrays is not None]
    assert len(shares) > 55
    # 6 chunks a frame, 360 draws: the mean of 0.7 is off by more than 0.1 once in 10^4 times.
    assert np.mean(shares) == pytest.approx(0.7, abs=0.1)
    assert min(shares) < 1.0


def test_a_lost_last_packet_costs_no_deadline() -> None:
    world = World(server(), Settings(deadline_s=0.5), trouble=Trouble(loss=0.3), seed=1)
    frames(world, 40, every_s=0.1)
    times = [one.done_s - one.left_s for one in world.outcomes.values() if one.left_s is not None]
    assert np.median(times) < 0.1


def test_what_the_server_lacks_is_sent_again_until_the_deadline() -> None:
    world = World(
        server(), Settings(transport="resend", deadline_s=0.5), trouble=Trouble(loss=0.3), seed=5
    )
    frames(world, 40, every_s=0.1)
    whole = [ticket for ticket, one in world.outcomes.items() if one.share == 1.0]
    assert len(whole) >= 39
    for ticket in whole:
        assert_answered(world.outcomes[ticket], ticket)
    assert world.session.counters.packets_resent > 40


def test_nothing_is_sent_again_past_the_deadline() -> None:
    world = World(
        server(), Settings(transport="resend", deadline_s=0.05), trouble=Trouble(loss=0.5), seed=5
    )
    frames(world, 1)
    began = world.now
    world.submit(1)
    world.server.deaf = True
    last = 0.0
    while world.now < began + 0.9:
        before = world.session.counters.packets_resent
        world.run(0.001)
        if world.session.counters.packets_resent > before:
            last = world.now
    assert last <= began + 0.051


def test_parity_packets_make_up_for_lost_ones() -> None:
    lossy = Trouble(loss=0.1)
    without = World(server(), Settings(grace_s=0.002), lossy, seed=2)
    with_parity = World(
        server(), Settings(transport="parity", parity_percent=100, grace_s=0.002), lossy, seed=2
    )
    whole: list[int] = []
    for world in (without, with_parity):
        frames(world, 40)
        whole.append(sum(one.share == 1.0 for one in world.outcomes.values()))
    assert whole[0] < 30
    assert whole[1] >= 38
    for ticket, one in with_parity.outcomes.items():
        if one.share == 1.0:
            assert_answered(one, ticket)


@settings(max_examples=40)
@given(
    transport=st.sampled_from(["udp", "resend", "parity"]),
    key=st.sampled_from([None, KEY]),
    loss=st.floats(0, 0.7),
    twice=st.floats(0, 0.5),
    flipped=st.floats(0, 0.2),
    jitter_s=st.floats(0, 0.02),
    bandwidth=st.sampled_from([None, 5e6]),
    restart=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_every_frame_ends_in_time_whatever_the_link_does(
    transport: Transport, key: bytes | None, loss: float, twice: float, flipped: float,
    jitter_s: float, bandwidth: float | None, restart: bool, seed: int,
) -> None:  # fmt: skip
    world = World(
        server(key), Settings(transport=transport, bandwidth_bps=bandwidth, silent_after_s=0.4),
        Trouble(loss, twice, flipped, 0.002, jitter_s), key, seed,
    )  # fmt: skip
    for ticket in range(10):
        world.submit(ticket)
        world.run(0.03)
        if restart and ticket == 4:
            world.server.forget()
    world.run(0.5)
    assert sorted(world.outcomes) == list(range(10))
    for ticket, one in world.outcomes.items():
        assert (one.arrays is None) == (one.error is not None)
        if one.share == 1.0 and (key is not None or not flipped):
            assert_answered(one, ticket)


@settings(max_examples=50)
@given(packets=st.lists(st.binary(max_size=120), max_size=8), data=st.data())
def test_what_anybody_sends_is_dropped_and_counted(
    packets: list[bytes], data: st.DataObject
) -> None:
    from splitc.wire.datagrams import Datagrams

    world = World(server())
    world.run(0.1)
    session = next(iter(world.server.meetings))
    kinds = st.sampled_from([kind for kind in Kind if kind not in (Kind.REFUSE, Kind.BYE)])
    for packet in packets:
        if data.draw(st.booleans()):
            word = st.integers(0, 2**16 - 1)
            header = Header(data.draw(kinds), session, SPLIT, *(data.draw(word) for _ in range(5)))
            world.session.take(Datagrams.of(header, packet), world.now)
        else:
            world.session.take(Datagrams.packets([packet]), world.now)
    world.submit(0)
    world.run(0.5)
    assert_answered(world.outcomes[0], 0)


def test_a_server_that_was_started_anew_gets_the_frames_under_way_again() -> None:
    world = World(server())
    frames(world, 3)
    world.server.forget()
    world.submit(3)
    world.run(0.2)
    assert_answered(world.outcomes[3], 3)
    assert world.session.counters.sessions == 2
    assert not world.session.silent


def test_a_server_that_says_goodbye_is_asked_again() -> None:
    world = World(server())
    world.run(0.1)
    session = next(iter(world.server.meetings))
    from splitc.wire.datagrams import Datagrams

    world.session.take(Datagrams.of(Header(Kind.BYE, session, SPLIT)), world.now)
    assert not world.session.open
    world.submit(0)
    world.run(0.1)
    assert_answered(world.outcomes[0], 0)


def test_a_silent_server_is_noticed_and_asked_for_a_session_until_it_gives_one() -> None:
    world = World(server(), Settings(silent_after_s=0.3))
    frames(world, 2)
    world.server.deaf = True
    world.submit(2)
    world.run(0.29)
    assert 2 not in world.outcomes
    world.run(0.02)
    assert world.outcomes[2].silent
    assert str(world.outcomes[2].error).startswith("the server did not answer within 0.3 s")
    assert world.session.silent
    world.run(5.0)
    assert world.session.silent
    world.server.deaf = False
    world.run(1.1)
    assert not world.session.silent
    world.submit(3)
    world.run(0.1)
    assert_answered(world.outcomes[3], 3)


def test_a_frame_of_which_everything_was_lost_is_answered_soon_all_the_same() -> None:
    world = World(server(), Settings(silent_after_s=5, deadline_s=5))
    frames(world, 5)
    world.server.deaf = True
    world.submit(5)
    world.run(0.008)
    world.server.deaf = False
    world.run(0.2)
    assert world.outcomes[5].share == 0.0
    assert world.outcomes[5].error is None
    assert world.session.counters.sessions == 1


def test_the_tails_failure_is_that_frames_alone() -> None:
    def fails(arrays: list[np.ndarray]) -> list[np.ndarray]:  # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType]
        raise ZeroDivisionError("the tail \x1b[31mfell over")

    world = World(server())
    world.server.tail = fails  # pyright: ignore[reportAttributeAccessIssue]
    world.submit(0)
    world.run(0.1)
    world.server.tail = tail
    world.submit(1)
    world.run(0.1)
    error = world.outcomes[0].error
    assert isinstance(error, DeviceError)
    assert (error.what, error.why) == (
        "the server could not run the tail",
        "the tail [31mfell over",
    )
    assert not world.outcomes[0].silent
    assert_answered(world.outcomes[1], 1)


@pytest.mark.parametrize(
    ("code", "key", "error"), [(Code.FULL, None, DeviceError), (Code.BUNDLE, None, BadBundleError)]
)
def test_a_refusal_is_told_and_final(code: Code, key: bytes | None, error: type) -> None:
    world = World(server(key, code))
    world.run(0.5)
    assert type(world.session.refused) is error
    assert world.session.final
    assert not world.session.open


def test_a_key_is_told_from_another() -> None:
    world = World(server(b"o" * 32), key=KEY)
    world.run(0.5)
    assert world.session.refused is not None
    assert world.session.refused.what == "the server has another key"


def test_no_packet_is_sealed_with_a_nonce_that_another_had() -> None:
    world = World(
        server(KEY), Settings(transport="resend"), Trouble(loss=0.3, jitter_s=0.01), KEY, seed=4
    )
    frames(world, 30)
    world.server.forget()
    frames(world, 0)
    sealed: dict[tuple[int, ...], bytes] = {}
    for packet in world.sent:
        header = read_header(packet)
        assert header is not None
        if header.kind == Kind.HELLO:
            continue
        unique = (
            header.session,
            header.kind,
            header.route,
            header.frame,
            header.chunk,
            header.extra,
        )
        assert sealed.setdefault(unique, packet) == packet


def test_frames_leave_no_faster_than_the_bandwidth() -> None:
    world = World(server(), Settings(bandwidth_bps=1e6, in_flight=4, silent_after_s=5))
    world.run(0.1)
    for ticket in range(4):
        world.submit(ticket)
    world.run(1.0)
    left = [world.outcomes[ticket].left_s for ticket in range(4)]
    each = (8028 + 6 * 60) * 8 / 1e6
    assert np.diff([s for s in left if s is not None]) == pytest.approx([each] * 3, rel=0.02)


def test_no_more_frames_are_under_way_than_are_to_be() -> None:
    world = World(server(), Settings(in_flight=2))
    world.run(0.1)
    world.server.deaf = True
    for ticket in range(5):
        world.submit(ticket)
    world.run(0.1)
    sent = {h.frame for p in world.sent if (h := read_header(p)) and h.kind == Kind.DATA}
    assert sent == {0, 1}


@pytest.mark.parametrize("transport", ["udp", "resend", "parity", "tcp"])
def test_what_is_due_is_done_and_not_due_any_more(transport: Transport) -> None:
    """Over a connection too, where nobody asks for an answer that takes its time."""
    world = World(server(), Settings(transport=transport, silent_after_s=1.0))
    frames(world, 2)
    world.server.deaf = True
    world.submit(2)
    for _ in range(90):
        world.run(0.01)
        world.session.step(world.now)
        world.session.leave(world.now)
        next_s = world.session.next_s(world.now)
        assert next_s is not None
        assert next_s > world.now
