# SPDX-License-Identifier: Apache-2.0
"""A real socket in the place of a service: what `Device` says goes over the network."""

from __future__ import annotations

import time
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from splitc.net.address import Address
from splitc.net.carrier import Carrier
from splitc.net.sockets import DatagramSocket
from splitc.net.stream import StreamSocket
from splitc.serve.peer import Outgoing, Place
from splitc.serve.tails import Served
from splitc.wire.datagrams import Datagrams
from splitc.wire.header import Transport
from tests.serve.device import Device

WITHIN_S = 10.0


class Wired:
    """What stands for the service at the end of a network.

    Args:
        carrier: A connected socket.
    """

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier

    def receive(
        self,
        packets: Datagrams,
        addresses: NDArray[np.uint8],
        now: float,
        stream: Hashable | None = None,
    ) -> list[Outgoing]:
        """Send packets; what comes back first."""
        self.carrier.send(packets)
        return self.listen(Place(addresses[0].tobytes(), stream))

    def listen(self, place: Place, within_s: float = WITHIN_S) -> list[Outgoing]:
        """What comes next; nothing where nothing does in time."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            arrived = self.carrier.receive(until - time.monotonic()).datagrams
            if len(arrived):
                copied = Datagrams(arrived.block.copy(), arrived.lengths.copy())
                return [Outgoing(copied, place)]
            if isinstance(self.carrier, StreamSocket) and self.carrier.closed:
                break
        return []


class WiredDevice(Device):
    """A device at the end of a network.

    Args:
        address: The server's.
        served: See `Device`.
        key: See `Device`.
        transport: See `Device`.
        deadline_s: See `Device`.
    """

    def __init__(
        self,
        address: Address,
        served: Served,
        *,
        key: bytes | None = None,
        transport: Transport = Transport.UDP,
        deadline_s: float = 5.0,
    ) -> None:
        tcp = transport is Transport.TCP
        carrier = StreamSocket.connect(address) if tcp else DatagramSocket.connect(address)
        self.wired = Wired(carrier)
        super().__init__(
            self.wired, served, key=key, transport=transport, deadline_s=deadline_s,
            grace_s=deadline_s, stream=carrier if tcp else None,
        )  # fmt: skip

    def send(self, packets: Datagrams) -> None:
        """Send packets and wait for nothing."""
        self.wired.carrier.send(packets)

    def next(self, within_s: float = WITHIN_S) -> list[bytes]:
        """The packets that come next."""
        return self.mine(self.wired.listen(Place(self.address, self.stream), within_s))

    def close(self) -> None:
        """Close its socket."""
        self.wired.carrier.close()
