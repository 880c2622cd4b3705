# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Kernels of many threads as rules write them: the builder of loops, with blocks and threads.

A grid and a block have one dimension each; kernels take digits of the two numbers themselves, so
that nothing depends on the limits of the others. Values are scalars: what a thread loads as a
vector, it says with the lanes of `Array.at`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from splitc_targets.loops.emit import (
    Argument,
    Array,
    Code,
    Index,
    Value,
    const,
    index,
    stored,
    tirx,
)

_THREAD_INDEX = 1


@dataclass(frozen=True)
class Kernel:
    """A kernel of threads, whatever types its floats are stored in.

    Args:
        name: Its function's.
        arguments: Its parameters: flat buffers.
        blocks: Blocks that are started.
        threads: Threads of each.
        write: `write(code, *arrays)` adds the statements of one thread.
    """

    name: str
    arguments: tuple[Argument, ...]
    blocks: int
    threads: int
    write: Callable[..., None]

    def function(self, halves: Sequence[bool]) -> Any:
        """The kernel as a function of TVM's tensor IR.

        Args:
            halves: For each parameter, whether memory has it in float16. The kernel's own
                arithmetic is in float32 all the same: what it loads is widened, what it stores
                rounded.
        """
        arrays = [
            (Halves if half else Array)(
                tirx.decl_buffer(
                    (max(1, math.prod(each.shape)),), "uint16" if half else stored(each.dtype),
                    name=each.name,
                )
            )
            for each, half in zip(self.arguments, halves, strict=True)
        ]  # fmt: skip
        block, thread = tirx.Var("block", "int32"), tirx.Var("thread", "int32")
        code = Threads(block, thread)
        self.write(code, *arrays)
        body = code.body()
        sizes = ((thread, "threadIdx.x", self.threads), (block, "blockIdx.x", self.blocks))
        for var, tag, extent in sizes:
            axis = tirx.IterVar(None, var, _THREAD_INDEX, tag)
            body = tirx.AttrStmt(axis, "thread_extent", index(extent), body)
        made = tirx.PrimFunc([array.buffer for array in arrays], body)
        return made.with_attr({"global_symbol": self.name, "tirx.noalias": True})


class Halves(Array):
    """A tensor that memory has in float16, by its bits: floats to who reads or writes it."""

    def __init__(self, buffer: Any) -> None:
        super().__init__(buffer)
        self.dtype = "float32"

    def at(self, i: Index, lanes: int = 1, used: int | None = None) -> Value:
        """An element, widened."""
        if lanes != 1:
            raise ValueError("elements in float16 are read one by one")
        bits = tirx.Cast("int32", tirx.BufferLoad(self.buffer, [index(i)]))
        return tirx.call_pure_extern("float32", "splitc_float", bits)


class Threads(Code):
    """Statements of one thread.

    Args:
        block: The number of its block.
        thread: Its own number in that.
    """

    def __init__(self, block: Index, thread: Index) -> None:
        super().__init__()
        self.block, self.thread = block, thread

    def local(self, count: int, dtype: str = "float32", name: str = "acc") -> Array:
        """A small array of this thread, in registers where all its indices are constants."""
        return self._array(count, dtype, name, "local")

    def shared(self, count: int, dtype: str = "float32", name: str = "tile") -> Array:
        """An array of the whole block's."""
        return self._array(count, dtype, name, "shared")

    def _array(self, count: int, dtype: str, name: str, scope: str) -> Array:
        self._names += 1
        buffer = tirx.decl_buffer((count,), dtype, name=f"{name}{self._names}", scope=scope)
        self.add(tirx.AllocBuffer(buffer))
        return Array(buffer)

    def store(
        self, array: Array, i: Index, value: Value, lanes: int = 1, used: int | None = None
    ) -> None:
        """Write a value from element `i` on; rounded where memory has the array in float16."""
        if isinstance(array, Halves):
            bits = tirx.call_pure_extern("int32", "splitc_half", value)
            value = tirx.Cast("uint16", bits)
        super().store(array, i, value, lanes, used)

    def meet(self) -> None:
        """Wait for every thread of the block, and see what each has written."""
        self.add(tirx.Evaluate(tirx.op.tvm_storage_sync("shared")))


def kernel(
    name: str, arguments: Sequence[Argument], blocks: int, threads: int,
    write: Callable[..., None],
) -> Kernel:  # fmt: skip
    """A kernel: `write(code, *arrays)` adds the statements of one thread."""
    return Kernel(name, tuple(arguments), blocks, threads, write)


def in_range(code: Threads, total: int, threads: int) -> tuple[Index, Any]:
    """A thread's number in the whole grid, and whether it is below `total`; None where all are."""
    number = code.bind(code.block * threads + code.thread, "number")
    return number, None if total % threads == 0 else tirx.LT(number, const(total))


@contextlib.contextmanager
def where(code: Code, condition: Any) -> Iterator[None]:
    """Statements that run where a condition holds, or everywhere where there is none."""
    if condition is None:
        yield
        return
    with code.when(condition):
        yield
