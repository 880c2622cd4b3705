# SPDX-License-Identifier: Apache-2.0
"""Elements in packets: the order that both sides know, and what fits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitc.errors import UsageError
from splitc.link.packets import element_order, elements_per_packet, packet_count, packet_of_element


def split_mix(seed: int, count: int) -> list[int]:
    """The generator as its paper writes it, on whole numbers: state, then three mixing steps."""
    top, state, made = 2**64 - 1, seed, list[int]()
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & top
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & top
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & top
        made.append(z ^ (z >> 31))
    return made


def test_the_order_is_that_of_the_published_generator() -> None:
    # The first outputs that its reference implementation prints for this seed.
    assert split_mix(1234567, 2) == [6457827717110365317, 3203168211198807973]
    keys = split_mix(1234567, 300)
    wanted = sorted(range(300), key=lambda i: keys[i])
    assert element_order(300, 1234567).tolist() == wanted


@given(st.integers(0, 400), st.integers(1, 50), st.integers(0, 2**64 - 1))
def test_every_element_travels_once_and_packets_are_full_but_the_last(
    count: int, elements: int, seed: int
) -> None:
    assert sorted(element_order(count, seed).tolist()) == list(range(count))
    sizes = np.bincount(packet_of_element(count, elements, seed)).tolist()
    assert sizes[:-1] == [elements] * (len(sizes) - 1)
    assert sum(sizes) == count
    assert len(sizes) == packet_count(count, elements)


def test_neighbours_travel_in_packets_of_their_own_choice() -> None:
    """Pairs of neighbours in one packet are as many as chance makes them, within five sigma."""
    count, elements = 16_384, 128
    packets = packet_of_element(count, elements)
    together = int((packets[1:] == packets[:-1]).sum())
    expected = count * elements / count
    assert abs(together - expected) < 5 * math.sqrt(expected)


def test_another_seed_is_another_order() -> None:
    assert element_order(100, 1).tolist() != element_order(100, 2).tolist()
    assert element_order(100, 1).tolist() == element_order(100, 1).tolist()


def test_packets_hold_whole_elements() -> None:
    assert elements_per_packet(500, 4) == 125
    assert elements_per_packet(7, 2) == 3
    assert elements_per_packet(500, 0.5) == 1000
    assert packet_count(65_536, 500) == 132


@pytest.mark.parametrize(
    ("payload", "element", "match"),
    [(3, 4, "holds no element"), (0, 1, "holds no element"), (-5, 1, "holds no element"),
     (500, 0, "element_bytes 0 is not above 0"), (500, -1, "is not above 0")],
)  # fmt: skip
def test_a_packet_without_an_element_is_refused(payload: int, element: float, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        elements_per_packet(payload, element)
