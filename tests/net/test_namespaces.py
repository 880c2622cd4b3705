# SPDX-License-Identifier: Apache-2.0
"""The kernel's bad network is what the theory speaks of: binomial losses, n_t T of time.

Nothing seeds nftables. Bounds come from the exact distribution, so wide that a sound network
falls outside them once in 10^9 runs.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import numpy as np
import pytest

from splitc.link.loss_latency import Transfer
from splitc.net.address import Address
from splitc.net.sockets import DatagramSocket
from splitc.net.stream import StreamListener, StreamSocket
from splitc.wire.datagrams import Datagrams
from tests import skips
from tests.net.namespaces import NO_NETEM, Cable, cable, why_not

LIMIT_S = 10.0
FALSE_ALARM = 1e-9
HEADERS_BYTES = 14 + 20 + 8
"""Ethernet, IPv4, UDP: what tbf counts beside a datagram's own bytes."""


@pytest.fixture
def network() -> Iterator[Cable]:
    with cable() as made:
        yield made


@pytest.fixture
def ends(network: Cable) -> Iterator[tuple[DatagramSocket, DatagramSocket]]:
    """The server's socket and the device's."""
    with network.server.entered():
        serves = DatagramSocket.bind(Address(network.server.host, 0))
    with network.device.entered():
        asks = DatagramSocket.connect(serves.address)
    with serves, asks:
        yield serves, asks


def numbered(count: int, nbytes: int = 500) -> Datagrams:
    block = np.zeros((count, nbytes), np.uint8)
    block[:, :4] = np.arange(count, dtype="<u4").view(np.uint8).reshape(count, 4)
    return Datagrams(block, np.full(count, nbytes, np.int64))


def numbers_of(came: Datagrams) -> list[int]:
    return np.ascontiguousarray(came.block[:, :4]).view("<u4")[:, 0].tolist()


def bounds(count: int, loss: float) -> tuple[int, int]:
    """Packets that arrive of so many: fewer or more have a chance of 1e-9 together."""
    received = Transfer(count, 0.0, loss).received
    few = received.values[np.searchsorted(received.cdf, FALSE_ALARM / 2)]
    many = received.values[np.searchsorted(received.cdf, 1 - FALSE_ALARM / 2)]
    return int(few), int(many)


@pytest.mark.parametrize("loss", [0.0, 0.05, 0.3, 0.6])
def test_the_share_that_comes_is_binomial_and_losses_are_independent(
    network: Cable, ends: tuple[DatagramSocket, DatagramSocket], loss: float
) -> None:
    serves, asks = ends
    network.lose(network.server, loss, rule=f"udp dport {serves.address.port}")
    count = 5000
    sent = numbered(count)
    found: list[int] = []
    for first in range(0, count, 50):
        # The default receive buffer holds 166 of them: nothing is lost but by the rule.
        assert asks.send(sent.take(slice(first, first + 50))) == 50
        found += numbers_of(serves.receive(0).datagrams)
    while len(came := serves.receive(0.2).datagrams):
        found += numbers_of(came)
    network_saw, network_lost = network.counted(network.server)
    assert (network_saw, serves.dropped) == (count, 0)
    assert len(found) == count - network_lost
    few, many = bounds(count, loss)
    assert few <= len(found) <= many
    # Whether a packet comes says nothing of the next: pairs apart from each other are binomial.
    here = np.zeros(count, np.bool_)
    here[found] = True
    both = int((here[::2] & here[1::2]).sum())
    few, many = bounds(count // 2, 1 - (1 - loss) ** 2)
    assert few <= both <= many


def test_packets_take_their_time_at_the_rate_that_was_set(
    network: Cable, ends: tuple[DatagramSocket, DatagramSocket]
) -> None:
    """Itahara et al.: 132 packets of 500 bytes at 9.0 Mb/s, less what a bucket lets go at once."""
    serves, asks = ends
    rate, burst_bytes = 9e6, 3000
    network.slow(network.device, rate, burst_bytes=burst_bytes)
    count, nbytes = 132, 500 - HEADERS_BYTES
    began = time.monotonic()
    assert asks.send(numbered(count, nbytes)) == count
    found: list[int] = []
    while len(found) < count:
        came = serves.receive(LIMIT_S).datagrams
        assert len(came)
        found += numbers_of(came)
    took = time.monotonic() - began
    assert found == list(range(count))
    theory = Transfer(count, 500 * 8 / rate).unrepeated_s
    assert took >= theory - burst_bytes * 8 / rate
    # Nothing but a machine that did not run it could take so much longer.
    assert took <= theory + 2


def test_what_waits_too_long_for_the_rate_is_lost_and_the_sender_is_not_told(
    network: Cable, ends: tuple[DatagramSocket, DatagramSocket]
) -> None:
    serves, asks = ends
    network.slow(network.device, 1e6, burst_bytes=2000, queue_ms=100)
    assert asks.send(numbered(200)) == 200
    found: list[int] = []
    while len(came := serves.receive(0.5).datagrams):
        found += numbers_of(came)
    # 100 ms at 1 Mb/s are 12,500 bytes; the bucket passes some more.
    most = (12_500 + 2000) // 542 + 200 * 500e-6 * 1e6 / 8 / 542
    assert 12_500 // 542 <= len(found) <= most + 3
    assert found[:20] == list(range(20))


def test_tcp_brings_everything_over_the_same_losses(network: Cable) -> None:
    with network.server.entered():
        listener = StreamListener(Address(network.server.host, 0))
    network.lose(network.server, 0.05, rule=f"tcp dport {listener.address.port}")
    with listener:
        with network.device.entered():
            asks = StreamSocket.connect(listener.address, timeout_s=LIMIT_S)
        serves = listener.accept(LIMIT_S)
        assert serves is not None
        with asks, serves:
            # What the server's buffers do not hold yet is kept, and goes as it reads.
            assert asks.send(numbered(400, 1400), timeout_s=0) == 400
            found: list[int] = []
            while len(found) < 400:
                asks.flush(0.01)
                found += numbers_of(serves.receive(0.01).datagrams)
                assert not serves.closed
            assert found == list(range(400))
    saw, lost = network.counted(network.server)
    # 560 kB in segments of 1,448 bytes at most: they were lost one by one, and sent again.
    assert saw >= 400 * 1404 // 1448 + lost
    assert lost > 0


def test_nothing_is_left_of_a_network_whatever_happens_in_it() -> None:
    left: list[subprocess.Popen[bytes]] = []
    with pytest.raises(RuntimeError, match="in the middle"), cable() as made:
        command = made.server.command("sh", "-c", "echo here; exec sleep 1000")
        left.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        assert left[0].stdout is not None
        assert left[0].stdout.readline() == b"here\n"
        raise RuntimeError("in the middle")
    assert left[0].wait(LIMIT_S) == -9
    assert left[0].communicate() == (b"", None)
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    assert made.server.name not in listed.stdout
    assert made.device.name not in listed.stdout


def test_a_test_without_what_it_needs_is_skipped_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def which(name: str) -> str | None:
        return None if name == "nft" else name

    monkeypatch.setattr("shutil.which", which)
    assert why_not() == "nft is not installed (nftables)"
    assert skips.why_wrong(why_not())
    assert not skips.why_wrong(NO_NETEM)


def test_delay_is_what_netem_says_where_there_is_netem(
    network: Cable, ends: tuple[DatagramSocket, DatagramSocket]
) -> None:
    serves, asks = ends
    network.delay(network.device, 20)
    began = time.monotonic()
    asks.send(numbered(1))
    assert len(serves.receive(LIMIT_S).datagrams) == 1
    assert time.monotonic() - began >= 0.02
