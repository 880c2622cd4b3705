# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Floats to the nearest bytes by a target's own instructions, several vectors together.

AArch64 rounds by a conversion and narrows by instructions that saturate, eight floats at a time.
Its small cores convert a vector in two cycles or more, where they add two vectors in one. A sum of
whole numbers that starts from the bits of 1.5 * 2^23 is, as bits, the float of that much more; and
adding 1.5 * 2^23 leaves the nearest whole number in a float's last bits.
AVX-512 rounds by a conversion as well, and packs pairs of vectors to words and these to bytes, both
of which saturate; four vectors make the bytes of one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from splitc_targets.loops import emit
from splitc_targets.loops.emit import Array, Code, Index, Value

ZMM_LANES = 16
"""Floats of a register of AVX-512."""

_NEON_LANES = 8
"""Floats of two registers of AArch64, whose words fill one."""

_MOST = 4
"""Registers of floats whose bytes fill one."""


_UP = 1.5 * 2**23
"""Floats about it are whole numbers, their last bits those of how far they are from it."""

MOVED = int(np.float32(_UP).view(np.int32))
"""What sums start from beside their own, to be floats as they lie: see `MovedSums`."""

FAR_SUM = 2.0**22
"""What such sums lie within."""

FAR_END = 2.0**15 - 2048
"""What lies within it is narrowed to 16 bits, and shifted by what `nearest_bytes` takes, whole."""


class MovedSums(Array):
    """Sums of whole numbers, within `FAR_SUM` of 0, that started from `MOVED` more."""

    def __init__(self, sums: Array) -> None:
        super().__init__(sums.buffer, sums.dtype)
        self.sums = sums

    def piece(self, i: Index) -> tuple[Any, Index]:
        """The buffer that holds an element, and where in it."""
        return self.sums.piece(i)

    def number(self, i: Index, lanes: int = 1, used: int | None = None) -> Value:
        """Sums as floats, without what they started from."""
        as_floats = emit.tirx.reinterpret(emit.typed("float32", lanes), self.at(i, lanes, used))
        return as_floats - emit.number(_UP, lanes)


def narrows(lanes: int, vector: int) -> bool:
    """Whether the target in scope has instructions that make bytes of so many floats at once.

    Args:
        lanes: How many floats.
        vector: How many a vector register holds.
    """
    if emit.on_aarch64():
        return lanes in (_NEON_LANES // 2, _NEON_LANES)
    return vector == ZMM_LANES and lanes in (ZMM_LANES, 2 * ZMM_LANES, _MOST * ZMM_LANES)


def nearest_bytes(
    code: Code, value: Value, lanes: int, shift: float, dtype: str, *, near: bool = False
) -> Value:
    """Whole numbers nearest to floats (half to even), plus a shift, as the nearest bytes.

    Args:
        code: Gets the statements.
        value: Floats; not-a-number is some byte.
        lanes: How many, which `narrows` says yes to.
        shift: A whole number within 16 bits, far from its ends.
        dtype: "int8" or "uint8".
        near: Whether the floats are known to lie within `FAR_END` of 0.
    """
    if emit.on_aarch64():
        return _by_neon(code, value, lanes, shift, dtype, near)
    given = lanes // ZMM_LANES
    whole = [_rounded(code, value, k) for k in range(given)]
    # What is missing of four is what is there once more.
    first, second = (_words(code, whole[k % given], whole[(k + 1) % given], shift) for k in (0, 2))
    pack = "packuswb" if dtype == "uint8" else "packsswb"
    packed = emit.tirx.call_llvm_pure_intrin("int8x64", f"{_X86}{pack}.512", first, second)
    # Each quarter of it has four bytes of the first vector, then of the second, and so on.
    fours = code.bind(emit.tirx.reinterpret("int32x16", packed), "packed")
    order = [_MOST * quarter + k for k in range(given) for quarter in range(4)]
    return emit.tirx.reinterpret(emit.typed(dtype, lanes), emit.shuffle([fours], order))


def _by_neon(
    code: Code, value: Value, lanes: int, shift: float, dtype: str, near: bool
) -> Value:  # fmt: skip
    """The same of four or eight floats by AArch64's instructions: of four, twice."""
    starts = (0, (_NEON_LANES // 2) % lanes)
    fours = [emit.shuffle([value], range(k, k + _NEON_LANES // 2)) for k in starts]
    words = _added(code, fours, shift) if near else _converted(code, fours, shift)
    name = "sqxtun" if dtype == "uint8" else "sqxtn"
    made = code.bind(emit.tirx.call_llvm_pure_intrin("int8x8", f"{_NEON}{name}", words))
    whole = made if lanes == _NEON_LANES else emit.shuffle([made], range(lanes))
    return whole if dtype == "int8" else emit.tirx.reinterpret(f"uint8x{lanes}", whole)


def _converted(code: Code, fours: list[Value], shift: float) -> Value:
    """Eight words: what is no number is 0 and the shift."""
    tirx, halves = emit.tirx, list[Value]()
    for four in fours:
        whole = tirx.call_llvm_pure_intrin("int32x4", f"{_NEON}fcvtns", four)
        halves.append(code.bind(tirx.call_llvm_pure_intrin("int16x4", f"{_NEON}sqxtn", whole)))
    return _shifted(code, emit.shuffle(halves, range(_NEON_LANES)), shift)


def _added(code: Code, fours: list[Value], shift: float) -> Value:
    """Eight words, of floats within `FAR_END`: the lower halves of what an addition leaves."""
    even = 0.0 if shift % 2 else shift  # An odd one would change which numbers are even.
    halves = [
        code.bind(emit.tirx.reinterpret("int16x8", emit.fence(four) + emit.number(_UP + even, 4)))
        for four in fours
    ]
    lower = range(0, 2 * _NEON_LANES, 2)
    return _shifted(code, emit.shuffle(halves, lower), shift - even)


def _shifted(code: Code, words: Value, shift: float) -> Value:
    words = code.bind(words, "words")
    if not shift:
        return words
    moved = emit.number(int(shift), _NEON_LANES, "int16")
    return emit.tirx.call_llvm_pure_intrin("int16x8", "llvm.sadd.sat", words, moved)


_NEON = "llvm.aarch64.neon."
_X86 = "llvm.x86.avx512."
_AS_SET = 4
"""To round as the processor is set to: to nearest, half to even."""


def _rounded(code: Code, value: Value, number: int) -> Value:
    """One vector of a wide one, as whole numbers; far above 16 bits they stay there."""
    tirx, first = emit.tirx, number * ZMM_LANES
    one = emit.shuffle([value], range(first, first + ZMM_LANES))
    # The conversion makes the least of all numbers of what is too large.
    one = code.bind(tirx.min(emit.number(_LARGE, ZMM_LANES), code.bind(one)))
    return code.bind(
        tirx.call_llvm_pure_intrin(
            "int32x16", f"{_X86}mask.cvtps2dq.512", one, emit.number(0, ZMM_LANES, "int32"),
            tirx.const(-1, "int16"), tirx.const(_AS_SET, "int32"),
        )
    )  # fmt: skip


_LARGE = float(1 << 16)


def _words(code: Code, low: Value, high: Value, shift: float) -> Value:
    """Two vectors of whole numbers as one of 16 bits, saturated, and shifted."""
    tirx = emit.tirx
    made = code.bind(
        tirx.call_llvm_pure_intrin("int16x32", f"{_X86}packssdw.512", low, high), "words"
    )
    if shift:
        moved = emit.number(int(shift), 2 * ZMM_LANES, "int16")
        made = code.bind(
            tirx.call_llvm_pure_intrin("int16x32", "llvm.sadd.sat", made, moved), "words"
        )
    return made
