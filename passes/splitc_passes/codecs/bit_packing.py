# SPDX-License-Identifier: Apache-2.0
"""Words of some bits in words of other bits, by arithmetic that is exact in fp32."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from splitc.link.packets import unit_of

Matrix = np.ndarray[Any, np.dtype[np.float32]]

BYTE = 8


class Group(NamedTuple):
    """The fewest words of so many bits that fill whole bytes.

    Args:
        words: How many.
        octets: The bytes that they fill.
    """

    words: int
    octets: int


class Regrouping(NamedTuple):
    """Two matrices that turn words into words of another width, bits in little-endian order.

    With `x` [..., words] the new words are `floor(x @ pieces) @ sums`; each product and
    each partial sum is a whole number below 2^24, or a single term. Where no word is cut,
    `pieces` is the identity.

    Args:
        pieces: [words, P]: every word without its lowest bits, at each place it is cut.
        sums: [P, new words]: what is between two cuts is a difference of two such.
    """

    pieces: Matrix
    sums: Matrix


def group_of(bits: int) -> Group:
    """How words of so many bits are packed.

    Args:
        bits: From 1 to 16.
    """
    unit = unit_of(bits / BYTE)
    return Group(unit.elements, unit.nbytes)


def packed_bytes(bits: int, values: int) -> int:
    """Bytes that hold so many values of so many bits, none of the bytes partly twice."""
    return -(-bits * values // BYTE)


def regroup(width: int, new: int) -> Regrouping:
    """Matrices from words of `width` bits to words of `new` bits, over as few as come out even.

    Args:
        width: Bits of a word; one of the two widths is 8.
        new: Bits of a new word.
    """
    total = math.lcm(width, new)
    ends = range(new, total, new)
    cuts = [
        (word, shift)
        for word in range(total // width)
        for shift in (0, *(end - word * width for end in ends if 0 < end - word * width < width))
    ]
    column = {cut: k for k, cut in enumerate(cuts)}
    pieces = np.zeros((total // width, len(cuts)), np.float32)
    for (word, shift), k in column.items():
        pieces[word, k] = 2.0**-shift
    sums = np.zeros((len(cuts), total // new), np.float32)
    for word, low in cuts:
        at = word * width + low
        high = min(width, (at // new + 1) * new - word * width)
        sums[column[word, low], at // new] += 2.0 ** (at % new)
        if high < width:
            sums[column[word, high], at // new] -= 2.0 ** (at % new + high - low)
    return Regrouping(pieces, sums)
