# SPDX-License-Identifier: Apache-2.0
"""Datagram sockets that send and receive many packets in one system call."""

from __future__ import annotations

import errno
import socket
import sys
import time
from dataclasses import dataclass
from typing import Self

import numpy as np

from splitc.errors import DeviceError
from splitc.net.address import PEER_BYTES, Address, cannot, listening, peer_of, resolve, show_peer
from splitc.net.carrier import Arrived, Carrier, Counters
from splitc.net.kernel import Batches, Bell, Waiter, batches
from splitc.wire.datagrams import Datagrams

BUFFER_BYTES = 4 * 1024 * 1024
"""Asked of the kernel for what was received and not yet read, and for what is to be sent."""
BATCH = 128
"""Datagrams that one call sends or receives at most."""
DATAGRAM_BYTES = 2048
"""The longest datagram that is received, unless said otherwise: more than Ethernet has."""

# From linux/in.h and linux/in6.h; Python does not have them.
_IP_MTU_DISCOVER, _IP_MTU, _IPV6_MTU_DISCOVER, _IPV6_MTU = 10, 14, 23, 24
_DO, _PROBE = 2, 3
_SO_MEMINFO, _DROPS = 55, 8

_COUNTED = {
    errno.ECONNREFUSED: "refused", errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable", errno.ENETDOWN: "unreachable",
    errno.EHOSTDOWN: "unreachable", errno.ENOBUFS: "no_room", errno.ENOMEM: "no_room",
    errno.EPERM: "blocked", errno.EMSGSIZE: "too_long",
}  # fmt: skip
"""Failures of one datagram, or answers of the network to an earlier one."""
_BROKEN = (errno.EBADF, errno.ENOTSOCK)


@dataclass(frozen=True)
class Buffers:
    """Memory that the kernel keeps datagrams of a socket in.

    `setsockopt` succeeds whatever it is asked for and takes what an administrator's limit
    allows, so what came of it is read back.

    Args:
        asked: Bytes asked for, each way.
        receive: Bytes got for what was received and not yet read.
        send: Bytes got for what is to be sent.
    """

    asked: int
    receive: int
    send: int

    @staticmethod
    def ask(of: socket.socket, nbytes: int) -> Buffers:
        """Ask for so many bytes and read back what was got."""
        got: list[int] = []
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            of.setsockopt(socket.SOL_SOCKET, option, nbytes)
            # Linux doubles what it was asked for, to have room for its own structures.
            half = 2 if sys.platform == "linux" else 1
            got.append(of.getsockopt(socket.SOL_SOCKET, option) // half)
        return Buffers(nbytes, *got)

    @property
    def warning(self) -> str:
        """What to do where bursts may be lost for want of memory, in a line; empty otherwise."""
        if self.receive >= self.asked:
            return ""
        return (
            f"the kernel keeps {self.receive // 1000} kB of received packets for a socket, not "
            f"the {self.asked // 1000} kB asked for, and may lose bursts: "
            f"sudo sysctl -w net.core.rmem_max={self.asked}"
        )


class DatagramSocket(Carrier):
    """A UDP socket.

    One thread receives, any number send. Datagrams are never sent in fragments: one that is
    too long for the way is refused instead.

    Args:
        made: A socket that is bound or connected.
        at: Its own address, or its peer's where it is connected.
        connected: Whether it has one peer.
        datagram_bytes: The longest datagram that is received; longer ones are dropped.
        buffer_bytes: Memory to ask the kernel for, each way.
    """

    def __init__(
        self,
        made: socket.socket,
        at: Address,
        *,
        connected: bool,
        datagram_bytes: int = DATAGRAM_BYTES,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> None:
        made.setblocking(False)
        _forbid_fragments(made, connected=connected)
        self.address = at
        self.counters = Counters()
        self.buffers = Buffers.ask(made, buffer_bytes)
        self._socket, self._connected = made, connected
        self._block = np.zeros((BATCH, datagram_bytes), np.uint8)
        self._inbox = batches(BATCH)
        self._outboxes: list[Batches] = []
        self._bell = Bell()
        self._waiter = Waiter([made.fileno(), self._bell.fileno()])

    @staticmethod
    def bind(
        address: Address,
        *,
        datagram_bytes: int = DATAGRAM_BYTES,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> DatagramSocket:
        """A socket that anybody can send to.

        Raises:
            DeviceError: There is no such address here, or the port is in use.
        """
        made = listening(address, socket.SOCK_DGRAM)
        try:
            at = Address(address.host, made.getsockname()[1])
            return DatagramSocket(
                made, at, connected=False, datagram_bytes=datagram_bytes, buffer_bytes=buffer_bytes
            )
        except OSError as error:
            made.close()
            raise cannot("listen on", address, error) from error

    @staticmethod
    def connect(
        address: Address,
        *,
        datagram_bytes: int = DATAGRAM_BYTES,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> DatagramSocket:
        """A socket that sends to one peer and hears nobody else.

        Raises:
            DeviceError: There is no such host, or no network leads there.
        """
        place = resolve(address)
        made = socket.socket(place.family, socket.SOCK_DGRAM)
        try:
            made.connect(place.name)
            return DatagramSocket(
                made, address, connected=True, datagram_bytes=datagram_bytes,
                buffer_bytes=buffer_bytes,
            )  # fmt: skip
        except OSError as error:
            made.close()
            raise cannot("send to", address, error) from error

    @property
    def own(self) -> bytes:
        """This end, as the other one sees it where nothing translates addresses."""
        return peer_of(self._socket.family, self._socket.getsockname())

    @property
    def overhead_bytes(self) -> int:
        """Bytes of a datagram on the link beyond its own: the headers of IP and UDP."""
        return 48 if self._socket.family == socket.AF_INET6 else 28

    @property
    def dropped(self) -> int:
        """Datagrams that came and were lost, since the receive buffer was full."""
        return dropped_by(self._socket)

    def send(self, datagrams: Datagrams, to: bytes | None = None, timeout_s: float = 1.0) -> int:
        """Send packets: see `Carrier`.

        Raises:
            DeviceError: The way to the one peer takes no packet so long, or the socket failed.
        """
        try:
            outbox = self._outboxes.pop()
        except IndexError:
            outbox = batches(BATCH)
        try:
            return self._send(outbox, datagrams, to or b"", time.monotonic() + timeout_s)
        finally:
            self._outboxes.append(outbox)

    def _send(self, outbox: Batches, datagrams: Datagrams, to: bytes, until: float) -> int:
        block, lengths = datagrams.block, datagrams.lengths
        place, took, tried = 0, 0, -1
        while place < len(lengths):
            try:
                done = outbox.send(self._socket, block[place:], lengths[place:], to)
                place, took = place + done, took + done
            except BlockingIOError:
                left = until - time.monotonic()
                if left <= 0 or not Waiter([], [self._socket.fileno()]).wait(left):
                    self.counters.add("no_room", len(lengths) - place)
                    return took
            except OSError as error:
                self._count(error, to, int(lengths[place]))
                # An answer to an earlier datagram stood in the way: this one is tried again.
                if tried == place or error.errno != errno.ECONNREFUSED:
                    place += 1
                tried = place
        return took

    def receive(self, timeout_s: float | None = None) -> Arrived:
        """Receive packets: see `Carrier`.

        Raises:
            DeviceError: The socket failed.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            try:
                lengths, cut = self._inbox.receive(self._socket, self._block)
            except BlockingIOError:
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    return self._nothing()
                if self._bell.fileno() in self._waiter.wait(left):
                    self._bell.silence()
                    return self._nothing()
                continue
            except OSError as error:
                self._count(error, b"", 0)
                return self._nothing()
            block, peers = self._block[: len(lengths)], self._inbox.peers[: len(lengths)]
            if cut.any():
                self.counters.add("truncated", int(cut.sum()))
                block, lengths, peers = block[~cut], lengths[~cut], peers[~cut]
            return Arrived(Datagrams(block, lengths), peers)

    def wake(self) -> None:
        """End a `receive` that waits, or the next one; from any thread."""
        self._bell.ring()

    def close(self) -> None:
        """Close it, once no thread is in it."""
        self._socket.close()
        self._bell.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _nothing(self) -> Arrived:
        none = Datagrams(self._block[:0], np.zeros(0, np.int64))
        return Arrived(none, np.zeros((0, PEER_BYTES), np.uint8))

    def _count(self, error: OSError, to: bytes, length: int) -> None:
        """Count what a call failed with, where that is no reason to stop."""
        counter = _COUNTED.get(error.errno or 0)
        if counter == "too_long" and self._connected:
            raise self._too_long(length) from error
        if counter is None and to and error.errno not in _BROKEN:
            # Whoever said that it was there: from port 0, say, or from a broadcast address.
            counter = "unreachable"
        if counter is None:
            where = show_peer(to) if to else self.address
            raise cannot("send to" if length else "receive at", where, error) from error
        self.counters.add(counter)

    def _too_long(self, length: int) -> DeviceError:
        is_ipv6 = self._socket.family == socket.AF_INET6
        level, option = (41, _IPV6_MTU) if is_ipv6 else (0, _IP_MTU)
        mtu = self._socket.getsockopt(level, option) if sys.platform == "linux" else 0
        size = length + self.overhead_bytes
        return DeviceError(
            f"packets of {size} bytes are too long for the way to {self.address}",
            why=f"it takes {mtu} bytes at most" if mtu else "",
            hint=f"--mtu {mtu}" if mtu else "choose a smaller --mtu",
        )


def dropped_by(one: socket.socket) -> int:
    """Datagrams that came to a socket and were lost, since its receive buffer was full."""
    if sys.platform != "linux":
        return 0
    raw = one.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 4 * (_DROPS + 1))
    return int.from_bytes(raw[4 * _DROPS :], sys.byteorder)


def _forbid_fragments(made: socket.socket, *, connected: bool) -> None:
    """A lost fragment would lose the whole datagram.

    Towards one peer the kernel also learns from the network how long a datagram may be, and says
    so. Who serves anybody does not listen to that: anybody could say it.
    """
    if sys.platform != "linux":
        return
    how = _DO if connected else _PROBE
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, how)
    made.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, how)
