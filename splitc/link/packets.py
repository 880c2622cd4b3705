# SPDX-License-Identifier: Apache-2.0
"""How a tensor's elements lie in packets when what is lost may not be sent again."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from splitc.errors import UsageError

Scale = Literal["rate", "realised", "none"]
"""What is received is multiplied by: 1/(1 - p), the channel's p; the inverse of the share
of elements that came through; nothing."""


def elements_per_packet(payload_bytes: int, element_bytes: float) -> int:
    """Whole elements that fit the payload of one packet.

    Raises:
        UsageError: Not one does, or an element has no size.
    """
    if not element_bytes > 0:
        raise UsageError(f"element_bytes {element_bytes:g} is not above 0")
    if not payload_bytes >= element_bytes:
        why = f"one element takes {element_bytes:g} bytes"
        raise UsageError(f"payload_bytes {payload_bytes:g} holds no element", why=why)
    return int(payload_bytes // element_bytes)


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


def packet_of_element(count: int, elements: int, seed: int = 0) -> NDArray[np.int64]:
    """The packet that each element travels in [count], with so many elements a packet."""
    packets = np.empty(count, np.int64)
    packets[element_order(count, seed)] = np.arange(count) // elements
    return packets


def _mixed(z: NDArray[Any]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58_476D_1CE4_E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D0_49BB_1331_11EB)
    return z ^ (z >> np.uint64(31))
