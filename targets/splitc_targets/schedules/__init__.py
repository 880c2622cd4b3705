# SPDX-License-Identifier: Apache-2.0
"""Scheduling: from a lowered module to loops, a step of its own so that it can be replaced."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from splitc.board import Board
from splitc_targets import adapter

NAME = "tvm-default"
"""Recorded in the manifest: two parts are comparable when built by the same schedule."""

CAVEAT = "kernels are not scheduled for the target yet: expect far slower runs than predicted"


@dataclass(frozen=True)
class Kernel:
    """One compiled function of a module.

    Args:
        name: The function's name in the library.
        rule: The rule that wrote its loops; "fallback" where none fitted.
        op: What it computes, as in "conv2d+add+relu".
        shapes: Its shapes in words, as in "1x56x56x64 * 64x3x3x64 -> 1x56x56x64".
        flops: Floating-point operations of the mathematics, a multiply-add being 2.
        calls: How many times one inference calls it.
    """

    name: str
    rule: str
    op: str
    shapes: str
    flops: int
    calls: int = 1


@dataclass(frozen=True)
class Code:
    """A module compiled for a board: what is exported, and what it is made of."""

    executable: Any
    kernels: tuple[Kernel, ...] = ()


def compile_module(lowered: Any, board: Board) -> Code:
    """Choose loops for every function of a lowered module and compile it for a board."""
    target = adapter.target_of(board)
    return Code(adapter.build(lowered, target, adapter.default_pipeline(target)))
