# SPDX-License-Identifier: Apache-2.0
"""The link to a server measured, with a session that sends probes and nothing else."""

from __future__ import annotations

import os
import time
from typing import Self

from splitc.errors import DeviceError
from splitc.link.packets import payload_bytes
from splitc.net.address import Address
from splitc.net.probing import Measured, Prober, measure
from splitc.net.sockets import DATAGRAM_BYTES, Buffers, DatagramSocket
from splitc.send.greeting import Greeting
from splitc.send.settings import Settings
from splitc.wire.datagrams import Datagrams
from splitc.wire.handshake import Welcome
from splitc.wire.header import HEADER_BYTES, MAGIC, TAG_BYTES, Header, Kind
from splitc.wire.keys import NONCE_BYTES
from splitc.wire.probe import Echo, probes, read_echoes
from splitc.wire.seal import seals_of

CONNECT_S = 5.0
"""How long a server may take to welcome who asks."""
_NO_SPLIT = 0


class ProbeSession(Prober):
    """A session without a bundle, which a server lets nothing but probe.

    Args:
        to: The server.
        key: The key that the server has; None without one.
        mtu: Bytes of the largest packet, headers included.

    Raises:
        UsageError: The MTU is out of its range.
        ToolchainError: There is a key, and nothing to encrypt with.
        DeviceError: The server cannot be reached, or refuses.
    """

    def __init__(self, to: Address, key: bytes | None, mtu: int) -> None:
        settings = Settings(mtu=mtu)
        self.payload_bytes = payload_bytes(mtu)
        self._to, self._tag_bytes = to, TAG_BYTES if key else 0
        self._socket = DatagramSocket.connect(to, datagram_bytes=max(DATAGRAM_BYTES, mtu))
        try:
            welcome = self._greet(settings, key)
            self._session = welcome.session
            self._seals = seals_of(key, welcome.client_nonce, welcome.server_nonce)
        except BaseException:
            self._socket.close()
            raise

    @property
    def buffers(self) -> Buffers:
        """What the kernel gives this side."""
        return self._socket.buffers

    @property
    def overhead_bytes(self) -> int:
        """What a packet has on the link beyond its payload."""
        return self._socket.overhead_bytes + HEADER_BYTES + self._tag_bytes

    def send(self, train: int, numbers: range, nbytes: int) -> None:
        """See `Prober`."""
        made = probes(train, numbers, nbytes, session=self._session, split=_NO_SPLIT)
        self._socket.send(self._seals.device.seal(made))

    def receive(self, timeout_s: float) -> list[Echo]:
        """See `Prober`."""
        found = self._socket.receive(timeout_s).datagrams
        found = found.take(found.lengths >= HEADER_BYTES)
        headers = found.headers
        ours = (headers["magic"] == MAGIC) & (headers["session"] == self._session)
        if (ours & (headers["kind"] == Kind.REFUSE)).any():
            hint = "was it started anew? Try again"
            raise DeviceError(f"{self._to} does not know this session any more", hint=hint)
        opened, _ = self._seals.server.open(found.take(ours))
        if self._socket.counters.refused or (opened.headers["kind"] == Kind.BYE).any():
            raise DeviceError(f"{self._to} has stopped meanwhile")
        return read_echoes(opened)

    def close(self) -> None:
        """Say goodbye."""
        goodbye = Datagrams.of(Header(Kind.BYE, self._session, _NO_SPLIT))
        self._socket.send(self._seals.device.seal(goodbye), timeout_s=0)
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _greet(self, settings: Settings, key: bytes | None) -> Welcome:
        now = time.monotonic()
        until = now + CONNECT_S
        greeting = Greeting(_NO_SPLIT, settings, key, os.urandom(NONCE_BYTES), now)
        while now < until and not greeting.final:
            self._socket.send(greeting.due(now))
            found = self._socket.receive(min(greeting.next_s, until) - now).datagrams
            now = time.monotonic()
            for row in range(len(found)):
                welcome = greeting.take(bytes(found.packet(row)), now)
                if welcome is not None:
                    return welcome
        raise greeting.refused or DeviceError(
            f"there is no answer from {self._to}",
            why="nothing listens there" if self._socket.counters.refused else "",
            hint="is `splitc serve` running there, on that port?",
        )


def check_link(
    to: Address, key: bytes | None = None, *, mtu: int = 1500, seconds: float = 10.0
) -> tuple[Measured, Buffers]:
    """Measure the link to a server.

    Args:
        to: The server.
        key: The key that it has; None without one.
        mtu: Bytes of the largest packet, headers included.
        seconds: How long it may take, about.

    Returns:
        What was found, and the memory that this side's kernel gives sockets.

    Raises:
        UsageError: The MTU is out of its range.
        ToolchainError: There is a key, and nothing to encrypt with.
        DeviceError: The server cannot be reached, refuses, or answers no probes.
    """
    with ProbeSession(to, key, mtu) as session:
        found = measure(session, session.payload_bytes, session.overhead_bytes, seconds=seconds)
        return found, session.buffers
