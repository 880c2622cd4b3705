# SPDX-License-Identifier: Apache-2.0
"""A device in memory: it talks to a service without a socket and a clock between them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from splitc.arrays import Array
from splitc.net.address import PEER_BYTES
from splitc.serve.peer import Outgoing
from splitc.serve.service import Service
from splitc.serve.tails import Served
from splitc.wire.boundary import Boundary
from splitc.wire.datagrams import Datagrams
from splitc.wire.handshake import (
    WANTS_REPORTS,
    Challenge,
    Hello,
    Refuse,
    Welcome,
    welcome_signed,
)
from splitc.wire.header import Header, Kind, Transport, read_header
from splitc.wire.keys import session_keys
from splitc.wire.seal import Seal


def address(number: int) -> bytes:
    """Where a device is: an IPv4 peer, as sockets write it."""
    return (b"\x02\0" + bytes([0x11, 0x01, 10, 0, number >> 8, number & 255])).ljust(
        PEER_BYTES, b"\0"
    )


class Takes(Protocol):
    """Whom packets are given to: a service."""

    def receive(
        self,
        packets: Datagrams,
        addresses: NDArray[np.uint8],
        now: float,
        stream: Hashable | None = None,
    ) -> list[Outgoing]:
        """Take packets in; what it sends."""
        ...


class Device:
    """One device.

    Args:
        service: Whom it talks to.
        served: The bundle that it has the head of; None where it only measures the link.
        number: Makes its address and its nonces.
        key: The key that it has.
        stream: The connection that it talks over.
        transport: See `Hello`.
        payload_bytes: See `Hello`.
        deadline_s: Seconds; see `Hello`.
        grace_s: Seconds; see `Hello`.
        parity_percent: See `Hello`.
        wants_reports: See `Hello`.
    """

    def __init__(
        self,
        service: Takes,
        served: Served | None,
        number: int = 1,
        *,
        key: bytes | None = None,
        stream: Hashable | None = None,
        transport: Transport = Transport.UDP,
        payload_bytes: int = 1404,
        deadline_s: float = 0.1,
        grace_s: float = 0.005,
        parity_percent: int = 0,
        wants_reports: bool = False,
    ) -> None:
        self.service = service
        self.served = served
        self.address = address(number)
        self.key = key
        self.stream = stream
        self.hellos = 0
        self.session = 0
        self._number = number
        self._asks = Hello(
            client_nonce=bytes(16), payload_bytes=payload_bytes, transport=transport,
            deadline_us=int(deadline_s * 1e6), grace_us=int(grace_s * 1e6),
            parity_percent=parity_percent, flags=WANTS_REPORTS if wants_reports else 0,
            split=served.split if served else 0,
        )  # fmt: skip
        self._out: Seal | None = None
        self._in: Seal | None = None
        self._boundaries: dict[int, Boundary] = {}

    def say(self, *packets: bytes, now: float) -> list[bytes]:
        """Send packets as they are; what comes back to it."""
        return self.hand(Datagrams.packets(packets), now=now)

    def hand(self, packets: Datagrams, *, now: float) -> list[bytes]:
        """Send packets as they are; what comes back to it."""
        peers = np.tile(np.frombuffer(self.address, np.uint8), (len(packets), 1))
        sent = sum(packets.lengths.tolist())
        out = self.service.receive(packets, peers, now, self.stream)
        if not self.session:
            assert sum(sum(one.packets.lengths.tolist()) for one in out) <= sent
        return self.mine(out)

    def mine(self, out: Sequence[Outgoing]) -> list[bytes]:
        """Those of the packets that a service sends that are for it."""
        return [
            bytes(one.packets.packet(row))
            for one in out
            if one.place == (self.address, self.stream)
            for row in range(len(one.packets))
        ]

    def hello(self, cookie: bytes = bytes(32), nonce: bytes | None = None) -> Hello:
        """Its HELLO; every one that it makes has another nonce."""
        self.hellos += nonce is None
        made = nonce or self._number.to_bytes(8, "little") + self.hellos.to_bytes(8, "little")
        return replace(self._asks, client_nonce=made, cookie=cookie)

    def greet(self, now: float) -> Welcome | Refuse:
        """Come to a session."""
        hello = self.hello()
        (answer,) = self.say(hello.write(self.key), now=now)
        challenge = Challenge.read(answer)
        if challenge is not None:
            assert challenge.client_nonce == hello.client_nonce
            again = self.hello(challenge.cookie, hello.client_nonce)
            (answer,) = self.say(again.write(self.key), now=now)
        refused = Refuse.read(answer)
        if refused is not None:
            return refused
        welcome = Welcome.read(answer)
        assert welcome is not None
        assert welcome_signed(answer, self.key)
        self.begin(welcome)
        return welcome

    def begin(self, welcome: Welcome) -> None:
        """Take a session up."""
        self.session = welcome.session
        if self.key is not None:
            keys = session_keys(self.key, welcome.client_nonce, welcome.server_nonce)
            self._out, self._in = Seal(keys.device), Seal(keys.server)
        if self.served is not None:
            payload_bytes = self._asks.payload_bytes
            self._boundaries = {
                route: Boundary(tail.crosses, payload_bytes, welcome.order_seed, tail.missing)
                for route, tail in self.served.tails.items()
            }

    def seal(self, packets: Datagrams) -> Datagrams:
        """Packets as it sends them."""
        return self._out.seal(packets) if self._out is not None else packets

    def packets(
        self, arrays: Sequence[Array], frame: int, extra: int = 0, route: int = 0
    ) -> Datagrams:
        """The packets of a frame, sealed."""
        assert self.served is not None
        packed = self._boundaries[route].pack(
            arrays, session=self.session, split=self.served.split, frame=frame, route=route,
            extra=extra,
        )  # fmt: skip
        return self.seal(packed)

    def one(self, header: Header, payload: bytes = b"") -> Datagrams:
        """One packet of its session, sealed."""
        split = self.served.split if self.served is not None else 0
        return self.seal(Datagrams.of(header._replace(session=self.session, split=split), payload))

    def read(self, packets: Sequence[bytes]) -> list[tuple[Header, bytes]]:
        """Packets of the server, opened."""
        found: list[tuple[Header, bytes]] = []
        for packet in packets:
            opened = Datagrams.packets([packet])
            if self._in is not None:
                opened, bad = self._in.open(opened)
                assert not bad
            header = read_header(opened.packet(0))
            assert header is not None
            assert header.session == self.session
            found.append((header, bytes(opened.payload(0))))
        return found


def answers(read: Sequence[tuple[Header, bytes]]) -> dict[int, bytes]:
    """The results in packets of the server, by frame."""
    found: dict[int, dict[int, bytes]] = {}
    for header, payload in read:
        if header.kind == Kind.ANSWER:
            found.setdefault(header.frame, {})[header.chunk] = payload
    return {frame: b"".join(found[frame][k] for k in sorted(found[frame])) for frame in found}


def run_all(service: Service, now: float) -> list[Outgoing]:
    """Run every frame that waits, as a server's workers do."""
    out: list[Outgoing] = []
    for quick in (True, False):
        while (batch := service.work.take(now, quick=quick)) is not None:
            out += service.work.done(batch, batch.tail.run(batch.inputs), now)
    return out
