# SPDX-License-Identifier: Apache-2.0
"""What carries packets: datagrams or a stream, with one way to send and to receive."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from splitc.wire.datagrams import Datagrams


class Arrived(NamedTuple):
    """Packets that came at once.

    They are valid until the carrier's next `receive`: who keeps them copies them.

    Args:
        datagrams: The packets, none of them where time was over.
        peers: Who sent each, uint8 [n, 28]; a row's bytes are what `send` takes.
    """

    datagrams: Datagrams
    peers: NDArray[np.uint8]


@dataclass
class Counters:
    """What happened to a carrier that is no reason to stop.

    Args:
        refused: Answers that nothing listens at the other end's port.
        unreachable: Packets that no network led to the other end.
        no_room: Packets not sent, since the kernel's buffers stayed full.
        blocked: Packets that a firewall of this machine did not let out.
        too_long: Packets not sent, since the way to their peer takes none so long.
        truncated: Packets dropped that were longer than any that is expected.
    """

    refused: int = 0
    unreachable: int = 0
    no_room: int = 0
    blocked: int = 0
    too_long: int = 0
    truncated: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, name: str, count: int = 1) -> None:
        """Count one of them, from any thread."""
        with self._lock:
            setattr(self, name, getattr(self, name) + count)


class Carrier(Protocol):
    """A socket that packets go through; one thread receives, any may send."""

    counters: Counters

    def send(self, datagrams: Datagrams, to: bytes | None = None, timeout_s: float = 1.0) -> int:
        """Send packets, waiting so long at most for room in the kernel's buffers.

        Args:
            datagrams: The packets.
            to: A peer, where the carrier is not connected to one.
            timeout_s: Seconds; at 0 it never waits.

        Returns:
            How many the kernel took; those that it did not are counted.

        Raises:
            DeviceError: The network refuses them for good.
        """
        ...

    def receive(self, timeout_s: float | None = None) -> Arrived:
        """Receive what has come, waiting so long for the first; None is for ever.

        Nothing came where time was over, another thread woke it, or the network said something
        else than a packet, which is counted.

        Raises:
            DeviceError: The network has failed.
        """
        ...

    def wake(self) -> None:
        """End a `receive` that waits, or the next one; from any thread."""
        ...

    def close(self) -> None:
        """Close it, once no thread is in it."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...
