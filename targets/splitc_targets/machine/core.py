# SPDX-License-Identifier: Apache-2.0
"""Cores as data: what code generation has to know of a CPU, in a file by the CPU's name.

A board's file names its CPU; its table `[unit.core]`, where it has one, changes figures of that
core, begins from another (`like`) or brings a whole one. A CPU of no known name is refused: code
for a core that it was not meant for would be slow, and nothing would say so.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from splitc.cost.board import Board, Precision
from splitc.errors import UsageError, nearest

FOLDER = Path(__file__).parent / "cores"

_Count = Annotated[int, msgspec.Meta(gt=0, le=2**40)]
_Rate = Annotated[float, msgspec.Meta(gt=0, le=1e6)]
_Exposed = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Element = Literal["float32", "float16", "bfloat16", "int8", "uint8", "int32"]


class MultiplyAdd(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An instruction that multiplies and adds elements smaller than float32.

    Each lane's sum takes `group` products: of elements next to each other, four bytes say.

    Args:
        name: As an assembler has it.
        feature: What the compiler has to be allowed for it, as a board's `features` say it.
        reads: The activations' element type.
        weights: The weights' element type.
        sums: The sums' element type.
        group: Products that one lane's sum takes.
        lanes: Sums of one instruction.
        intrinsic: LLVM's name of it.
        operands: The intrinsic's operands in their order.
        precision: What has to be asked for; other instructions are exact, or round no more than
            the network does.
    """

    name: str
    feature: str
    reads: _Element
    weights: _Element
    sums: _Element
    group: Literal[1, 2, 4]
    lanes: _Count
    intrinsic: str
    operands: tuple[Literal["reads", "weights", "sums"], ...]
    precision: Precision = "float32"


class TileProduct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An instruction that multiplies tiles of 16 rows by 16 words of four bytes (AMX).

    Args:
        name, feature, reads, weights, sums, intrinsic, precision: As of `MultiplyAdd`.
        group: Elements of a word.
        cycles: Between one such product and the next.
    """

    name: str
    feature: str
    reads: _Element
    weights: _Element
    sums: _Element
    group: Literal[2, 4]
    cycles: _Rate
    intrinsic: str
    precision: Precision = "float32"


class Core(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The figures of one core that decide how kernels are written, and which.

    Args:
        name: As a compiler has it, or a level of x86-64.
        isa: As boards name it.
        lanes: float32 numbers in a vector register.
        registers: Vector registers that code can name.
        spare: How many of them a tile leaves to the compiler: where it fills them all, LLVM's
            allocation fails now and then, and a core that runs instructions in order needs
            some for loads ahead of their use.
        fma: Whether a fused multiply-add instruction exists.
        fma_latency: Cycles until a multiply-add's result can be added to.
        fma_per_cycle: Vector multiply-adds started per cycle.
        loads_per_cycle: Vector loads started per cycle.
        lane_fma: Whether a multiply-add takes one operand from a lane of a register
            (AArch64); otherwise from memory, broadcast as it is loaded (AVX-512), or
            broadcast by a load of its own.
        memory_fma: Whether a multiply-add takes a broadcast operand from memory.
        prefetch: Whether kernels ask for weights before they reach them: while a block of them is
            multiplied, the next comes from memory.
        l1_bytes: First-level data cache of a core.
        l1_ways: Its associativity.
        l2_bytes: The cache behind it that kernels count on; None where the chip decides its
            size: then it is the board's `cache_bytes`.
        l2_shared: Whether that is one for all cores, of which each counts on its part.
        beyond_l2_bytes_per_cycle: What a core gets from beyond it: L3, or memory.
        memory_bytes_per_cycle: What all cores together get from memory.
        multiply_adds: Instructions for elements smaller than float32.
        tile_products: Instructions for tiles of such.
        l2_bytes_per_cycle: What a core reads of an L2 of its own; None where it shares one,
            whose rate is the board's `cache_bandwidth`. This and the next decide nothing: times
            are predicted by them.
        l3_bytes, l3_bytes_per_cycle: What one core keeps in the cache behind L2, and what it
            reads of it in a row.
        one_core_memory_bytes_per_cycle: What one core alone gets from memory; None where it
            is all that there is.
        exposed: Of arithmetic and bytes that come meanwhile, how much of the shorter is not
            hidden behind the longer.
        l2_exposed: The same of arithmetic and what comes from an L2 that cores share; None
            where it is `exposed`.
        calibrated: In words, whose measured times `exposed` is fitted to and how far off it
            leaves them; nothing where it is an assumption.
    """

    name: str
    isa: Literal["aarch64", "x86_64"]
    lanes: _Count
    registers: _Count
    spare: Annotated[int, msgspec.Meta(ge=0, le=31)]
    fma: bool
    fma_latency: _Count
    fma_per_cycle: _Rate
    loads_per_cycle: _Rate
    lane_fma: bool
    memory_fma: bool
    prefetch: bool = False
    l1_bytes: _Count
    l1_ways: _Count
    l2_bytes: _Count | None = None
    l2_shared: bool
    beyond_l2_bytes_per_cycle: _Rate
    memory_bytes_per_cycle: _Rate
    multiply_adds: tuple[MultiplyAdd, ...] = ()
    tile_products: tuple[TileProduct, ...] = ()
    l2_bytes_per_cycle: _Rate | None = None
    l3_bytes: _Count | None = None
    l3_bytes_per_cycle: _Rate | None = None
    one_core_memory_bytes_per_cycle: _Rate | None = None
    exposed: _Exposed
    l2_exposed: _Exposed | None = None
    calibrated: str = ""


@functools.cache
def _tables() -> dict[str, dict[str, Any]]:
    """The cores' files as they stand, by name."""
    return {path.stem: tomllib.loads(path.read_text("utf-8")) for path in FOLDER.glob("*.toml")}


def names(isa: str) -> list[str]:
    """The cores of an instruction set that have files."""
    return sorted(name for name, table in _tables().items() if _whole(table)["isa"] == isa)


def core_of(board: Board) -> Core:
    """The core of a board: that of its CPU's name, with what the board's file says of it.

    Raises:
        UsageError: There is no core of that name; the hint has the nearest. Or a figure of the
            board's table `[unit.core]` is missing, unknown or mistyped.
    """
    processor = board.processor
    own = dict(processor.core)
    like = own.setdefault("like", processor.cpu)
    if like not in _tables() and (len(own) == 1 or like != processor.cpu):
        raise UsageError(
            f"there is no core '{like}'",
            at=f"board '{board.name}'",
            why="code that is made for another core is slow, and nothing would say so",
            hint=f"{nearest(like, names(processor.isa))} or give the board's file [unit.core]: "
            "`like` a core that is known, and the figures that differ",
        )
    if like not in _tables():  # The board's file brings all of it.
        del own["like"]
    try:
        core = msgspec.convert({**_whole(own), "name": processor.cpu}, Core)
    except msgspec.ValidationError as error:
        raise UsageError(f"[unit.core] of board '{board.name}'", why=str(error)) from error
    if core.isa != processor.isa:
        why = f"the core '{like}' is for {core.isa}"
        raise UsageError(f"board '{board.name}' is for {board.processor.isa}", why=why)
    return core


def _whole(table: Mapping[str, Any]) -> dict[str, Any]:
    """A core's table with what it takes from the core that it is `like`."""
    rest = {key: value for key, value in table.items() if key != "like"}
    return {**_whole(_tables()[table["like"]]), **rest} if "like" in table else rest
