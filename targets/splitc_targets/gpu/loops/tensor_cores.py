# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Products of small matrices by a warp's tensor cores, and the same by ordinary arithmetic.

A warp multiplies 16 rows of 8 words by 8 words of 8 columns. A word has 32 bits: a number in tf32,
or two neighbours along the depth in float16. Its lanes hold the operands and the sums in pieces,
which the PTX ISA lays down ("Matrix Fragments for mma.m16n8k8 with .tf32" and "for
mma.m16n8k16 with floating point type"); said in words, both are the same.

Devices without tensor cores run a twin of it, for checks: a lane computes the sums that it would
hold, and reads every operand from shared memory at the very place from which the lane that holds
it would have loaded it. The twin sums in another order, and does not run `mma` itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from splitc_targets.gpu.loops.threads import Threads
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Array, Index, Value, const, tirx

ROWS, COLUMNS, WORDS, LANES = 16, 8, 8, 32
"""Rows of the left operand, columns of the right, words of depth, and lanes of a warp."""

NUMBERS = {"tf32": 1, "float16": 2}
"""Numbers in a word."""

Place = Callable[[Index, Index], Index]
"""(row or column of the whole tile, word of a slice) -> where shared memory has the word."""

CUDA = """\
__device__ __forceinline__ void splitc_multiply_tf32(
    float* sums, uint a0, uint a1, uint a2, uint a3, uint b0, uint b1) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
#endif
}
__device__ __forceinline__ void splitc_multiply_float16(
    float* sums, uint a0, uint a1, uint a2, uint a3, uint b0, uint b1) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
#else
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a0), "r"(a1), "r"(b0));
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 "
      "{%0, %1, %2, %3}, {%4, %5}, {%6}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(a2), "r"(a3), "r"(b1));
#endif
}
__device__ __forceinline__ uint splitc_half(float x) {
  ushort half_bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(half_bits) : "f"(x));
  return half_bits;
}
__device__ __forceinline__ float splitc_float(uint half_bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"((ushort)half_bits));
  return x;
}
__device__ __forceinline__ uint splitc_two_halves(float low, float high) {
  return splitc_half(low) | splitc_half(high) << 16;
}
"""
"""What kernels call, in CUDA C. Turing's GPUs multiply half the depth at once.

Products are volatile, so that no compiler moves one under a condition that part of a warp meets.
"""

OPENCL = """\
inline uint splitc_half(float x) {
  const uint bits = as_uint(x), size = bits & 0x7fffffff, sign = bits >> 16 & 0x8000;
  if (size > 0x7f800000) return sign | 0x7fff;
  if (size >= 0x477ff000) return sign | 0x7c00;
  if (size < 0x38800000) return sign | (as_uint(as_float(size) + 0.5f) - 0x3f000000);
  return sign | (size + 0xfff + (size >> 13 & 1) - 0x38000000) >> 13;
}
inline float splitc_float(uint half_bits) {
  const uint size = (half_bits & 0x7fff) << 13, sign = (half_bits & 0x8000) << 16;
  if (size >= 0x0f800000) return as_float(sign | size | 0x7f800000);
  return as_float(sign | as_uint(as_float(size) * 0x1p112f));
}
inline uint splitc_two_halves(float low, float high) {
  return splitc_half(low) | splitc_half(high) << 16;
}
inline float splitc_product_of_halves(uint a, uint b) {
  return splitc_float(a) * splitc_float(b) + splitc_float(a >> 16) * splitc_float(b >> 16);
}
"""
"""The same in OpenCL C, as far as the twin needs it; float16 by its bits, as not all have it."""


def left_held(lane: Index, number: Index) -> tuple[Index, Index]:
    """The row and the word of the left operand that a lane holds, four of them."""
    row = emit.div(lane, 4) + 8 * emit.mod(number, 2)
    return row, emit.mod(lane, 4) + 4 * emit.div(number, 2)


def right_held(lane: Index, number: Index) -> tuple[Index, Index]:
    """The column and the word of the right operand that a lane holds, two of them."""
    return emit.div(lane, 4), emit.mod(lane, 4) + 4 * number


def sum_held(lane: Index, number: int) -> tuple[Index, Index]:
    """The row and the column of the sum that a lane holds, four of them."""
    return emit.div(lane, 4) + 8 * (number // 2), emit.mod(lane, 4) * 2 + number % 2


def left_holder(row: Index, word: Index) -> tuple[Index, Index]:
    """The lane that holds a word of the left operand, and which number the word has there."""
    return emit.mod(row, 8) * 4 + emit.mod(word, 4), emit.div(row, 8) + 2 * emit.div(word, 4)


def right_holder(column: Index, word: Index) -> tuple[Index, Index]:
    """The lane that holds a word of the right operand, and which number the word has there."""
    return column * 4 + emit.mod(word, 4), emit.div(word, 4)


def as_tf32(value: Value) -> Value:
    """A float's bits, rounded to tf32 as `cvt.rna.tf32.f32` does: to nearest, halves away from 0.

    The sign is a bit of its own, so adding half of the last place kept rounds both signs; what is
    not a number stays as it is.
    """
    bits = tirx.reinterpret("int32", value)
    size = tirx.bitwise_and(bits, const(0x7FFFFFFF))
    rounded = tirx.bitwise_and(bits + const(0x1000), const(-0x2000))
    return tirx.Select(tirx.LT(const(0x7F800000), size), bits, rounded)


def as_halves(low: Value, high: Value) -> Value:
    """Two floats as a word of float16, rounded to nearest, halves to even."""
    return tirx.call_pure_extern("int32", "splitc_two_halves", low, high)


class Warp:
    """One warp's products of tiles in shared memory.

    Args:
        code: Gets the statements.
        precision: Of the words.
        lane: The thread's number in its warp.
        twin: Whether by ordinary arithmetic.
    """

    def __init__(self, code: Threads, precision: str, lane: Index, *, twin: bool) -> None:
        self.code, self.precision, self.lane, self.twin = code, precision, lane, twin

    def multiply(
        self, left: Array, right: Array, rows: list[Index], columns: list[Index], words: Index,
        left_at: Place, right_at: Place, sums: Array,
    ) -> None:  # fmt: skip
        """Add the products of so many words of depth to sums.

        Args:
            left, right: Words in shared memory.
            rows, columns: Where each tile of the operands begins.
            words: The first word.
            left_at, right_at: Where the arrays have a word.
            sums: Four of each pair of tiles, those of a row of tiles side by side.
        """
        if self.twin:
            self._by_arithmetic(left, right, rows, columns, words, left_at, right_at, sums)
            return
        code, lane = self.code, self.lane
        held_left, held_right = [], []
        for first in rows:
            places = [left_held(lane, number) for number in range(4)]
            held_left.append([
                code.bind(left.at(left_at(first + row, words + word)), "a") for row, word in places
            ])  # fmt: skip
        for first in columns:
            places = [right_held(lane, number) for number in range(2)]
            held_right.append([
                code.bind(right.at(right_at(first + column, words + word)), "b")
                for column, word in places
            ])  # fmt: skip
        for i, a in enumerate(held_left):
            for j, b in enumerate(held_right):
                at = tirx.address_of(sums.at(4 * (i * len(columns) + j)))
                name = f"splitc_multiply_{self.precision}"
                code.add(tirx.Evaluate(tirx.call_extern("int32", name, at, *a, *b)))

    def _by_arithmetic(
        self, left: Array, right: Array, rows: list[Index], columns: list[Index], words: Index,
        left_at: Place, right_at: Place, sums: Array,
    ) -> None:  # fmt: skip
        code = self.code
        for i, first_row in enumerate(rows):
            for j, first_column in enumerate(columns):
                for number in range(4):
                    cell = 4 * (i * len(columns) + j) + number
                    row, column = sum_held(self.lane, number)
                    with code.loop("word", WORDS) as word:
                        own_row, own_word = left_held(*left_holder(row, word))
                        a = left.at(left_at(first_row + own_row, words + own_word))
                        own_column, own_word = right_held(*right_holder(column, word))
                        b = right.at(right_at(first_column + own_column, words + own_word))
                        code.store(sums, cell, sums.at(cell) + self._product(a, b))

    def _product(self, a: Value, b: Value) -> Any:
        if self.precision == "tf32":
            left: Any = tirx.reinterpret("float32", a)
            return left * tirx.reinterpret("float32", b)
        return tirx.call_pure_extern("float32", "splitc_product_of_halves", a, b)
