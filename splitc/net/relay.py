# SPDX-License-Identifier: Apache-2.0
"""A bad link on one machine: a relay in user space that delays, loses and spoils datagrams."""

from __future__ import annotations

import heapq
import itertools
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

from splitc.net.address import Address, listening, resolve
from splitc.net.impairment import Direction, Impairment, Passed
from splitc.net.kernel import Bell, Waiter
from splitc.net.sockets import BUFFER_BYTES, Buffers, dropped_by

_LOOPBACK = Address("127.0.0.1", 0)
_LONGEST = 65_535
_AT_ONCE = 64
"""Datagrams that are read of a socket before others have their turn."""


class _Handed(NamedTuple):
    """A packet under way: through which socket it leaves, to whom where that is not connected."""

    through: socket.socket
    to: Any
    packet: bytes
    passed: Passed


class Relay:
    """Stands between devices and a server, and does to their datagrams what a bad link does.

    Devices send to `address`, and the server sees each of them at a port of the relay's. Which
    packets are lost, spoilt or delayed is decided by their number in their direction and the
    seed (`splitc.net.impairment`); what is left to chance is in which order devices that send
    at the same time are heard. A recorded link begins, both ways, with the first packet. It
    works in a thread of its own until it is closed::

        with Relay(server, up=Impairment(loss=0.3, delay="5ms"), seed=1) as relay:
            send_frames(to=relay.address)
            print(relay.up)

    Args:
        to: The server.
        up: What happens from devices to the server.
        down: What happens from the server to devices.
        seed: Of everything that is random.
        bind: Where devices send to; port 0 is any that is free.
        devices: How many it knows at most; the longest silent is forgotten for another.

    Raises:
        UsageError: The seed is negative.
        DeviceError: There is no such host, or the port is in use.
    """

    def __init__(
        self,
        to: Address,
        *,
        up: Impairment | None = None,
        down: Impairment | None = None,
        seed: int = 0,
        bind: Address = _LOOPBACK,
        devices: int = 1024,
    ) -> None:
        self._up = Direction(up or Impairment(), seed, 0)
        self._down = Direction(down or Impairment(), seed, 1)
        self._server = resolve(to)
        self._front = _ready(listening(bind, socket.SOCK_DGRAM))
        self.address = Address(bind.host, self._front.getsockname()[1])
        self._most_devices = devices
        self._backs: OrderedDict[Any, socket.socket] = OrderedDict()
        self._missed, self._closed = 0, False
        self._under_way: list[tuple[float, int, _Handed]] = []
        self._numbers = itertools.count()
        self._bell, self._stopped = Bell(), False
        self._ears = self._all_ears()
        self._thread = threading.Thread(target=self._run, name="splitc relay", daemon=True)
        self._thread.start()

    @property
    def up(self) -> Passed:
        """What became of the packets from devices to the server."""
        return self._up.passed

    @property
    def down(self) -> Passed:
        """What became of the packets from the server to devices."""
        return self._down.passed

    @property
    def missed(self) -> int:
        """Packets that came faster than the relay takes them, some 40,000 a second, and were
        lost to no plan."""
        there = () if self._closed else (self._front, *list(self._backs.values()))
        return self._missed + sum(map(dropped_by, there))

    def close(self) -> None:
        """Stop; what is under way is lost."""
        self._stopped = True
        self._bell.ring()
        self._thread.join()
        self._missed, self._closed = self.missed, True
        for each in (self._front, *self._backs.values()):
            each.close()
        self._bell.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while not self._stopped:
            due_s = self._under_way[0][0] - time.monotonic() if self._under_way else None
            devices = {back.fileno(): name for name, back in self._backs.items()}
            for number in self._ears.wait(due_s):
                if number == self._front.fileno():
                    self._hear_devices()
                elif number in devices:
                    self._hear_server(devices[number])
            self._hand_on()

    def _all_ears(self) -> Waiter:
        backs = (back.fileno() for back in self._backs.values())
        return Waiter([self._bell.fileno(), self._front.fileno(), *backs])

    def _hear_devices(self) -> None:
        for packet, name in _come(self._front):
            self._keep(self._up, packet, self._back(name), None)

    def _hear_server(self, device: Any) -> None:
        back = self._backs.get(device)
        for packet, _ in _come(back) if back else ():
            self._keep(self._down, packet, self._front, device)

    def _keep(self, way: Direction, packet: bytes, through: socket.socket, to: Any) -> None:
        now = time.monotonic()
        for each in (self._up, self._down):
            each.begin(now)
        for due_s, what in way.take(packet, now):
            handed = _Handed(through, to, what, way.passed)
            heapq.heappush(self._under_way, (due_s, next(self._numbers), handed))

    def _hand_on(self) -> None:
        while self._under_way and self._under_way[0][0] <= time.monotonic():
            through, to, packet, passed = heapq.heappop(self._under_way)[2]
            try:
                if to is None:
                    through.send(packet)
                else:
                    through.sendto(packet, to)
                passed.delivered += 1
            except OSError:  # Nobody is there, the device was forgotten, or there is no room.
                passed.refused += 1

    def _back(self, device: Any) -> socket.socket:
        """The socket that the server knows a device by."""
        if device in self._backs:
            self._backs.move_to_end(device)
            return self._backs[device]
        if len(self._backs) >= self._most_devices:
            _, forgotten = self._backs.popitem(last=False)
            self._missed += dropped_by(forgotten)
            forgotten.close()
        back = _ready(socket.socket(self._server.family, socket.SOCK_DGRAM))
        back.connect(self._server.name)
        self._backs[device] = back
        self._ears = self._all_ears()
        return back


def _ready(made: socket.socket) -> socket.socket:
    """A socket that does not wait, and has room for bursts."""
    made.setblocking(False)
    Buffers.ask(made, BUFFER_BYTES)
    return made


def _come(to: socket.socket) -> Iterator[tuple[bytes, Any]]:
    """What has come to a socket, and who sent it."""
    for _ in range(_AT_ONCE):
        try:
            yield to.recvfrom(_LONGEST)
        except BlockingIOError:
            return
        except OSError:  # The other end said that nothing listens there.
            continue
