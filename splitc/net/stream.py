# SPDX-License-Identifier: Apache-2.0
"""Packets over TCP: what the network loses comes all the same, later."""

from __future__ import annotations

import socket
import sys
import threading
import time
from typing import Self

import numpy as np

from splitc.errors import DeviceError
from splitc.net.address import Address, cannot, listening, peer_of, resolve, show_peer
from splitc.net.carrier import Arrived, Carrier, Counters
from splitc.net.framing import Framing, framed
from splitc.net.kernel import Bell, Waiter
from splitc.net.sockets import DATAGRAM_BYTES
from splitc.wire.datagrams import Datagrams

HOLD_BYTES = 1024 * 1024
"""Kept for a peer that reads slowly; a connection that would need more is closed."""
_READ_BYTES = 65_536
_SILENT_S = 10
"""A peer that acknowledges nothing for so long is gone."""


class StreamSocket(Carrier):
    """A connection, whichever end opened it.

    One thread receives, any number send.

    Args:
        made: The connected socket.
        peer: Who is at the other end.
        wakes: Whether `wake` is wanted, which takes two file descriptors more.
        packet_bytes: The longest packet that is received; a longer one breaks the connection.
        hold_bytes: Kept at most of what the peer does not read.
    """

    def __init__(
        self,
        made: socket.socket,
        peer: bytes,
        *,
        wakes: bool = True,
        packet_bytes: int = DATAGRAM_BYTES,
        hold_bytes: int = HOLD_BYTES,
    ) -> None:
        made.setblocking(False)
        _notice_silence(made)
        self.peer = peer
        self.counters = Counters()
        self.closed = False
        """Whether nothing comes or goes any more: the peer left, was too slow, or sent no packet
        where one was due."""
        self._socket, self._hold_bytes = made, hold_bytes
        self._framing = Framing(packet_bytes)
        self._unsent = bytearray()
        self._lock = threading.Lock()
        self._bell = Bell() if wakes else None
        own = made.fileno()
        ears = [own, self._bell.fileno()] if self._bell else [own]
        self._hears, self._hears_or_sends = Waiter(ears), Waiter(ears, [own])

    @staticmethod
    def connect(
        address: Address,
        timeout_s: float = 5.0,
        *,
        packet_bytes: int = DATAGRAM_BYTES,
        hold_bytes: int = HOLD_BYTES,
    ) -> StreamSocket:
        """Open a connection.

        Raises:
            DeviceError: There is no such host, nothing listens there, or there was no answer.
        """
        place = resolve(address)
        made = socket.socket(place.family, socket.SOCK_STREAM)
        try:
            made.settimeout(timeout_s)
            made.connect(place.name)
            peer = peer_of(place.family, made.getpeername())
            return StreamSocket(made, peer, packet_bytes=packet_bytes, hold_bytes=hold_bytes)
        except OSError as error:
            made.close()
            raise cannot("connect to", address, error) from error

    def fileno(self) -> int:
        """For who waits for several."""
        return self._socket.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether something is kept that the peer has not taken."""
        return bool(self._unsent)

    def send(self, datagrams: Datagrams, to: bytes | None = None, timeout_s: float = 1.0) -> int:
        """Send packets: see `Carrier`. What the peer takes too slowly is kept, within bounds.

        Returns:
            How many were sent or kept: all of them, or none where the connection is closed.
        """
        with self._lock:
            if not self.closed:
                self._unsent += framed(datagrams)
                self._flush(time.monotonic() + timeout_s)
                if len(self._unsent) > self._hold_bytes:
                    self._give_up()
            if self.closed:
                self.counters.add("no_room", len(datagrams))
                return 0
            return len(datagrams)

    def flush(self, timeout_s: float = 0.0) -> None:
        """Send what was kept, waiting so long at most."""
        with self._lock:
            self._flush(time.monotonic() + timeout_s)

    def _flush(self, until: float) -> None:
        while self._unsent and not self.closed:
            try:
                with memoryview(self._unsent) as unsent:
                    took = self._socket.send(unsent)
                del self._unsent[:took]
            except BlockingIOError:
                left = until - time.monotonic()
                if left <= 0 or not Waiter([], [self._socket.fileno()]).wait(left):
                    return
            except OSError:
                self._give_up()

    def receive(self, timeout_s: float | None = None) -> Arrived:
        """Receive packets: see `Carrier`; look at `closed` where none came.

        What was kept for the peer is sent meanwhile.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while not self.closed:
            found = self._read()
            if found is not None and len(found):
                return self._arrived(found)
            left = None if until is None else until - time.monotonic()
            if found is None and ((left is not None and left <= 0) or self._wait(left)):
                break
        return self._arrived(Datagrams.packets([]))

    def _read(self) -> Datagrams | None:
        """The packets that are complete with what has come; None where nothing has."""
        try:
            data = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        found = self._framing.add(data)
        if self._framing.broken:
            self.counters.add("truncated")
        if not data or self._framing.broken:
            self.closed = True
            with self._lock:  # Another thread may be sending out of what is dropped.
                self._give_up()
        return found

    def _wait(self, timeout_s: float | None) -> bool:
        """Wait until something has come; whether somebody woke this thread instead."""
        waiter = self._hears_or_sends if self.wants_write else self._hears
        happened = waiter.wait(timeout_s)
        if self.wants_write:
            self.flush()
        if self._bell and self._bell.fileno() in happened:
            self._bell.silence()
            return True
        return False

    def _arrived(self, found: Datagrams) -> Arrived:
        peer = np.frombuffer(self.peer, np.uint8)
        return Arrived(found, np.broadcast_to(peer, (len(found), len(peer))))

    def wake(self) -> None:
        """End a `receive` that waits, or the next one; from any thread."""
        if self._bell:
            self._bell.ring()

    def _give_up(self) -> None:
        self.closed = True
        self._unsent.clear()

    def close(self) -> None:
        """Close it, once no thread is in it."""
        self.closed = True
        self._socket.close()
        if self._bell:
            self._bell.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<StreamSocket to {show_peer(self.peer)}{', closed' if self.closed else ''}>"


class StreamListener:
    """Where connections come in.

    Args:
        address: Of this machine; port 0 is any that is free.
        waiting: Connections at most that have come and were not accepted.

    Raises:
        DeviceError: There is no such address here, or the port is in use.
    """

    def __init__(self, address: Address, *, waiting: int = 128) -> None:
        self._socket = listening(address, socket.SOCK_STREAM, waiting=waiting)
        self._socket.setblocking(False)
        self._waiter = Waiter([self._socket.fileno()])
        self.address = Address(address.host, self._socket.getsockname()[1])

    def fileno(self) -> int:
        """For who waits for several."""
        return self._socket.fileno()

    def accept(
        self,
        timeout_s: float | None = None,
        *,
        packet_bytes: int = DATAGRAM_BYTES,
        hold_bytes: int = HOLD_BYTES,
    ) -> StreamSocket | None:
        """The next connection, which cannot be woken; None where none came in time.

        Raises:
            DeviceError: This process can have no more connections.
        """
        self._waiter.wait(timeout_s)
        try:
            made, name = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None
        except OSError as error:
            raise DeviceError(
                f"cannot accept a connection at {self.address}", why=error.strerror or str(error)
            ) from error
        peer = peer_of(self._socket.family, name)
        return StreamSocket(
            made, peer, wakes=False, packet_bytes=packet_bytes, hold_bytes=hold_bytes
        )

    def close(self) -> None:
        """Take no more connections."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _notice_silence(made: socket.socket) -> None:
    """Send small packets at once, and find out that a peer is gone without a word."""
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        for option, value in (
            (socket.TCP_KEEPIDLE, _SILENT_S // 2),
            (socket.TCP_KEEPINTVL, 1),
            (socket.TCP_KEEPCNT, _SILENT_S // 2),
            (socket.TCP_USER_TIMEOUT, _SILENT_S * 1000),
        ):
            made.setsockopt(socket.IPPROTO_TCP, option, value)
