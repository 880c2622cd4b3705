# SPDX-License-Identifier: Apache-2.0
"""Elements in packets: the order that both sides know, and what fits."""

from __future__ import annotations

import math
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splitc.errors import UsageError
from splitc.link.packets import (
    Chunks,
    Order,
    Unit,
    element_order,
    elements_per_packet,
    packet_count,
    unit_of,
)


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
    chunks = Chunks(count, Unit(1, 4), 4 * elements)
    sizes = np.bincount(chunks.packet_of_element(seed)).tolist()
    assert sizes[:-1] == [elements] * (len(sizes) - 1)
    assert sum(sizes) == count
    assert len(sizes) == packet_count(count, elements)


def test_neighbours_travel_in_packets_of_their_own_choice() -> None:
    """Pairs of neighbours in one packet are as many as chance makes them, within five sigma."""
    count, elements = 16_384, 128
    packets = Chunks(count, Unit(1, 4), 4 * elements).packet_of_element()
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


def test_an_order_is_there_once_for_all_that_have_it_and_goes_with_the_last() -> None:
    one, same = Order.of(1000, 7), Order.of(1000, 7)
    assert one is same
    assert one.elements[one.places].tolist() == list(range(1000))
    assert Order.of(1000, 8) is not one
    gone = weakref.ref(one)
    del one, same
    assert gone() is None


def test_elements_of_a_few_bits_travel_with_those_that_they_share_bytes_with() -> None:
    units = {3: Unit(8, 3), 4: Unit(2, 1), 8: Unit(1, 1), 12: Unit(2, 3), 16: Unit(1, 2)}
    assert {bits: unit_of(bits / 8) for bits in units} == units
    chunks = Chunks(100, unit_of(3 / 8), 10)
    packets = chunks.packet_of_element(5)
    assert len(packets) == 100
    assert chunks.packets == packets.max() + 1 == 5
    for k in range(0, 100, 8):
        assert len({*packets[k : k + 8].tolist()}) == 1


@pytest.mark.parametrize("size", [0.3, 1 / 3, float("inf"), float("nan"), -1])
def test_elements_that_are_no_number_of_bits_are_refused(size: float) -> None:
    with pytest.raises(UsageError, match="element_bytes"):
        unit_of(size)


@pytest.mark.parametrize(
    ("payload", "element", "match"),
    [(3, 4, "holds no element"), (0, 1, "holds no element"), (-5, 1, "holds no element"),
     (500, 0, "element_bytes 0 is not above 0"), (500, -1, "is not above 0")],
)  # fmt: skip
def test_a_packet_without_an_element_is_refused(payload: int, element: float, match: str) -> None:
    with pytest.raises(UsageError, match=match):
        elements_per_packet(payload, element)
