# SPDX-License-Identifier: Apache-2.0
"""Datagram sockets: many at once, from several threads, and what the network answers."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from splitc.errors import DeviceError
from splitc.net import kernel, sockets
from splitc.net.address import Address, peer_of, show_peer
from splitc.net.sockets import BATCH, Buffers, DatagramSocket
from splitc.wire.datagrams import Datagrams

LIMIT_S = 10.0
"""How long a test waits for what has to come."""
HOSTS = ("127.0.0.1", "::1")


def datagrams(count: int, nbytes: int = 500, first: int = 0) -> Datagrams:
    """So many, of different bytes; the first four of each are its number."""
    block = np.random.default_rng(first).integers(0, 256, (count, nbytes + 12)).astype(np.uint8)
    numbers = np.arange(first, first + count, dtype="<u4")
    block[:, :4] = numbers.view(np.uint8).reshape(count, 4)
    return Datagrams(block, np.full(count, nbytes, np.int64))


def packets(of: Datagrams) -> list[bytes]:
    return [bytes(of.packet(row)) for row in range(len(of))]


def receive(at: DatagramSocket, count: int) -> tuple[list[bytes], set[bytes]]:
    """So many packets, however they come, and who sent them."""
    found: list[bytes] = []
    peers: set[bytes] = set()
    while len(found) < count:
        came = at.receive(LIMIT_S)
        assert len(came.datagrams), f"{len(found)} of {count} came"
        found += packets(came.datagrams)
        peers |= {row.tobytes() for row in came.peers}
    return found, peers


@pytest.fixture(params=["kernel", "single"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the kernel's batches and without."""
    if request.param == "kernel" and not kernel.HAS_BATCHES:
        pytest.skip("this system has no sendmmsg")
    if request.param == "single":
        monkeypatch.setattr(sockets, "batches", kernel.SingleBatches)
    return request.param


@pytest.fixture(params=HOSTS)
def pair(
    request: pytest.FixtureRequest, kind: str
) -> Iterator[tuple[DatagramSocket, DatagramSocket]]:
    """A socket that serves and one that is connected to it."""
    with (
        DatagramSocket.bind(Address(request.param, 0)) as serves,
        DatagramSocket.connect(serves.address) as asks,
    ):
        yield serves, asks


def test_what_is_sent_comes_bit_for_bit_and_goes_back_to_who_sent_it(
    pair: tuple[DatagramSocket, DatagramSocket],
) -> None:
    serves, asks = pair
    sent = datagrams(3 * BATCH // 2)
    sent.lengths[:] = np.arange(len(sent)) % 400 + 100
    assert asks.send(sent) == len(sent)
    found, peers = receive(serves, len(sent))
    assert found == packets(sent)
    (peer,) = peers
    assert peer == asks.own
    assert serves.send(sent.take(slice(0, 3)), peer) == 3
    back, (server,) = receive(asks, 3)
    assert back == packets(sent)[:3]
    assert show_peer(server) == str(serves.address)


def test_rows_of_any_stride_are_sent(pair: tuple[DatagramSocket, DatagramSocket]) -> None:
    serves, asks = pair
    wide = datagrams(20, 64)
    apart = Datagrams(wide.block[::3, 4:40], np.full(7, 30, np.int64))
    asks.send(apart)
    assert receive(serves, 7)[0] == packets(apart)


def test_nothing_comes_when_nothing_was_sent(pair: tuple[DatagramSocket, DatagramSocket]) -> None:
    serves, asks = pair
    assert len(serves.receive(0).datagrams) == 0
    assert len(serves.receive(0.01).datagrams) == 0
    assert asks.send(datagrams(0)) == 0


def test_a_datagram_longer_than_is_expected_is_dropped_and_counted(kind: str) -> None:
    with (
        DatagramSocket.bind(Address("127.0.0.1", 0), datagram_bytes=256) as serves,
        DatagramSocket.connect(serves.address) as asks,
    ):
        sent = datagrams(5, 300)
        sent.lengths[:] = (256, 257, 10, 300, 0)
        asks.send(sent)
        found, _ = receive(serves, 3)
        assert found == [packets(sent)[row] for row in (0, 2, 4)]
        assert serves.counters.truncated == 2


def test_several_threads_send_while_one_receives(kind: str) -> None:
    threads, each = 4, 200
    with (
        DatagramSocket.bind(Address("127.0.0.1", 0)) as serves,
        DatagramSocket.connect(serves.address) as asks,
    ):
        runs = [
            threading.Thread(target=asks.send, args=(datagrams(each, 200, n * each),))
            for n in range(threads)
        ]
        for run in runs:
            run.start()
        found, _ = receive(serves, threads * each)
        for run in runs:
            run.join(LIMIT_S)
        sent = [p for n in range(threads) for p in packets(datagrams(each, 200, n * each))]
        assert sorted(found) == sorted(sent)


def test_another_thread_wakes_who_waits_and_what_comes_next_is_received(kind: str) -> None:
    with (
        DatagramSocket.bind(Address("127.0.0.1", 0)) as serves,
        DatagramSocket.connect(serves.address) as asks,
    ):
        for _ in range(3):
            thread = threading.Thread(target=serves.wake)
            thread.start()
            assert len(serves.receive(None).datagrams) == 0
            thread.join(LIMIT_S)
        asks.send(datagrams(1))
        assert receive(serves, 1)[0] == packets(datagrams(1))


def test_a_port_where_nothing_listens_is_counted_and_no_failure(kind: str) -> None:
    with DatagramSocket.bind(Address("127.0.0.1", 0)) as serves:
        address = serves.address
    with DatagramSocket.connect(address) as asks:
        asks.send(datagrams(1))
        assert len(asks.receive(LIMIT_S).datagrams) == 0
        assert asks.counters.refused == 1
        # The answer to the first is what the second meets; it goes out all the same.
        assert asks.send(datagrams(2)) + asks.counters.refused >= 3
        with DatagramSocket.bind(address) as back:
            assert asks.send(datagrams(2)) == 2
            assert receive(back, 2)[0] == packets(datagrams(2))


@pytest.mark.parametrize("host", HOSTS)
def test_a_datagram_too_long_for_the_way_is_a_named_error_to_its_one_peer(
    host: str, kind: str
) -> None:
    with (
        DatagramSocket.bind(Address(host, 0)) as serves,
        DatagramSocket.connect(serves.address) as asks,
    ):
        with pytest.raises(DeviceError, match="too long for the way") as caught:
            asks.send(datagrams(1, 65_530))
        assert caught.value.hint.startswith("--mtu 6553")
        asks.send(datagrams(1))
        _, (peer,) = receive(serves, 1)
        assert serves.send(datagrams(2, 65_530), peer) == 0
        assert serves.counters.too_long == 2


def test_a_kernel_without_memory_and_a_firewall_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel refuses one datagram in three; the others go out."""
    refusals = iter([errno.ENOBUFS, errno.EPERM, errno.ENETUNREACH])

    class Refuses(kernel.SingleBatches):
        def send(self, out: socket.socket, block: object, lengths: object, to: bytes) -> int:
            if (len(lengths) % 3) == 0:  # type: ignore[arg-type]
                number = next(refusals, 0)
                if number:
                    raise OSError(number, "refused")
            return super().send(out, block[:1], lengths[:1], to)  # type: ignore[index]

    monkeypatch.setattr(sockets, "batches", Refuses)
    with (
        DatagramSocket.bind(Address("127.0.0.1", 0)) as serves,
        DatagramSocket.connect(serves.address) as asks,
    ):
        assert asks.send(datagrams(9)) == 6
        counted = asks.counters
        assert (counted.no_room, counted.blocked, counted.unreachable) == (1, 1, 1)
        numbers = [int.from_bytes(p[:4], "little") for p in receive(serves, 6)[0]]
        assert numbers == [1, 2, 4, 5, 7, 8]


def test_what_was_lost_to_a_full_buffer_is_known() -> None:
    with (
        DatagramSocket.bind(Address("127.0.0.1", 0), buffer_bytes=16_384) as serves,
        DatagramSocket.connect(serves.address) as asks,
    ):
        sent = 500
        asks.send(datagrams(sent))
        kept = 0
        while count := len(serves.receive(0).datagrams):
            kept += count
        assert 0 < kept < sent
        assert serves.dropped == sent - kept


def test_buffers_say_what_was_got_and_what_to_do() -> None:
    assert Buffers(1000, 1000, 1000).warning == ""
    assert "net.core.rmem_max=4000000" in Buffers(4_000_000, 212_992, 4_000_000).warning
    with DatagramSocket.bind(Address("127.0.0.1", 0), buffer_bytes=2**30) as greedy:
        got = greedy.buffers
        assert 0 < got.receive <= got.asked == 2**30
        assert (got.receive < got.asked) == bool(got.warning)


def test_a_port_in_use_and_an_address_of_others_are_named() -> None:
    with DatagramSocket.bind(Address("127.0.0.1", 0)) as serves:
        with pytest.raises(DeviceError, match="cannot listen on 127") as caught:
            DatagramSocket.bind(serves.address)
        assert caught.value.why == "the port is in use"
    with pytest.raises(DeviceError, match="cannot listen on 192.0.2.1:0") as caught:
        DatagramSocket.bind(Address("192.0.2.1", 0))
    assert "does not have that address" in caught.value.why


def test_a_peer_that_nobody_can_be_is_counted_and_no_failure(kind: str) -> None:
    """Anybody may write port 0, or a broadcast address, as where a datagram came from."""
    with DatagramSocket.bind(Address("127.0.0.1", 0)) as serves:
        for number, name in enumerate((("127.0.0.1", 0), ("255.255.255.255", 9)), 1):
            assert serves.send(datagrams(1), peer_of(socket.AF_INET, name)) == 0
            assert serves.counters.unreachable == number


def test_a_failed_socket_is_a_named_error() -> None:
    one = DatagramSocket.bind(Address("127.0.0.1", 0))
    one.close()
    with pytest.raises(DeviceError, match="cannot receive at 127"):
        one.receive(0)
    with pytest.raises(DeviceError, match="cannot send to 0.0.0.0"):
        one.send(datagrams(1), bytes(28))
