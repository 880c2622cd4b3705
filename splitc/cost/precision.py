# SPDX-License-Identifier: Apache-2.0
"""What a board multiplies in: float32, or less exact numbers where it has instructions for them.

Graphics processors do so on their tensor cores, processors by instructions of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast, get_args

import msgspec

from splitc.cost.board import Board, Cpu, Gpu, Precision
from splitc.errors import UsageError, one_of

PRECISIONS: tuple[str, ...] = get_args(Precision)
"""As `--precision` has them, the most exact first."""

_INSTRUCTIONS: dict[Precision, tuple[str, ...]] = {"bf16": ("+avx512bf16",)}
"""What a processor multiplies in a precision with, as a board's `features` say it: one of these."""

_TILES: dict[Precision, tuple[str, ...]] = {"bf16": ("+amx-bf16",)}
"""What it multiplies tiles with beside, where it has those."""

_OF_PROCESSORS: dict[Precision, str] = {
    "bf16": "AVX-512 BF16: AMD since Zen 4, Intel's Cooper Lake and since Sapphire Rapids",
}


def at_precision(boards: Mapping[str, Board], precision: str) -> dict[str, Board]:
    """Boards whose units multiply in a precision where they can.

    A processor that cannot goes on in float32, as a Raspberry Pi does before a server.

    Args:
        boards: By the sites' names.
        precision: One of `PRECISIONS`.

    Raises:
        UsageError: A graphics processor among them does not multiply in it, or none of them does.
    """
    asked = cast("Precision", one_of(PRECISIONS, precision, "precision"))
    made = {site: _at(board, asked) for site, board in boards.items()}
    if not any(board.unit.precision == asked for board in made.values()):
        names = " and ".join(sorted({board.name for board in boards.values()}))
        if asked in _INSTRUCTIONS:
            raise UsageError(
                f"no target multiplies in {asked}: {names}",
                why=f"{asked} needs {_OF_PROCESSORS[asked]}",
                hint="on such a machine the target host, or a board's file with features = "
                f"{list(_INSTRUCTIONS[asked])}",
            )  # fmt: skip
        raise UsageError(
            f"--precision {asked} does nothing",
            why=f"processors multiply in float32, or as a quantised network says: {names}",
            hint="name a graphics processor: --tail-target cuda-sm90",
        )
    return made


def in_float32(board: Board) -> Board:
    """A board that multiplies in float32, whatever else was asked of it."""
    return _with(board, "float32")


def _with(board: Board, precision: Precision) -> Board:
    return msgspec.structs.replace(
        board, unit=msgspec.structs.replace(board.unit, precision=precision)
    )


def _at(board: Board, precision: Precision) -> Board:
    unit = board.unit
    if isinstance(unit, Cpu):
        return _processor_at(board, unit, precision)
    if precision != "float32" and precision not in unit.tensor:
        others = [each for each in PRECISIONS if each in unit.tensor]
        raise UsageError(
            f"{board.name} does not multiply in {precision}",
            why=f"its tensor cores multiply in {', '.join(others)}" if others
            else "its board file names no tensor cores",
            hint=" or ".join(f"--precision {each}" for each in ("float32", *others)),
        )  # fmt: skip
    return _with(board, precision)


def _processor_at(board: Board, unit: Cpu, precision: Precision) -> Board:
    """The board with the instructions that the precision needs allowed; itself without them."""
    if precision == "float32":
        return _with(board, precision)
    has = (*unit.features, *unit.on_request)
    found = [name for name in _INSTRUCTIONS.get(precision, ()) if name in has]
    if not found:
        return board
    found += [name for name in _TILES.get(precision, ()) if name in has]
    features = tuple(dict.fromkeys((*unit.features, *found)))
    made = msgspec.structs.replace(unit, features=features, precision=precision)
    return msgspec.structs.replace(board, unit=made)


def rounds(board: Board) -> bool:
    """Whether a board's products are of numbers less exact than float32."""
    return board.unit.precision != "float32"


def in_bf16(features: Sequence[str]) -> bool:
    """Whether code that may use these instructions may multiply in bfloat16."""
    return not set(_INSTRUCTIONS["bf16"]).isdisjoint(features)


def product_flops(board: Board) -> float:
    """FLOP/s of a board's products at its peak: on tensor cores where its precision has them."""
    unit = board.unit
    if not isinstance(unit, Gpu) or unit.precision == "float32":
        return board.peak_flops
    return 2.0 * unit.tensor[unit.precision] * board.cores * board.clock_hz
