# SPDX-License-Identifier: Apache-2.0
"""Arithmetic on bfloat16 as functions in LLVM's assembly, for TVM has no such type in its code.

A bfloat16 is the upper half of a float32. In memory and in vectors it is a uint16, a pair of
them an int32; inside of these functions, which are written where they are called, LLVM knows
what they are and takes the target's instructions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from splitc_targets.machine.core import MultiplyAdd

BF16 = "bfloat16"

_LANES = (1, 2, 4, 8, 16)
"""Of the vectors that are rounded."""


def rounding_name(lanes: int) -> str:
    """The function that rounds a vector of float32 to the nearest bfloat16, ties to even."""
    return f"splitc_bfloat16_{lanes}"


def _rounding(lanes: int) -> str:
    def vector(kind: str) -> str:
        return kind if lanes == 1 else f"<{lanes} x {kind}>"

    return f"""
define {vector("i16")} @{rounding_name(lanes)}({vector("float")} %x) alwaysinline {{
  %rounded = fptrunc {vector("float")} %x to {vector("bfloat")}
  %bits = bitcast {vector("bfloat")} %rounded to {vector("i16")}
  ret {vector("i16")} %bits
}}
"""


ROUNDING = "".join(map(_rounding, _LANES))
"""The functions that round."""


def multiply_add_name(row: MultiplyAdd) -> str:
    """The function that is an instruction."""
    return f"splitc_{row.name}_{row.lanes}"


def multiply_add(row: MultiplyAdd) -> str:
    """An instruction as a function of vectors of pairs, each an int32, and of sums."""
    lanes, elements = row.lanes, row.lanes * row.group
    words, pairs, sums = f"<{lanes} x i32>", f"<{elements} x bfloat>", f"<{lanes} x float>"
    kinds = [sums if name == "sums" else words for name in row.operands]
    taken = [sums if name == "sums" else pairs for name in row.operands]
    parameters = ", ".join(f"{kind} %a{i}" for i, kind in enumerate(kinds))
    given = ", ".join(f"{kind} %v{i}" for i, kind in enumerate(taken))
    casts = "\n".join(
        f"  %v{i} = bitcast {kinds[i]} %a{i} to {taken[i]}" for i in range(len(kinds))
    )
    return f"""
declare {sums} @{row.intrinsic}({", ".join(taken)})
define {sums} @{multiply_add_name(row)}({parameters}) alwaysinline {{
{casts}
  %sum = call {sums} @{row.intrinsic}({given})
  ret {sums} %sum
}}
"""
