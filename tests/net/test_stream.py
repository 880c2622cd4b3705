# SPDX-License-Identifier: Apache-2.0
"""Packets over TCP: framing wherever the stream is cut, and peers that misbehave."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitc.errors import DeviceError
from splitc.net.address import Address, show_peer
from splitc.net.framing import Framing, framed
from splitc.net.stream import StreamListener, StreamSocket
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import HEADER_BYTES

LIMIT_S = 10.0
LONGEST = 200

_packets = st.lists(st.binary(min_size=HEADER_BYTES, max_size=LONGEST), max_size=12)


def packets(of: Datagrams) -> list[bytes]:
    return [bytes(of.packet(row)) for row in range(len(of))]


def some(count: int, nbytes: int = 1000) -> Datagrams:
    block = np.random.default_rng(count).integers(0, 256, (count, nbytes)).astype(np.uint8)
    return Datagrams(block, np.full(count, nbytes, np.int64))


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@given(sent=_packets, cuts=st.lists(st.integers(0, 10_000), max_size=30))
def test_packets_are_found_wherever_the_stream_is_cut(sent: list[bytes], cuts: list[int]) -> None:
    framing = Framing(LONGEST)
    found: list[bytes] = []
    for piece in pieces(framed(Datagrams.packets(sent)), cuts):
        found += packets(framing.add(piece))
        assert framing.held < 4 + LONGEST
    assert found == sent
    assert (framing.held, framing.broken) == (0, False)


def test_a_stream_that_comes_byte_by_byte_is_read() -> None:
    sent = [bytes(range(HEADER_BYTES)), bytes(LONGEST)]
    framing = Framing(LONGEST)
    found = [framing.add(bytes([byte])) for byte in framed(Datagrams.packets(sent))]
    assert [packet for each in found for packet in packets(each)] == sent


@given(data=st.binary(max_size=2000), cuts=st.lists(st.integers(0, 10_000), max_size=30))
def test_any_bytes_are_read_alike_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    whole, cut = Framing(LONGEST), Framing(LONGEST)
    at_once = packets(whole.add(data))
    found = [packet for piece in pieces(data, cuts) for packet in packets(cut.add(piece))]
    assert (found, cut.broken, cut.held) == (at_once, whole.broken, whole.held)
    assert all(HEADER_BYTES <= len(packet) <= LONGEST for packet in found)


@pytest.mark.parametrize("length", [0, HEADER_BYTES - 1, LONGEST + 1, 2**32 - 1])
def test_a_length_that_no_packet_has_breaks_the_stream_at_once(length: int) -> None:
    good = Datagrams.packets([bytes(HEADER_BYTES)])
    framing = Framing(LONGEST)
    assert len(framing.add(framed(good) + struct.pack("<I", length))) == 1
    assert (framing.broken, framing.held) == (True, 0)
    assert len(framing.add(framed(good))) == 0


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[StreamSocket, StreamSocket]]:
    """The server's end of a connection and the device's."""
    with (
        StreamListener(Address(request.param, 0)) as listener,
        StreamSocket.connect(listener.address) as asks,
    ):
        serves = listener.accept(LIMIT_S)
        assert serves is not None
        with serves:
            yield serves, asks


def receive(at: StreamSocket, count: int) -> list[bytes]:
    found: list[bytes] = []
    while len(found) < count:
        came = at.receive(LIMIT_S)
        assert len(came.datagrams), f"{len(found)} of {count} came"
        assert {row.tobytes() for row in came.peers} == {at.peer}
        found += packets(came.datagrams)
    return found


def test_packets_go_both_ways_bit_for_bit(pair: tuple[StreamSocket, StreamSocket]) -> None:
    serves, asks = pair
    assert asks.send(some(200)) == 200
    assert receive(serves, 200) == packets(some(200))
    assert serves.send(some(3), timeout_s=0) == 3
    assert receive(asks, 3) == packets(some(3))
    assert show_peer(serves.peer).rpartition(":")[0] == show_peer(asks.peer).rpartition(":")[0]
    assert len(asks.receive(0).datagrams) == 0
    assert not asks.closed


def test_packets_of_several_threads_stay_whole(pair: tuple[StreamSocket, StreamSocket]) -> None:
    serves, asks = pair
    runs = [threading.Thread(target=asks.send, args=(some(50 + n),)) for n in range(4)]
    for run in runs:
        run.start()
    found = receive(serves, 50 + 51 + 52 + 53)
    for run in runs:
        run.join(LIMIT_S)
    assert sorted(found) == sorted(p for n in range(4) for p in packets(some(50 + n)))


def test_who_leaves_is_noticed_and_what_was_sent_before_comes(
    pair: tuple[StreamSocket, StreamSocket],
) -> None:
    serves, asks = pair
    asks.send(some(5))
    asks.close()
    assert receive(serves, 5) == packets(some(5))
    assert len(serves.receive(LIMIT_S).datagrams) == 0
    assert serves.closed
    assert serves.send(some(1)) == 0


def test_a_connection_without_packets_in_it_is_closed() -> None:
    with (
        StreamListener(Address("127.0.0.1", 0)) as listener,
        socket.create_connection(("127.0.0.1", listener.address.port)) as stranger,
    ):
        serves = listener.accept(LIMIT_S)
        assert serves is not None
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with serves:
            assert len(serves.receive(LIMIT_S).datagrams) == 0
            assert (serves.closed, serves.counters.truncated) == (True, 1)


def test_a_slow_reader_costs_what_is_held_for_it_and_no_more() -> None:
    with StreamListener(Address("127.0.0.1", 0)) as listener:
        slow = socket.create_connection(("127.0.0.1", listener.address.port))
        serves = listener.accept(LIMIT_S, hold_bytes=100_000)
        assert serves is not None
        with slow, serves:
            sent = 0
            # The kernel's own buffers are a few MB at most.
            while serves.send(some(50), timeout_s=0):
                sent += 50
                assert sent < 50_000
            assert serves.closed
            assert not serves.wants_write
            assert serves.counters.no_room == 50


def test_what_a_slow_reader_did_not_take_is_kept_for_it_in_order() -> None:
    with (
        StreamListener(Address("127.0.0.1", 0)) as listener,
        StreamSocket.connect(listener.address) as asks,
    ):
        serves = listener.accept(LIMIT_S, hold_bytes=10**7)
        assert serves is not None
        with serves:
            sent = 0
            while not serves.wants_write:
                sent += serves.send(some(50), timeout_s=0)
            found: list[bytes] = []
            while len(found) < sent:
                found += packets(asks.receive(0.01).datagrams)
                serves.flush()
            assert found == packets(some(50)) * (sent // 50)


def test_who_receives_also_sends_what_was_kept(pair: tuple[StreamSocket, StreamSocket]) -> None:
    """A device sends a frame and waits for its answer: nobody else sends the rest for it."""
    serves, asks = pair
    sent = 0
    while not asks.wants_write:
        sent += asks.send(some(50), timeout_s=0)

    def answer() -> None:
        assert receive(serves, sent) == packets(some(50)) * (sent // 50)
        serves.send(some(1))

    thread = threading.Thread(target=answer)
    thread.start()
    assert receive(asks, 1) == packets(some(1))
    thread.join(LIMIT_S)
    assert not asks.wants_write


def test_another_thread_wakes_who_waits(pair: tuple[StreamSocket, StreamSocket]) -> None:
    _, asks = pair
    thread = threading.Thread(target=asks.wake)
    thread.start()
    assert len(asks.receive(None).datagrams) == 0
    thread.join(LIMIT_S)
    assert not asks.closed


def test_ports_where_nothing_listens_or_somebody_does_are_named() -> None:
    with StreamListener(Address("127.0.0.1", 0)) as listener:
        assert listener.accept(0) is None
        with pytest.raises(DeviceError, match="cannot listen on") as caught:
            StreamListener(listener.address)
        assert caught.value.why == "the port is in use"
    with pytest.raises(DeviceError, match="cannot connect to") as caught:
        StreamSocket.connect(listener.address)
    assert caught.value.why == "nothing listens there"


class Held(socket.socket):
    """A socket that is in the middle of a `send` until it is let go."""

    def __init__(self, made: socket.socket) -> None:
        super().__init__(fileno=made.detach())
        self.sending, self.go = threading.Event(), threading.Event()

    def send(self, data: memoryview, flags: int = 0) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.sending.set()
        assert self.go.wait(LIMIT_S)
        return super().send(data, flags)


def test_a_peer_may_leave_while_another_thread_sends_to_it() -> None:
    wrong: list[BaseException] = []

    def noting(act: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            try:
                act()
            except BaseException as error:  # noqa: BLE001
                wrong.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    with socket.create_server(("127.0.0.1", 0)) as listener:
        held = Held(socket.create_connection(listener.getsockname()))
        peer, _ = listener.accept()
        with StreamSocket(held, bytes(28)) as stream:
            sender = noting(lambda: stream.send(some(2)))
            assert held.sending.wait(LIMIT_S)
            peer.close()
            reader = noting(lambda: stream.receive(LIMIT_S))
            while not stream.closed and reader.is_alive():
                reader.join(0.01)
            held.go.set()
            sender.join(LIMIT_S)
            reader.join(LIMIT_S)
            assert not wrong
            assert stream.closed
            assert not stream.wants_write
