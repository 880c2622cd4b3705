# SPDX-License-Identifier: Apache-2.0
"""Tiles of x86 processors (AMX): eight registers of 16 rows of 64 bytes, and their products.

A product takes a tile of sums, one of left rows and one of right columns. A row of the left tile
holds up to 16 words of four bytes, a word of each row of the right tile meets it. So a word is
two bfloat16 or four bytes of neighbouring channels, and the right tile lies as weights in pairs
or fours do (kernels/product/direct.py).

TVM has no such registers: each instruction is a function in LLVM's assembly, which is written
where it is called. What a thread does with tiles lies between `Tiles.begin` and `Tiles.end`: the
first gives the registers their shapes and zeros, the second gives them back, so that switching
threads does not save them. A process has to ask its kernel for them once, when it loads the code.

References:
    Intel, "Intel 64 and IA-32 Architectures Software Developer's Manual", volume 1, chapter 18.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from splitc_targets.loops.emit import Array, Code, Index
    from splitc_targets.machine.core import TileProduct

ROWS = 16
"""Of a tile, at most."""

WORDS = 16
"""Of four bytes, of a tile's row."""

LEFT, RIGHT = (4, 5), (6, 7)
"""Registers of the factors; those before hold sums."""

SUMS = 4


class Tiles:
    """Writes instructions on tiles, where left tiles and sums have so many rows.

    Args:
        code: Gets the statements.
        row: The product.
        rows: Of left tiles and of sums, 1 to 16.
    """

    def __init__(self, code: Code, row: TileProduct, rows: int) -> None:
        self.code, self.row, self.rows = code, row, rows
        code.include(functions(row, rows))

    def begin(self) -> None:
        """Give this thread's registers their shapes; all are 0 then."""
        self.code.call(f"splitc_tiles_begin_{self.rows}")

    def end(self) -> None:
        """Give this thread's registers back."""
        self.code.call("splitc_tiles_end")

    def zero(self, tile: int) -> None:
        """Set a tile to 0."""
        self.code.call(f"splitc_tile_zero_{tile}")

    def load(self, tile: int, array: Array, i: Index, step: int) -> None:
        """Read a tile.

        Args:
            tile: The register.
            array: Of words, or of elements as large.
            i: Its first.
            step: Words from a row to the next.
        """
        self._move("load", tile, array, i, step)

    def store(self, tile: int, array: Array, i: Index, step: int) -> None:
        """Write a tile; arguments as for `load`."""
        self._move("store", tile, array, i, step)

    def multiply(self, total: int, left: int, right: int) -> None:
        """Add the product of two tiles to a third."""
        self.code.call(f"splitc_{self.row.name}_{total}_{left}_{right}")

    def _move(self, what: str, tile: int, array: Array, i: Index, step: int) -> None:
        self.code.call(f"splitc_tile_{what}_{tile}", array.address(i), 4 * step)


def functions(row: TileProduct, rows: int) -> str:
    """The functions that `Tiles` calls, in LLVM's assembly."""
    registers = range(LEFT[0] + len(LEFT) + len(RIGHT))
    products = [(i * 2 + j, a, b) for i, a in enumerate(LEFT) for j, b in enumerate(RIGHT)]
    return "\n".join((
        _DECLARATIONS,
        f"declare void @{row.intrinsic}(i8, i8, i8)",
        f"@splitc_tiles_{rows} = private unnamed_addr constant [64 x i8] {_shapes(rows)}, align 64",
        _function(f"splitc_tiles_begin_{rows}", "",
                  f"@llvm.x86.ldtilecfg(ptr @splitc_tiles_{rows})"),
        _function("splitc_tiles_end", "", "@llvm.x86.tilerelease()"),
        *(_function(f"splitc_tile_zero_{n}", "", f"@llvm.x86.tilezero(i8 {n})")
          for n in registers),
        *(_function(f"splitc_tile_{name}_{n}", "ptr %a, i64 %step",
                    f"@llvm.x86.{intrinsic}(i8 {n}, ptr %a, i64 %step)")
          for n in registers for name, intrinsic in _MOVES.items()),
        *(_function(f"splitc_{row.name}_{c}_{a}_{b}", "",
                    f"@{row.intrinsic}(i8 {c}, i8 {a}, i8 {b})") for c, a, b in products),
    ))  # fmt: skip


_MOVES = {"load": "tileloadd64", "store": "tilestored64"}

_DECLARATIONS = """
declare void @llvm.x86.ldtilecfg(ptr)
declare void @llvm.x86.tilerelease()
declare void @llvm.x86.tilezero(i8)
declare void @llvm.x86.tileloadd64(i8, ptr, i64)
declare void @llvm.x86.tilestored64(i8, ptr, i64)
"""


def _function(name: str, parameters: str, call: str) -> str:
    return (
        f"define void @{name}({parameters}) alwaysinline {{\n  call void {call}\n  ret void\n}}\n"
    )


def _shapes(rows: int) -> str:
    """What `ldtilecfg` reads: palette 1; of each register bytes a row, then rows."""
    count = len(LEFT) + len(RIGHT)
    columns = [byte for _ in range(SUMS + count) for byte in (4 * WORDS, 0)]
    heights = [rows] * (SUMS + len(LEFT)) + [ROWS] * len(RIGHT)
    table = bytes([1, *[0] * 15, *columns, *[0] * (32 - len(columns)), *heights])
    return "[" + ", ".join(f"i8 {byte}" for byte in table.ljust(64, b"\0")) + "]"
