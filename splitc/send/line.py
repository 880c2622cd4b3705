# SPDX-License-Identifier: Apache-2.0
"""The socket to one server: datagrams, or a connection that is made again where it breaks."""

from __future__ import annotations

import threading
from typing import Protocol

from splitc.errors import DeviceError
from splitc.net.address import Address
from splitc.net.sockets import DATAGRAM_BYTES, DatagramSocket
from splitc.net.stream import StreamSocket
from splitc.wire.datagrams import Datagrams

_FLUSH_S = 2e-3
"""How often what a connection did not take is offered again."""
_GROUP = 128
"""Packets handed to a connection at once: it keeps a bounded number of bytes."""
_CONNECT_S = 1.0


class Line(Protocol):
    """Where packets to a server go. One thread receives, any may send."""

    def send(self, datagrams: Datagrams) -> None:
        """Send packets. Raises DeviceError where the network refuses them for good."""
        ...

    def receive(self, timeout_s: float | None) -> Datagrams | None:
        """What has come, after so long at most; None where the connection broke."""
        ...

    def wake(self) -> None:
        """End a `receive` that waits, or the next one."""
        ...

    def renew(self) -> None:
        """Take a new connection from now on, where there are any: nobody hears this one."""
        ...

    def why(self) -> str:
        """Why nothing comes, as far as the network said; else empty."""
        ...

    def close(self) -> None:
        """Close it, once no thread is in it."""
        ...


class UdpLine(Line):
    """Datagrams to a server.

    Args:
        to: Where it is.
        mtu: Bytes of the largest packet.

    Raises:
        DeviceError: There is no such host, or no network leads there.
    """

    def __init__(self, to: Address, mtu: int) -> None:
        self._socket = DatagramSocket.connect(to, datagram_bytes=max(DATAGRAM_BYTES, mtu))

    def send(self, datagrams: Datagrams) -> None:
        """See `Line`."""
        self._socket.send(datagrams)

    def receive(self, timeout_s: float | None) -> Datagrams | None:
        """See `Line`; valid until the next call."""
        return self._socket.receive(timeout_s).datagrams

    def wake(self) -> None:
        """See `Line`."""
        self._socket.wake()

    def renew(self) -> None:
        """See `Line`: datagrams need none."""

    def why(self) -> str:
        """See `Line`."""
        counters = self._socket.counters
        if counters.refused:
            return "nothing listens there"
        return "the host cannot be reached" if counters.unreachable else ""

    def close(self) -> None:
        """See `Line`."""
        self._socket.close()


class TcpLine(Line):
    """A connection to a server. Where there is none, sending makes one.

    Args:
        to: Where it is.
        mtu: Bytes of the largest packet.
        patience_s: How long the server may take to make room for packets.
    """

    def __init__(self, to: Address, mtu: int, patience_s: float) -> None:
        self._to, self._patience_s = to, patience_s
        self._packet_bytes = max(DATAGRAM_BYTES, mtu)
        self._stream: StreamSocket | None = None
        self._news = threading.Event()
        self._why = ""

    def send(self, datagrams: Datagrams) -> None:
        """See `Line`. What cannot be sent is dropped: who waits for an answer asks again."""
        stream = self._stream
        if stream is None or stream.closed:
            try:
                stream = StreamSocket.connect(self._to, _CONNECT_S, packet_bytes=self._packet_bytes)
            except DeviceError as error:
                self._why = error.why
                return
            self._stream = stream
            self._news.set()
        for start in range(0, len(datagrams), _GROUP):
            group = datagrams.take(slice(start, start + _GROUP))
            stream.send(group, timeout_s=self._patience_s)

    def receive(self, timeout_s: float | None) -> Datagrams | None:
        """See `Line`."""
        stream = self._stream
        if stream is None:
            self._news.wait(timeout_s)
            self._news.clear()
            return Datagrams.packets([])
        if stream.wants_write:
            stream.flush()
            timeout_s = _FLUSH_S if timeout_s is None else min(timeout_s, _FLUSH_S)
        found = stream.receive(timeout_s).datagrams
        if len(found) or not stream.closed:
            return found
        if self._stream is stream:
            self._stream = None
        stream.close()
        return None

    def wake(self) -> None:
        """See `Line`."""
        self._news.set()
        if (stream := self._stream) is not None:
            stream.wake()

    def renew(self) -> None:
        """See `Line`. Who receives closes the old one."""
        if (stream := self._stream) is not None:
            stream.closed = True
            stream.wake()

    def why(self) -> str:
        """See `Line`."""
        return self._why

    def close(self) -> None:
        """See `Line`."""
        if self._stream is not None:
            self._stream.flush(_CONNECT_S)
            self._stream.close()
