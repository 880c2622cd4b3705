# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Copies from memory into a block's shared memory that the block does not wait for.

`cp.async` of the PTX ISA, on sm_80 and later: a thread starts copies, commits them as a group, and
waits later until all but the last few of its groups are there; then a barrier shows them to the
block. Elsewhere a copy is done when it is started, and there is nothing to wait for: such devices
check where copies go to and come from and that barriers stand between, not the waiting.
"""

from __future__ import annotations

from typing import Any

from splitc_targets.gpu.loops.threads import Halves, Threads
from splitc_targets.loops.emit import Array, Index, index, tirx


def _in_cuda(size: int, held: str, cache: str) -> str:
    """The copy of so many bytes: what a thread holds of them, and through which caches."""
    return f"""\
__device__ __forceinline__ void splitc_copy_{size}(void* to, const void* from, bool there) {{
#if __CUDA_ARCH__ >= 800
  const uint at = (uint)__cvta_generic_to_shared(to);
  const uint bytes = there ? {size} : 0;
  asm volatile("cp.async.{cache}.shared.global [%0], [%1], {size}, %2;"
               :: "r"(at), "l"(from), "r"(bytes) : "memory");
#else
  {held} held = {{}};
  if (there) held = *(const {held}*)from;
  *({held}*)to = held;
#endif
}}
"""


# Through L1 for what neighbours may read again, past it where the PTX ISA has it: of 16 bytes.
_COPIES = _in_cuda(4, "uint", "ca") + _in_cuda(8, "uint2", "ca") + _in_cuda(16, "uint4", "cg")

CUDA = (
    _COPIES
    + """\
__device__ __forceinline__ void splitc_commit() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int LEFT> __device__ __forceinline__ void splitc_wait() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" :: "n"(LEFT) : "memory");
#endif
}
__device__ __forceinline__ void splitc_wait_0() { splitc_wait<0>(); }
__device__ __forceinline__ void splitc_wait_1() { splitc_wait<1>(); }
__device__ __forceinline__ void splitc_wait_2() { splitc_wait<2>(); }
"""
)
"""What kernels call, in CUDA C. Where nothing is there, zeros are written and nothing is read."""

_IN_OPENCL = """\
inline void splitc_copy_{size}(__local void* to, __global const void* from, int there) {{
  for (int i = 0; i < {words}; ++i) {{
    ((__local uint*)to)[i] = there ? ((__global const uint*)from)[i] : 0;
  }}
}}
"""

OPENCL = (
    "".join(_IN_OPENCL.format(size=size, words=size // 4) for size in (4, 8, 16))
    + """\
inline void splitc_commit(void) {}
inline void splitc_wait_0(void) {}
inline void splitc_wait_1(void) {}
inline void splitc_wait_2(void) {}
"""
)
"""The same in OpenCL C."""


WIDEST = 16
"""Bytes of the widest copy; 4 and 8 are the others."""


def copy(
    code: Threads, to: Array, at: Index, source: Array, place: Index, there: Any, count: int = 1
) -> None:
    """Start copying floats as memory has them; zeros where they are not there.

    Args:
        code: Gets the statements.
        to, at: Shared memory, and the first element there.
        source, place: Memory, and the first element there. Both first elements lie at a multiple
            of the copy's bytes.
        there: Whether there is something; elsewhere nothing is read.
        count: Elements: 4, 8 or 16 bytes in all.
    """
    if isinstance(source, Halves) and count == 1:
        value = tirx.if_then_else(there, source.at(place), tirx.const(0.0, "float32"))
        code.store(to, at, value)
        return
    each = 2 if isinstance(source, Halves) else 4
    first = tirx.BufferLoad(source.buffer, [index(place)])
    ends = (tirx.address_of(to.at(at)), tirx.address_of(first))
    _call(code, f"splitc_copy_{count * each}", *ends, there)


def commit(code: Threads) -> None:
    """Make a group of the copies that this thread has started since the last."""
    _call(code, "splitc_commit")


def wait(code: Threads, left: int) -> None:
    """Wait until all of this thread's groups but the last `left`, 0 to 2, are there."""
    _call(code, f"splitc_wait_{left}")


def _call(code: Threads, name: str, *args: Any) -> None:
    code.add(tirx.Evaluate(tirx.call_extern("int32", name, *args)))
