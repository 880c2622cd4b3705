# SPDX-License-Identifier: Apache-2.0
"""Measuring finds what the relay between device and server was told to do."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import pytest

from splitc.errors import DeviceError
from splitc.link.link import parse_bandwidth
from splitc.link.loss_latency import GilbertElliott
from splitc.link.measured import Losses, RoundTrips
from splitc.net import probing
from splitc.net.address import Address
from splitc.net.impairment import Direction, Impairment, Plan
from splitc.net.probing import Measured, Train, measure
from splitc.net.relay import Relay
from splitc.net.sockets import DatagramSocket
from splitc.wire.datagrams import Datagrams
from splitc.wire.probe import Echo, Echoes, probes, read_echoes

OVERHEAD_BYTES = 28 + 32
"""IPv4, UDP, and a packet's header."""


class Simulated:
    """A session over a simulated link, on a clock that only waiting moves. It is the clock too.

    Args:
        up: What the link does to probes.
        down: What it does to their echoes.
        seed: Of both.
    """

    def __init__(self, up: Impairment, down: Impairment, seed: int) -> None:
        self._up, self._down = Direction(up, seed, 0), Direction(down, seed, 1)
        self._echoes, self._now = Echoes(), 0.0
        self._to_server: list[tuple[float, int, bytes]] = []
        self._to_device: list[tuple[float, int, bytes]] = []
        self._numbers = itertools.count()

    def monotonic(self) -> float:
        """Seconds."""
        return self._now

    def send(self, train: int, numbers: range, nbytes: int) -> None:
        self._put(self._up, self._to_server, probes(train, numbers, nbytes), self._now)

    def receive(self, timeout_s: float) -> list[Echo]:
        # Looking takes time, as everywhere.
        until = self._now + max(timeout_s, 1e-6)
        while self._to_server and self._to_server[0][0] <= min([until, *self._first()]):
            at_s, _, packet = heapq.heappop(self._to_server)
            answer = self._echoes.answer(Datagrams.packets([packet]), round(at_s * 1e9))
            self._put(self._down, self._to_device, answer, at_s)
        if not self._to_device or self._to_device[0][0] > until:
            self._now = until
            return []
        self._now, _, packet = heapq.heappop(self._to_device)
        return read_echoes(Datagrams.packets([packet]))

    def _first(self) -> list[float]:
        return [at_s for at_s, _, _ in self._to_device[:1]]

    def _put(
        self, way: Direction, to: list[tuple[float, int, bytes]], sent: Datagrams, now: float
    ) -> None:
        for row, nbytes in zip(sent.block, sent.lengths, strict=True):
            for at_s, packet in way.take(row[:nbytes].tobytes(), now):
                heapq.heappush(to, (at_s, next(self._numbers), packet))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Measured]:
    """What is found of a simulated link."""

    def of(up: Impairment, down: Impairment | None = None, seed: int = 1) -> Measured:
        link = Simulated(up, down or Impairment(), seed)
        monkeypatch.setattr(probing, "time", link)
        return measure(link, 1404, OVERHEAD_BYTES, seconds=3)

    return of


def test_bandwidth_delay_and_losses_of_each_way_are_found(
    measured: Callable[..., Measured],
) -> None:
    found = measured(
        Impairment(bandwidth="20Mbit", delay="4ms", loss=0.1), Impairment(delay="4ms", loss=0.3)
    )
    # A probe of 64 bytes waits for the bandwidth too.
    assert 8e-3 < found.rtt.least_s < 8.1e-3
    assert found.rtt.count > 10
    assert found.bandwidth_bps == pytest.approx(20e6, rel=1e-3)
    # A thousand packets: five standard deviations are five in a hundred.
    assert found.up.rate == pytest.approx(0.1, abs=0.05)
    assert found.down_loss_rate == pytest.approx(0.3, abs=0.075)
    assert not found.up.bursty
    flags = found.flags(1500)
    assert flags[::2] == ["--bandwidth", "--rtt", "--loss", "--mtu"]
    assert flags[1].endswith("Mbit") and flags[3].endswith("ms") and flags[7] == "1500"


def test_bursts_are_found(measured: Callable[..., Measured]) -> None:
    found = measured(Impairment(burst=GilbertElliott(0.2, 6.0)))
    assert found.up.bursty
    assert found.up.mean_burst == pytest.approx(6.0, rel=0.5)


@contextmanager
def server() -> Generator[Address]:
    """Answers probes of one session, and nothing else."""
    stopped = threading.Event()
    with DatagramSocket.bind(Address("127.0.0.1", 0)) as serves:

        def run() -> None:
            echoes = Echoes()
            while not stopped.is_set():
                came = serves.receive(None)
                answer = echoes.answer(came.datagrams, time.monotonic_ns())
                if len(answer):
                    serves.send(answer, came.peers[0].tobytes())

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield serves.address
        finally:
            stopped.set()
            serves.wake()
            thread.join()


class Session:
    """A session without handshake."""

    def __init__(self, socket: DatagramSocket) -> None:
        self._socket = socket

    def send(self, train: int, numbers: range, nbytes: int) -> None:
        self._socket.send(probes(train, numbers, nbytes))

    def receive(self, timeout_s: float) -> list[Echo]:
        found = read_echoes(self._socket.receive(timeout_s).datagrams)
        # What a server could say that has lost its mind.
        strange = [Echo(echo.train + 1, 0, 0, 0) for echo in found[:1]]
        return [*strange, *found, *(Echo(echo.train, 60_000, 0, 0) for echo in found[:1])]


def test_over_sockets_a_round_trip_has_both_delays_and_probes_come_as_they_were_let_through() -> (
    None
):
    """How fast they come is for the processor too to say."""
    up, down = Impairment(delay="4ms", loss=0.1), Impairment(delay="4ms")
    with (
        server() as address,
        Relay(address, up=up, down=down, seed=1) as relay,
        DatagramSocket.connect(relay.address) as device,
    ):
        found = measure(Session(device), 1404, OVERHEAD_BYTES, seconds=1)
        assert found.rtt.least_s >= 8e-3
        assert 0 < relay.up.lost < relay.up.came
        assert found.up.packets <= relay.up.came
        assert found.up.lost >= 1


def test_a_server_that_answers_nothing_is_a_named_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_FIRST_WAITS_S", (0.01, 0.02))

    class Silent:
        def send(self, train: int, numbers: range, nbytes: int) -> None: ...

        def receive(self, timeout_s: float) -> list[Echo]:
            time.sleep(max(timeout_s, 0) / 100)
            return []

    with pytest.raises(DeviceError, match="answers no probe"):
        measure(Silent(), 1404, OVERHEAD_BYTES, seconds=0.01)


def train_of(lost_up: Callable[[int], bool], lost_down: Callable[[int], bool]) -> Train:
    """A train of 300."""
    echoes = Echoes()
    found: list[Echo] = []
    for number in itertools.filterfalse(lost_up, range(300)):
        found += read_echoes(echoes.answer(probes(0, range(number, number + 1), 16), 0))
    return Train(300, {echo.number: echo for echo in found if not lost_down(echo.number)})


def test_lost_probes_and_lost_echoes_are_told_apart_exactly() -> None:
    """Whatever is lost on the way back, as long as one echo in 64 comes."""
    up, down = Plan(Impairment(loss=0.2), 5), Plan(Impairment(loss=0.6), 6)
    train = train_of(lambda n: up.fate(n).lost, lambda n: down.fate(n).lost)
    last = max(train.echoes)
    lost = [up.fate(number).lost for number in range(last + 1)]
    counted, down_rate = train.losses()
    assert (counted.packets, counted.lost) == (last + 1, sum(lost))
    assert counted.bursts == sum(1 for value, _ in itertools.groupby(lost) if value)
    assert down_rate == pytest.approx(1 - len(train.echoes) / (last + 1 - sum(lost)))


def test_what_no_echo_tells_of_is_left_out() -> None:
    train = train_of(lambda _: False, lambda number: number not in (70, 200))
    assert train.losses()[0].packets == 2 * 64
    assert train.losses()[0].lost == 0


def test_a_train_of_which_nothing_came_says_so() -> None:
    with pytest.raises(DeviceError, match="no probe of a train came back"):
        Train(300).losses()
    assert Train(1, {0: Echo(0, 0, 0, 2**64 - 1)}).losses()[0].packets == 1
    assert (Train(300).bandwidth(1500), Train(300).lasted_s) == (None, 0.0)


def test_options_are_written_without_exponents() -> None:
    fast = Measured(RoundTrips(1, 1.2e-5, 1.234e-5, 1.3e-5), 2.2e9, Losses(10_000, 1, 1), 0.0)
    written = ["--bandwidth", "2200Mbit", "--rtt", "0.0123ms", "--loss", "0.0001"]
    assert fast.flags(1500) == [*written, "--mtu", "1500"]
    assert parse_bandwidth(fast.flags(1500)[1]) == 2.2e9
    untold = Measured(fast.rtt, None, Losses(10, 0, 0), 0.0)
    assert untold.flags(9000) == ["--rtt", "0.0123ms", "--loss", "0", "--mtu", "9000"]
