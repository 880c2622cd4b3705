# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Floats to the nearest bytes by a target's own instructions, several vectors together.

AArch64 rounds by a conversion and narrows by instructions that saturate, eight floats at a time.
AVX-512 rounds by a conversion as well, and packs pairs of vectors to words and these to bytes, both
of which saturate; four vectors make the bytes of one.
"""

from __future__ import annotations

from splitc_targets.loops import emit
from splitc_targets.loops.emit import Code, Value

ZMM_LANES = 16
"""Floats of a register of AVX-512."""

_NEON_LANES = 8
"""Floats of two registers of AArch64, whose words fill one."""

_MOST = 4
"""Registers of floats whose bytes fill one."""


def narrows(lanes: int, vector: int) -> bool:
    """Whether the target in scope has instructions that make bytes of so many floats at once.

    Args:
        lanes: How many floats.
        vector: How many a vector register holds.
    """
    if emit.on_aarch64():
        return lanes == _NEON_LANES
    return vector == ZMM_LANES and lanes in (ZMM_LANES, 2 * ZMM_LANES, _MOST * ZMM_LANES)


def nearest_bytes(code: Code, value: Value, lanes: int, shift: float, dtype: str) -> Value:
    """Whole numbers nearest to floats (half to even), plus a shift, as the nearest bytes.

    Args:
        code: Gets the statements.
        value: Floats; not-a-number is some byte.
        lanes: How many, which `narrows` says yes to.
        shift: A whole number within 16 bits, far from its ends.
        dtype: "int8" or "uint8".
    """
    if emit.on_aarch64():
        return _by_neon(code, value, shift, dtype)
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


def _by_neon(code: Code, value: Value, shift: float, dtype: str) -> Value:
    """The same of eight floats by AArch64's instructions: what is no number is 0 and the shift."""
    tirx, halves = emit.tirx, list[Value]()
    for first in (0, 4):
        four = emit.shuffle([value], range(first, first + 4))
        whole = tirx.call_llvm_pure_intrin("int32x4", f"{_NEON}fcvtns", four)
        halves.append(code.bind(tirx.call_llvm_pure_intrin("int16x4", f"{_NEON}sqxtn", whole)))
    found = code.bind(emit.shuffle(halves, range(_NEON_LANES)), "words")
    if shift:
        moved = emit.number(shift, _NEON_LANES, "int16")
        found = tirx.call_llvm_pure_intrin("int16x8", "llvm.sadd.sat", found, moved)
    name = "sqxtun" if dtype == "uint8" else "sqxtn"
    made = tirx.call_llvm_pure_intrin("int8x8", f"{_NEON}{name}", found)
    return made if dtype == "int8" else tirx.reinterpret("uint8x8", made)


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
