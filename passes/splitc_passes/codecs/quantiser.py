# SPDX-License-Identifier: Apache-2.0
"""The layers from values to levels of a few bits, packed, and back."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from splitc.errors import UsageError
from splitc.ir.chain import Code, Insertion
from splitc_passes.codecs import operators as op
from splitc_passes.codecs.bit_packing import BYTE, group_of, packed_bytes, regroup

Shape = tuple[int, ...]

MOST_BITS = 16


def check_bits(bits: int) -> None:
    """Refuse a number of bits.

    Raises:
        UsageError: It is not a whole number from 1 to 16.
    """
    if bits not in range(1, MOST_BITS + 1):
        raise UsageError(f"bits {bits} is not in 1 to {MOST_BITS}")


def quantising(shape: Shape, dtype: str, bits: int, low: float, high: float) -> list[Insertion]:
    """The layers from values to levels and back; those that cross are called `levels`.

    Args:
        shape: Of the values; samples are its first extent where it has several.
        dtype: Their element type.
        bits: Bits of a level.
        low: The value of level 0.
        high: The value of the last level.
    """
    top, span = 2**bits - 1, high - low
    chain = [] if dtype == op.SINGLE else [op.cast("single", shape, op.SINGLE)]
    chain += [
        op.hard_sigmoid("unit", shape, 1 / span, -low / span),
        op.times("scaled", shape, top),
        op.plus("shifted", shape, 0.5),
    ]
    if bits == BYTE:
        chain += [op.cast("levels", shape, "uint8"), op.cast("floats", shape, op.SINGLE)]
    else:
        chain += [op.floor("whole", shape), *_packing(shape, bits), *_unpacking(shape, bits)]
    code = Code(_fill(shape, bits, _level_of_zero(bits, low, high)), group_of(bits).octets)
    chain = [replace(each, code=code) if each.name == "levels" else each for each in chain]
    chain.append(op.times("steps", shape, span / top))
    if dtype == op.SINGLE:
        return [*chain, op.plus("restored", shape, low)]
    return [*chain, op.plus("moved", shape, low), op.cast("restored", shape, dtype)]


def _level_of_zero(bits: int, low: float, high: float) -> int:
    """The level that the layers make of the value 0, in fp32 as they compute it."""
    unit = np.float32(min(max(-low / (high - low), 0.0), 1.0))
    return math.floor(unit * np.float32(2**bits - 1) + np.float32(0.5))


def _fill(shape: Shape, bits: int, level: int) -> bytes:
    """The bytes of levels that are all the same, as few as can be repeated over them.

    Of packed levels a sample's bytes are the first of whole groups, so that those of the next
    sample begin anew: with several samples the pattern is as long as a sample.
    """
    group = group_of(bits)
    word = sum(level << (bits * k) for k in range(group.words))
    pattern = word.to_bytes(group.octets, "little")
    if len({*pattern}) == 1:
        return pattern[:1] if pattern[0] else b""
    samples = shape[0] if len(shape) > 1 else 1
    size = packed_bytes(bits, math.prod(shape) // samples)
    if samples == 1 or size % group.octets == 0:
        return pattern[:size]
    return (pattern * -(-size // group.octets))[:size]


def _packing(shape: Shape, bits: int) -> list[Insertion]:
    """From levels [N, ...] to packed bytes [N, B]."""
    samples = shape[0] if len(shape) > 1 else 1
    values = math.prod(shape) // samples
    size, group = packed_bytes(bits, values), group_of(bits)
    groups = -(-values // group.words)
    pieces, sums = regroup(bits, BYTE)
    chain = _grouped(("row", "padded", "words"), shape, (samples, groups, group.words))
    if pieces.shape[0] != pieces.shape[1]:
        cut = (samples, groups, pieces.shape[1])
        chain += [op.product("pieces", cut, pieces), op.floor("parts", cut, packing=True)]
    chain.append(op.product("octets", (samples, groups, group.octets), sums))
    chain.append(op.reshape("bytes", (samples, groups * group.octets)))
    if size < groups * group.octets:
        chain.append(op.leading("sent", (samples, size)))
    return [*chain, op.cast("levels", (samples, size), "uint8")]


def _unpacking(shape: Shape, bits: int) -> list[Insertion]:
    """From packed bytes [N, B] to levels [N, ...]."""
    samples = shape[0] if len(shape) > 1 else 1
    values = math.prod(shape) // samples
    size, group = packed_bytes(bits, values), group_of(bits)
    groups = -(-values // group.words)
    pieces, sums = regroup(BYTE, bits)
    received = (samples, size)
    chain = [op.cast("floats", received, op.SINGLE)]
    chain += _grouped(("", "filled", "received"), received, (samples, groups, group.octets))
    if pieces.shape[0] != pieces.shape[1]:
        cut = (samples, groups, pieces.shape[1])
        chain += [op.product("fields", cut, pieces), op.floor("digits", cut, packing=True)]
    apart = (samples, groups, group.words)
    chain.append(op.product("apart", apart, sums))
    row = (samples, groups * group.words)
    if values < row[1]:
        chain += [op.reshape("line", row), op.leading("kept", (samples, values))]
        apart = (samples, values)
    if apart != shape:
        chain.append(op.reshape("shaped", shape))
    return chain


def _grouped(names: tuple[str, str, str], shape: Shape, wanted: Shape) -> list[Insertion]:
    """From samples of any shape to groups of words, filled up with zeros."""
    row, padded, words = names
    samples, groups, width = wanted
    values = math.prod(shape) // samples
    chain: list[Insertion] = []
    if (missing := groups * width - values) > 0:
        if shape != (samples, values):
            chain.append(op.reshape(row, (samples, values)))
        shape = (samples, groups * width)
        chain.append(op.append_zeros(padded, shape, missing))
    if shape != wanted:
        chain.append(op.reshape(words, wanted))
    return chain
