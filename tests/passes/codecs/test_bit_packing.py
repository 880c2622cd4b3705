# SPDX-License-Identifier: Apache-2.0
"""Packing by matrices against Python's own integers, for every width."""

from __future__ import annotations

import numpy as np
import pytest

from splitc_passes.codecs.bit_packing import group_of, packed_bytes, regroup

BITS = range(1, 17)


@pytest.mark.parametrize("bits", BITS)
def test_words_become_the_bytes_of_their_bit_string_and_come_back(bits: int) -> None:
    rng = np.random.default_rng(bits)
    group = group_of(bits)
    words = rng.integers(0, 2**bits, (300, group.words))
    words[0], words[1] = 2**bits - 1, 0
    pack, unpack = regroup(bits, 8), regroup(8, bits)
    octets = np.floor(words.astype(np.float32) @ pack.pieces) @ pack.sums
    for row, got in zip(words.tolist(), octets.tolist(), strict=True):
        number = sum(word << (bits * place) for place, word in enumerate(row))
        assert got == list(number.to_bytes(group.octets, "little"))
    back = np.floor(octets.astype(np.float32) @ unpack.pieces) @ unpack.sums
    np.testing.assert_array_equal(back, words)


@pytest.mark.parametrize("bits", BITS)
def test_no_term_and_no_sum_leaves_what_fp32_counts_exactly(bits: int) -> None:
    for width, new in ((bits, 8), (8, bits)):
        found = regroup(width, new)
        largest = np.floor((2**width - 1) * found.pieces.max(axis=0))
        assert (largest[:, None] * np.abs(found.sums)).sum(axis=0).max() < 2**24


@pytest.mark.parametrize("bits", BITS)
def test_a_group_fills_whole_bytes_and_no_smaller_one_does(bits: int) -> None:
    words, octets = group_of(bits)
    assert words * bits == octets * 8
    assert all(n * bits % 8 for n in range(1, words))
    assert packed_bytes(bits, 3 * words) == 3 * octets
    assert packed_bytes(bits, 3 * words + 1) == 3 * octets + (1 if bits <= 8 else 2)
