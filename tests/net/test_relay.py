# SPDX-License-Identifier: Apache-2.0
"""The relay: it does to real datagrams what its plan says, in each direction, for each device."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager

import pytest

from splitc.errors import DeviceError
from splitc.net.address import Address
from splitc.net.impairment import Impairment, Plan
from splitc.net.relay import Relay

LIMIT_S = 10.0


@contextmanager
def open_socket(to: Address | None = None) -> Generator[socket.socket]:
    """A plain socket, bound on loopback or connected."""
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(LIMIT_S)
    with made:
        if to is None:
            made.bind(("127.0.0.1", 0))
        else:
            made.connect((to.host, to.port))
        yield made


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with open_socket() as made:
        yield made


def address(of: socket.socket) -> Address:
    return Address(*of.getsockname())


def until(happened: Callable[[], bool]) -> None:
    """Wait for something that has to happen."""
    limit = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < limit
        time.sleep(0.001)


def test_a_link_that_does_nothing_hands_on_both_ways(server: socket.socket) -> None:
    with Relay(address(server)) as relay, open_socket(relay.address) as device:
        for number in range(20):
            device.send(bytes([number]))
            packet, back = server.recvfrom(100)
            assert packet == bytes([number])
            server.sendto(packet * 2, back)
            assert device.recv(100) == bytes([number]) * 2
    assert (relay.up.came, relay.up.delivered) == (20, 20)
    assert (relay.down.came, relay.down.delivered) == (20, 20)


def test_exactly_the_packets_that_the_seed_says_are_lost(server: socket.socket) -> None:
    up = Impairment(loss=0.3)
    plan = Plan(up, 5)
    kept = [n for n in range(300) if not plan.fate(n).lost]
    with Relay(address(server), up=up, seed=5) as relay, open_socket(relay.address) as device:
        for number in range(300):
            device.send(number.to_bytes(2, "little"))
            until(lambda number=number: relay.up.came > number)
        found = [int.from_bytes(server.recv(100), "little") for _ in kept]
        assert found == kept
        assert (relay.up.lost, relay.down.came) == (300 - len(kept), 0)


def test_directions_have_their_own_settings(server: socket.socket) -> None:
    down = Impairment(duplicate=0.5, corrupt=0.5)
    with Relay(address(server), down=down, seed=2) as relay, open_socket(relay.address) as device:
        device.send(b"\0" * 8)
        packet, back = server.recvfrom(100)
        assert packet == b"\0" * 8
        plan = Plan(down, 2, direction=1)
        for number in range(50):
            fate = plan.fate(number)
            server.sendto(packet, back)
            came = [device.recv(100) for _ in range(fate.copies)]
            ones = [int.from_bytes(each, "little").bit_count() for each in came]
            assert ones == [int(fate.spoilt)] * fate.copies
    assert relay.down.delivered == 50 + relay.down.duplicated


def test_each_device_gets_its_own_answers(server: socket.socket) -> None:
    with (
        Relay(address(server)) as relay,
        open_socket(relay.address) as first,
        open_socket(relay.address) as second,
    ):
        backs: dict[bytes, tuple[str, int]] = {}
        for device, name in ((first, b"1"), (second, b"2")):
            device.send(name)
            packet, backs[name] = server.recvfrom(10)
            assert packet == name
        assert len(set(backs.values())) == 2
        for name, back in backs.items():
            server.sendto(b"to " + name, back)
        assert (first.recv(10), second.recv(10)) == (b"to 1", b"to 2")


def test_a_packet_is_late_by_its_delay_at_least_and_an_early_one_overtakes(
    server: socket.socket,
) -> None:
    up = Impairment(delay=0.3, reorder=0.3)
    plan = Plan(up, 4)
    hurried = [plan.fate(n).hurried for n in range(10)]
    assert 0 < sum(hurried) < 10
    with Relay(address(server), up=up, seed=4) as relay, open_socket(relay.address) as device:
        sent: list[float] = []
        for number in range(10):
            sent.append(time.monotonic())
            device.send(bytes([number]))
        found: list[int] = []
        for _ in range(10):
            (number,) = server.recv(10)
            assert time.monotonic() - sent[number] >= (0.0 if hurried[number] else 0.3)
            found.append(number)
        assert sorted(found) == list(range(10))
        early = [n for n in range(10) if hurried[n]]
        assert found[: len(early)] == early


def test_a_bandwidth_is_kept(server: socket.socket) -> None:
    """40 packets of 472 + 28 bytes at 2 Mb/s are through after 80 ms, and no sooner."""
    up = Impairment(bandwidth="2Mbit")
    with Relay(address(server), up=up) as relay, open_socket(relay.address) as device:
        began = time.monotonic()
        for _ in range(40):
            device.send(bytes(472))
        for number in range(1, 41):
            server.recv(1000)
            assert time.monotonic() - began >= number * 500 * 8 / 2e6
        assert relay.up.queue_full == 0


def test_a_server_that_is_gone_and_back_is_no_end(server: socket.socket) -> None:
    place = address(server)
    with Relay(place) as relay, open_socket(relay.address) as device:
        device.send(b"1")
        assert server.recv(10) == b"1"
        server.close()
        for count in range(2, 12):
            device.send(b"lost")
            until(lambda count=count: relay.up.came == count)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
            again.settimeout(0.05)
            again.bind((place.host, place.port))
            packet = b""
            limit = time.monotonic() + LIMIT_S
            while packet != b"2":
                device.send(b"2")
                try:
                    packet = again.recv(10)
                except TimeoutError:
                    assert time.monotonic() < limit


def test_the_longest_silent_device_is_forgotten_for_another(server: socket.socket) -> None:
    with Relay(address(server), devices=2) as relay:
        ports: list[tuple[str, int]] = []
        for _ in range(5):
            with open_socket(relay.address) as device:
                device.send(b"x")
                _, back = server.recvfrom(10)
                server.sendto(b"y", back)
                assert device.recv(10) == b"y"
                ports.append(back)
        assert len(set(ports[-2:])) == 2


def test_what_comes_too_fast_for_the_relay_is_counted_apart(
    server: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("splitc.net.relay.BUFFER_BYTES", 4096)
    with Relay(address(server)) as relay, open_socket(relay.address) as device:
        sent = 0
        until_s = time.monotonic() + LIMIT_S
        while not relay.missed:
            assert time.monotonic() < until_s
            for _ in range(200):
                sent += device.send(bytes(500)) // 500
        until(lambda: relay.up.came + relay.missed == sent)
    assert relay.up.came + relay.missed == sent


def test_a_port_in_use_is_named(server: socket.socket) -> None:
    with pytest.raises(DeviceError, match="cannot listen on"):
        Relay(Address("127.0.0.1", 9), bind=address(server))
