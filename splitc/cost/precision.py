# SPDX-License-Identifier: Apache-2.0
"""What graphics processors multiply in: float32, or less exact numbers on their tensor cores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast, get_args

import msgspec

from splitc.cost.board import Board, Gpu, Precision
from splitc.errors import UsageError, one_of

PRECISIONS: tuple[str, ...] = get_args(Precision)
"""As `--precision` has them, the most exact first."""


def at_precision(boards: Mapping[str, Board], precision: str) -> dict[str, Board]:
    """Boards whose graphics processors multiply in a precision; processors do in float32.

    Args:
        boards: By the sites' names.
        precision: One of `PRECISIONS`.

    Raises:
        UsageError: A graphics processor among them does not multiply in it, or there is none and
            it is another than float32.
    """
    asked = cast("Precision", one_of(PRECISIONS, precision, "precision"))
    made = {site: _at(board, asked) for site, board in boards.items()}
    if asked != "float32" and not any(isinstance(board.unit, Gpu) for board in made.values()):
        names = " and ".join(sorted({board.name for board in boards.values()}))
        raise UsageError(
            f"--precision {asked} does nothing",
            why=f"processors multiply in float32, or as a quantised network says: {names}",
            hint="name a graphics processor: --tail-target cuda-sm90",
        )
    return made


def _at(board: Board, precision: Precision) -> Board:
    unit = board.unit
    if not isinstance(unit, Gpu):
        return board
    if precision != "float32" and precision not in unit.tensor:
        others = [each for each in PRECISIONS if each in unit.tensor]
        raise UsageError(
            f"{board.name} does not multiply in {precision}",
            why=f"its tensor cores multiply in {', '.join(others)}" if others
            else "its board file names no tensor cores",
            hint=" or ".join(f"--precision {each}" for each in ("float32", *others)),
        )  # fmt: skip
    return msgspec.structs.replace(board, unit=msgspec.structs.replace(unit, precision=precision))


def rounds(board: Board) -> bool:
    """Whether a board's products are of numbers less exact than float32."""
    return isinstance(board.unit, Gpu) and board.unit.precision != "float32"


def product_flops(board: Board) -> float:
    """FLOP/s of a board's products at its peak: on tensor cores where its precision has them."""
    unit = board.unit
    if not isinstance(unit, Gpu) or unit.precision == "float32":
        return board.peak_flops
    return 2.0 * unit.tensor[unit.precision] * board.cores * board.clock_hz
