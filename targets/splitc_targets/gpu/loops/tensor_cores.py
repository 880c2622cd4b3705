# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Products of small matrices by a warp's tensor cores, and the same by ordinary arithmetic.

A warp multiplies 16 rows of 8 words by 8 words of 8 columns. A word has 32 bits: a number in tf32,
or two neighbours along the depth in float16. Its lanes hold the operands and the sums in pieces,
which the PTX ISA lays down ("Matrix Fragments for mma.m16n8k8 with .tf32" and "for
mma.m16n8k16 with floating point type"); said in words, both are the same.

They load the operands as matrices of 8 rows of 4 words (`ldmatrix`): each lane says where a row
lies in shared memory, and gets a word of every matrix.

Devices without tensor cores run a twin of it, for checks: a lane computes the sums that it would
hold, and reads every operand from shared memory in the row that the lane which loads it would
have named. The twin sums in another order, and runs neither `mma` nor `ldmatrix`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from splitc_targets.gpu.loops.threads import Threads
from splitc_targets.loops import emit
from splitc_targets.loops.emit import Array, Index, Value, tirx

ROWS, COLUMNS, WORDS, LANES = 16, 8, 8, 32
"""Rows of the left operand, columns of the right, words of depth, and lanes of a warp."""

NUMBERS = {"tf32": 1, "float16": 2}
"""Numbers in a word."""

Place = Callable[[Index, Index], Index]
"""(row or column of the whole tile, word of a slice) -> where shared memory has the word. Four
words from a multiple of four on lie side by side, at a multiple of 16 bytes."""

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
__device__ __forceinline__ void splitc_load_matrices_2(int* held, const int* row) {
  const uint at = (uint)__cvta_generic_to_shared(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];"
      : "=r"(held[0]), "=r"(held[1]) : "r"(at) : "memory");
}
__device__ __forceinline__ void splitc_load_matrices_4(int* held, const int* row) {
  const uint at = (uint)__cvta_generic_to_shared(row);
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
      : "=r"(held[0]), "=r"(held[1]), "=r"(held[2]), "=r"(held[3]) : "r"(at) : "memory");
}
__device__ __forceinline__ uint splitc_tf32(uint bits) {
#if __CUDA_ARCH__ >= 800
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(__uint_as_float(bits)));
#endif
  return bits;
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
inline uint splitc_tf32(uint bits) {
  if ((bits & 0x7fffffff) > 0x7f800000) return bits;
  return (bits + 0x1000) & 0xffffe000;
}
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


def left_supplied(lane: Index) -> tuple[Index, Index]:
    """The row and the first word of the left operand's matrix row that a lane says the place of.

    Matrix n is that of the words that lanes hold as number n: lane 8n + r names its row r.
    """
    return emit.mod(lane, 16), 4 * emit.div(lane, 16)


def right_supplied(lane: Index) -> tuple[Index, Index]:
    """The same of the right operand, of two tiles of columns: a row there is a column's words."""
    return emit.mod(lane, 8) + 8 * emit.div(lane, 16), 4 * emit.mod(emit.div(lane, 8), 2)


def supplier(holder: Index, number: Index) -> Index:
    """The lane that says where the row lies from which a lane loads its word of a matrix."""
    return 8 * number + emit.div(holder, 4)


def as_tf32(bits: Value) -> Value:
    """A float's bits, rounded to tf32: to nearest, halves away from 0 (`cvt.rna.tf32.f32`).

    The sign is a bit of its own, so adding half of the last place kept rounds both signs; what is
    not a number stays so.
    """
    return tirx.call_pure_extern("int32", "splitc_tf32", bits)


def as_halves(low: Value, high: Value) -> Value:
    """Two floats as a word of float16, rounded to nearest, halves to even."""
    return tirx.call_pure_extern("int32", "splitc_two_halves", low, high)


@dataclass(frozen=True)
class Side:
    """One operand's slice in shared memory.

    Args:
        array: Words.
        at: Where a row's or a column's words lie.
        raw: Whether they are floats that are rounded to tf32 as they are loaded.
    """

    array: Array
    at: Place
    raw: bool = False

    def rounded(self, word: Value) -> Value:
        """A word of it as tensor cores take it."""
        return as_tf32(word) if self.raw else word


@dataclass(frozen=True)
class Operands:
    """What a warp multiplies: words of tiles of both operands.

    Args:
        left, right: The operands.
        rows, columns: Where each tile of them begins.
        words: The first word.
        held_left, held_right: What the lane has of them in registers; the twin reads them from
            shared memory instead.
    """

    left: Side
    right: Side
    rows: list[Index]
    columns: list[Index]
    words: Index
    held_left: Sequence[Value] = ()
    held_right: Sequence[Value] = ()


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

    def load(
        self, left: Side, right: Side, rows: list[Index], columns: list[Index], words: Index
    ) -> Operands:
        """Load what so many words of depth have of tiles.

        Args:
            left, right: The operands.
            rows, columns: Where each tile of them begins.
            words: The first word.
        """
        if self.twin:
            return Operands(left, right, rows, columns, words)
        held_left = self._loaded(left, rows, words, left_supplied, 4)
        pairs = columns[::2] if len(columns) > 1 else columns
        held_right = self._loaded(right, pairs, words, right_supplied, 2 * min(2, len(columns)))
        return Operands(left, right, rows, columns, words, held_left, held_right)

    def multiply(self, loaded: Operands, sums: Array, first: int = 0) -> None:
        """Add the products of what was loaded to sums.

        Args:
            loaded: By `load`.
            sums: Four of each pair of tiles, those of a row of tiles side by side.
            first: The first of them.
        """
        if self.twin:
            self._by_arithmetic(loaded, sums, first)
            return
        across = len(loaded.columns)
        for i in range(len(loaded.rows)):
            for j in range(across):
                at = tirx.address_of(sums.at(first + 4 * (i * across + j)))
                name = f"splitc_multiply_{self.precision}"
                a, b = loaded.held_left[4 * i : 4 * i + 4], loaded.held_right[2 * j : 2 * j + 2]
                self.code.add(tirx.Evaluate(tirx.call_extern("int32", name, at, *a, *b)))

    def _loaded(
        self, side: Side, firsts: list[Index], words: Index,
        supplied: Callable[[Index], tuple[Index, Index]], matrices: int,
    ) -> list[Value]:  # fmt: skip
        """Words of tiles, so many matrices of each loaded at a time."""
        code = self.code
        held = code.local(matrices * len(firsts), "int32", "held")
        line, word = supplied(self.lane)
        for i, first in enumerate(firsts):
            row = side.array.at(side.at(first + line, words + word))
            ends = (tirx.address_of(held.at(matrices * i)), tirx.address_of(row))
            name = f"splitc_load_matrices_{matrices}"
            code.add(tirx.Evaluate(tirx.call_extern("int32", name, *ends)))
        return [
            code.bind(side.rounded(held.at(i)), "a") for i in range(matrices * len(firsts))
        ]  # fmt: skip

    def _by_arithmetic(self, loaded: Operands, sums: Array, first_sum: int) -> None:
        code, left, right = self.code, loaded.left, loaded.right
        words, columns = loaded.words, loaded.columns
        for i, first_row in enumerate(loaded.rows):
            for j in range(len(columns)):
                for number in range(4):
                    cell = first_sum + 4 * (i * len(columns) + j) + number
                    row, column = sum_held(self.lane, number)
                    with code.loop("word", WORDS) as word:
                        holder, held = left_holder(row, word)
                        a = _named(left, first_row, words, left_supplied, holder, held)
                        holder, held = right_holder(column, word)
                        held = held + 2 * (j % 2)
                        first = columns[j - j % 2]
                        b = _named(right, first, words, right_supplied, holder, held)
                        code.store(sums, cell, sums.at(cell) + self._product(a, b))

    def _product(self, a: Value, b: Value) -> Any:
        if self.precision == "tf32":
            left: Any = tirx.reinterpret("float32", a)
            return left * tirx.reinterpret("float32", b)
        return tirx.call_pure_extern("float32", "splitc_product_of_halves", a, b)


def _named(
    side: Side, first: Index, words: Index, supplied: Callable[[Index], tuple[Index, Index]],
    holder: Index, number: Index,
) -> Value:  # fmt: skip
    """The word that a lane holds as a number of its own, in the row that another lane names."""
    line, word = supplied(supplier(holder, number))
    return side.rounded(side.array.at(side.at(first + line, words + word) + emit.mod(holder, 4)))
