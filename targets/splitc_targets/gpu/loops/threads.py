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

from splitc_targets.loops.emit import Argument, Array, Code, Index, const, index, tirx

_THREAD_INDEX = 1


@dataclass(frozen=True)
class Kernel:
    """A function of TVM's tensor IR whose threads are bound.

    Args:
        function: Its parameters are flat buffers, in the order of the arguments.
        blocks: Blocks that are started.
        threads: Threads of each.
    """

    function: Any
    blocks: int
    threads: int


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

    def meet(self) -> None:
        """Wait for every thread of the block, and see what each has written."""
        self.add(tirx.Evaluate(tirx.op.tvm_storage_sync("shared")))


def kernel(
    name: str, arguments: Sequence[Argument], blocks: int, threads: int,
    write: Callable[..., None],
) -> Kernel:  # fmt: skip
    """A kernel: `write(code, *arrays)` adds the statements of one thread."""
    buffers = [
        tirx.decl_buffer((max(1, math.prod(each.shape)),), each.dtype, name=each.name)
        for each in arguments
    ]
    block, thread = tirx.Var("block", "int32"), tirx.Var("thread", "int32")
    code = Threads(block, thread)
    write(code, *map(Array, buffers))
    body = code.body()
    for var, tag, extent in ((thread, "threadIdx.x", threads), (block, "blockIdx.x", blocks)):
        axis = tirx.IterVar(None, var, _THREAD_INDEX, tag)
        body = tirx.AttrStmt(axis, "thread_extent", index(extent), body)
    made = tirx.PrimFunc(buffers, body)
    made = made.with_attr({"global_symbol": name, "tirx.noalias": True})
    return Kernel(made, blocks, threads)


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
