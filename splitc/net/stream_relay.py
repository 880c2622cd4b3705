# SPDX-License-Identifier: Apache-2.0
"""A slow link for TCP on one machine: a relay in user space with delay and bandwidth."""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from typing import Self

from splitc.errors import UsageError
from splitc.net.address import Address, listening, resolve
from splitc.net.bottleneck import Bottleneck
from splitc.net.impairment import Impairment
from splitc.net.kernel import Bell, Waiter

_LOOPBACK = Address("127.0.0.1", 0)
_SEGMENT_BYTES, _HEADER_BYTES = 1448, 52
"""What TCP sends at once over Ethernet, with its timestamps, and what goes with it."""
_FASTEST_BPS = 1e9
"""Bandwidth that what is under way is bounded by where none is set."""


class StreamRelay:
    """Stands between devices and a server, and makes their TCP connections slow.

    It has `delay` and `bandwidth` of an `Impairment`, which all connections of a direction
    share; TCP's way with losses is in the kernel, and no relay can bring it about. What waits
    for the bandwidth is bounded by `queue_bytes`: who sends more has to wait.

    Args:
        to: The server.
        up: What happens from devices to the server.
        down: What happens from the server to devices.
        bind: Where devices connect to; port 0 is any that is free.

    Raises:
        UsageError: An impairment has what a relay cannot do to TCP.
        DeviceError: There is no such host, or the port is in use.
    """

    def __init__(
        self,
        to: Address,
        *,
        up: Impairment | None = None,
        down: Impairment | None = None,
        bind: Address = _LOOPBACK,
    ) -> None:
        self._up, self._down = _Way(up or Impairment()), _Way(down or Impairment())
        self._server = resolve(to)
        # What the kernel takes in before the relay does is also part of the queue.
        queue_bytes = self._up.impairment.queue_bytes
        self._listener = listening(bind, socket.SOCK_STREAM, receive_bytes=queue_bytes)
        self._listener.setblocking(False)
        self.address = Address(bind.host, self._listener.getsockname()[1])
        self._pipes: list[_Pipe] = []
        self._bell, self._stopped = Bell(), False
        self._thread = threading.Thread(target=self._run, name="splitc relay", daemon=True)
        self._thread.start()

    @property
    def passed_bytes(self) -> tuple[int, int]:
        """Bytes handed on to the server, and to devices."""
        return self._up.passed_bytes, self._down.passed_bytes

    def close(self) -> None:
        """Stop; connections break."""
        self._stopped = True
        self._bell.ring()
        self._thread.join()
        for pipe in self._pipes:
            pipe.source.close()
        self._listener.close()
        self._bell.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while not self._stopped:
            reads = [pipe.source.fileno() for pipe in self._pipes if pipe.has_room]
            writes = [pipe.sink.fileno() for pipe in self._pipes if pipe.blocked]
            dues = [pipe.due_s for pipe in self._pipes if not pipe.blocked]
            due_s = min((due for due in dues if due is not None), default=None)
            ears = [self._bell.fileno(), self._listener.fileno(), *reads]
            timeout_s = None if due_s is None else due_s - time.monotonic()
            ready = set(Waiter(ears, writes).wait(timeout_s))
            if self._listener.fileno() in ready:
                self._accept()
            for pipe in self._pipes:
                if pipe.has_room and pipe.source.fileno() in ready:
                    pipe.read()
                pipe.write()
            self._bury()

    def _accept(self) -> None:
        try:
            device, _ = self._listener.accept()
        except OSError:  # It has gone again.
            return
        server = socket.socket(self._server.family, socket.SOCK_STREAM)
        for each in (device, server):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.connect_ex(self._server.name)
        self._pipes += [_Pipe(device, server, self._up), _Pipe(server, device, self._down)]

    def _bury(self) -> None:
        """Close connections that broke, or that both ends have ended."""
        broken = {id(each) for p in self._pipes if p.broken for each in (p.source, p.sink)}
        pairs = zip(self._pipes[::2], self._pipes[1::2], strict=True)
        kept: list[_Pipe] = []
        for up, down in pairs:
            if id(up.source) in broken or (up.over and down.over):
                up.source.close()
                up.sink.close()
            else:
                kept += [up, down]
        self._pipes = kept


class _Way:
    """One direction, which its connections share."""

    def __init__(self, impairment: Impairment) -> None:
        if not impairment.only_slow:
            raise UsageError(
                "a relay of TCP has delay and bandwidth only",
                hint="for losses use namespaces: docs/network.md",
            )
        self.impairment = impairment
        bandwidth_bps = impairment.bandwidth_bps
        if impairment.varying is not None:
            bandwidth_bps = max(impairment.varying.bandwidth_bps)
        self.bottleneck = Bottleneck(impairment.rate, 1 << 62)
        under_way = (bandwidth_bps or _FASTEST_BPS) / 8 * impairment.delay_s
        self.most_bytes = impairment.queue_bytes + int(under_way)
        self.passed_bytes = 0


class _Pipe:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, sink: socket.socket, way: _Way) -> None:
        self.source, self.sink = source, sink
        self._way = way
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._ended = False
        self.over = False
        """Whether the source has ended and the sink knows."""
        self.blocked = False
        """Whether something is due that the sink did not take."""
        self.broken = False

    @property
    def has_room(self) -> bool:
        """Whether more may be read."""
        return not self._ended and self._held_bytes < self._way.most_bytes

    @property
    def due_s(self) -> float | None:
        """When something is to be handed on; None where nothing waits."""
        return self._held[0][0] if self._held else None

    def read(self) -> None:
        """Take what the source has sent; an empty piece stands for its end."""
        try:
            data = self.source.recv(_SEGMENT_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.broken = True
            return
        left_s = self._way.bottleneck.leaves(time.monotonic(), len(data) + _HEADER_BYTES)
        assert left_s is not None
        self._held.append((left_s + self._way.impairment.delay_s, data))
        self._held_bytes += len(data)
        self._ended = not data

    def write(self) -> None:
        """Hand on what is due."""
        self.blocked = False
        while self._held and self._held[0][0] <= time.monotonic() and not self.broken:
            due_s, data = self._held[0]
            try:
                if not data:
                    self.sink.shutdown(socket.SHUT_WR)
                    self.over = True
                took = self.sink.send(data) if data else 0
            except BlockingIOError:
                self.blocked = True
                return
            except OSError:
                self.broken = True
                return
            self._held_bytes -= took
            self._way.passed_bytes += took
            self._held.popleft()
            if took < len(data):
                self._held.appendleft((due_s, data[took:]))
