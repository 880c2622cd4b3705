# SPDX-License-Identifier: Apache-2.0
"""The relay of TCP: everything comes in order, late as it says, and no faster than it says."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from splitc.errors import DeviceError, UsageError
from splitc.net.address import Address
from splitc.net.impairment import Impairment
from splitc.net.stream_relay import StreamRelay

LIMIT_S = 10.0


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(LIMIT_S)
        yield made


def connected(relay: StreamRelay) -> socket.socket:
    return socket.create_connection((relay.address.host, relay.address.port), LIMIT_S)


def address(of: socket.socket) -> Address:
    return Address(*of.getsockname())


def read(of: socket.socket, count: int) -> bytes:
    """So many bytes, or fewer where the other end stops."""
    of.settimeout(LIMIT_S)
    found = b""
    while len(found) < count and (piece := of.recv(65_536)):
        found += piece
    return found


def some(count: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(count)


def test_everything_comes_both_ways_and_so_does_the_end(server: socket.socket) -> None:
    with StreamRelay(address(server)) as relay, connected(relay) as device:
        back, _ = server.accept()
        with back:
            sender = threading.Thread(target=device.sendall, args=(some(3_000_000),))
            sender.start()
            assert read(back, 3_000_000) == some(3_000_000)
            sender.join(LIMIT_S)
            device.shutdown(socket.SHUT_WR)
            assert back.recv(1) == b""
            back.sendall(some(100_000, 1))
        assert read(device, 200_000) == some(100_000, 1)
    assert relay.passed_bytes == (3_000_000, 100_000)


def test_what_is_sent_is_late_by_the_delay_and_keeps_to_the_bandwidth(
    server: socket.socket,
) -> None:
    up = Impairment(delay=0.05, bandwidth="8Mbit")
    with StreamRelay(address(server), up=up) as relay, connected(relay) as device:
        back, _ = server.accept()
        with back:
            began = time.monotonic()
            device.sendall(some(100_000))
            first = read(back, 1)
            assert time.monotonic() - began >= 0.05
            assert first + read(back, 100_000 - len(first)) == some(100_000)
            assert time.monotonic() - began >= 0.05 + 100_000 * 8 / 8e6
            began = time.monotonic()
            back.sendall(b"at once")
            assert read(device, 7) == b"at once"


def test_connections_share_the_bandwidth_of_their_direction(server: socket.socket) -> None:
    up = Impairment(bandwidth="8Mbit")
    with (
        StreamRelay(address(server), up=up) as relay,
        connected(relay) as first,
        connected(relay) as second,
    ):
        backs = [server.accept()[0] for _ in range(2)]
        began = time.monotonic()
        first.sendall(some(50_000))
        second.sendall(some(50_000))
        for back in backs:
            with back:
                assert read(back, 50_000) == some(50_000)
        assert time.monotonic() - began >= 100_000 * 8 / 8e6


def test_who_does_not_read_stops_who_sends(server: socket.socket) -> None:
    """Memory is bounded: the device's own kernel takes no more in the end."""
    with (
        StreamRelay(address(server), up=Impairment(queue_bytes=50_000)) as relay,
        connected(relay) as device,
    ):
        back, _ = server.accept()
        with back:
            device.settimeout(0.3)
            sent = 0
            with pytest.raises(TimeoutError):
                while sent < 200_000_000:
                    sent += device.send(bytes(65_536))
            assert len(read(back, sent)) == sent


def test_a_server_that_is_not_there_ends_the_connection(server: socket.socket) -> None:
    gone = address(server)
    server.close()
    with StreamRelay(gone) as relay, connected(relay) as device:
        device.settimeout(LIMIT_S)
        with contextlib.suppress(ConnectionResetError):
            assert device.recv(1) == b""


def test_what_a_relay_cannot_do_to_tcp_and_a_port_in_use_are_named(server: socket.socket) -> None:
    for one in (Impairment(loss=0.1), Impairment(jitter="1ms"), Impairment(corrupt=0.1)):
        with pytest.raises(UsageError, match="delay and bandwidth only"):
            StreamRelay(address(server), down=one)
    with pytest.raises(DeviceError, match="cannot listen on"):
        StreamRelay(Address("127.0.0.1", 9), bind=address(server))
