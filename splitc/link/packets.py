# SPDX-License-Identifier: Apache-2.0
"""How a tensor's elements lie in packets when what is lost may not be sent again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from splitc.errors import UsageError

Scale = Literal["rate", "realised", "none"]
"""What is received is multiplied by: 1/(1 - p), the channel's p; the inverse of the share
of elements that came through; nothing."""

IP_UDP_BYTES = 28
"""Headers of IPv4 and UDP, which the link carries with every packet."""

HEADER_BYTES = 32
"""What every packet begins with (docs/wire.md)."""

TAG_BYTES = 16
"""What sealing adds to a packet, behind its payload."""

MOST_CHUNKS = 0xFFFF
"""Chunks that a frame can have: the header counts them in 16 bits."""

OVERHEAD_BYTES = 40 + 8 + HEADER_BYTES + TAG_BYTES
"""Bytes of a packet that carry no values: 40 of IPv6, 8 of UDP, 32 of header (docs/wire.md), 16
that sealing adds. The same over IPv4 and with nothing sealed, so that what is in a packet hangs on
neither."""


def payload_bytes(mtu: int) -> int:
    """Bytes of values that fit one packet.

    Args:
        mtu: Largest packet that the link carries, in bytes.

    Raises:
        UsageError: The headers leave no room.
    """
    if not OVERHEAD_BYTES < mtu <= 0xFFFF:
        why = f"it must be over the {OVERHEAD_BYTES} bytes of headers, at most 65535"
        raise UsageError(f"mtu {mtu} is no packet size", why=why)
    return mtu - OVERHEAD_BYTES


PAYLOAD_BYTES = payload_bytes(1500)
"""Of a packet on Ethernet."""


class Unit(NamedTuple):
    """What travels together: the fewest elements that fill whole bytes.

    Args:
        elements: How many.
        nbytes: The bytes that they fill.
    """

    elements: int
    nbytes: int


def unit_of(element_bytes: float) -> Unit:
    """The unit of elements of so many bytes, 0.375 for 3 bits: 8 of them fill 3 bytes.

    Raises:
        UsageError: They are no whole number of bits above 0.
    """
    bits = element_bytes * 8
    if not element_bytes > 0:
        raise UsageError(f"element_bytes {element_bytes:g} is not above 0")
    if not math.isfinite(bits) or bits != int(bits):
        why = f"{bits:g} bits are no whole number of them"
        raise UsageError(f"no element has element_bytes {element_bytes:g}", why=why)
    elements = 8 // math.gcd(int(bits), 8)
    return Unit(elements, elements * int(bits) // 8)


def elements_per_packet(payload_bytes: int, element_bytes: float) -> int:
    """Whole elements that fit the payload of one packet.

    Raises:
        UsageError: Not one does, or an element has no size.
    """
    unit = unit_of(element_bytes)
    return units_per_packet(payload_bytes, unit) * unit.elements


def units_per_packet(payload_bytes: int, unit: Unit) -> int:
    """Whole units that fit the payload of one packet.

    Raises:
        UsageError: Not one does.
    """
    if not payload_bytes >= unit.nbytes:
        many = f"{unit.elements} elements take" if unit.elements > 1 else "one element takes"
        why = f"{many} {unit.nbytes} bytes"
        raise UsageError(f"payload_bytes {payload_bytes:g} holds no element", why=why)
    return payload_bytes // unit.nbytes


def packet_count(nbytes: int, payload_bytes: int) -> int:
    """Packets that a boundary of that many bytes fills."""
    return -(-nbytes // payload_bytes)


def element_order(count: int, seed: int = 0) -> NDArray[np.int64]:
    """The order that a tensor's elements are sent in: a permutation that both sides know.

    The place of element i is the rank of SplitMix64's i-th output from the seed, ties by
    index: the same on every machine, in any language, and neighbours end far apart, so
    that a lost packet leaves holes spread over the whole tensor.

    Args:
        count: Elements of the flattened tensor.
        seed: Of the permutation, a 64-bit number.

    Returns:
        The index of the element at each place [count].

    References:
        Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    """
    steps = np.arange(1, count + 1, dtype=np.uint64)
    start = np.uint64(seed & 0xFFFF_FFFF_FFFF_FFFF)
    return np.argsort(_mixed(start + steps * np.uint64(0x9E37_79B9_7F4A_7C15)), kind="stable")


class Order:
    """One `element_order`, each of its directions computed when it is first asked for.

    `Order.of` shares them: however many boundaries have it, it is there once, and goes with the
    last of them.

    Args:
        count: See `element_order`.
        seed: See `element_order`.
    """

    _shared: ClassVar[WeakValueDictionary[tuple[int, int], Order]] = WeakValueDictionary()

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed

    @staticmethod
    def of(count: int, seed: int) -> Order:
        """The order, which others may have too."""
        return Order._shared.setdefault((count, seed), Order(count, seed))

    @cached_property
    def elements(self) -> NDArray[np.int64]:
        """The element at each place [count]; not to be written."""
        return _fixed(element_order(self._count, self._seed))

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """The place of each element [count]; not to be written."""
        places = np.empty(self._count, np.int64)
        places[element_order(self._count, self._seed)] = np.arange(self._count)
        return _fixed(places)


def _fixed(array: NDArray[np.int64]) -> NDArray[np.int64]:
    array.setflags(write=False)
    return array


@dataclass(frozen=True)
class Chunks:
    """Which packet each element of a tensor travels in: of training's channels and of the wire.

    The tensor is flattened and its units, the last one filled up, are sent in `element_order`, as
    many a packet as fit.

    Args:
        count: Elements of the tensor.
        unit: Those that travel together.
        payload_bytes: Bytes of elements that one packet holds.

    Raises:
        UsageError: A packet holds no unit.
    """

    count: int
    unit: Unit
    payload_bytes: int

    def __post_init__(self) -> None:
        units_per_packet(self.payload_bytes, self.unit)

    @property
    def units(self) -> int:
        """Units of the tensor."""
        return -(-self.count // self.unit.elements)

    @property
    def each(self) -> int:
        """Units that a full packet holds."""
        return units_per_packet(self.payload_bytes, self.unit)

    @property
    def packets(self) -> int:
        """Packets that the tensor fills; all but the last are full."""
        return packet_count(self.units, self.each)

    def packet_of_element(self, seed: int = 0) -> NDArray[np.int64]:
        """The packet of each element [count].

        Args:
            seed: Of the order.
        """
        of_unit = Order.of(self.units, seed).places // self.each
        return np.repeat(of_unit, self.unit.elements)[: self.count]


def _mixed(z: NDArray[Any]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return z ^ (z >> np.uint64(31))
