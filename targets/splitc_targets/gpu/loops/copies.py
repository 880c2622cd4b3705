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
from splitc_targets.loops.emit import Array, Index, tirx

CUDA = """\
__device__ __forceinline__ void splitc_copy(float* to, const float* from, bool there) {
#if __CUDA_ARCH__ >= 800
  const uint at = (uint)__cvta_generic_to_shared(to);
  const uint bytes = there ? 4 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;"
               :: "r"(at), "l"(from), "r"(bytes) : "memory");
#else
  *to = there ? *from : 0.0f;
#endif
}
__device__ __forceinline__ void splitc_commit() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
__device__ __forceinline__ void splitc_wait_0() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group 0;" ::: "memory");
#endif
}
__device__ __forceinline__ void splitc_wait_1() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group 1;" ::: "memory");
#endif
}
"""
"""What kernels call, in CUDA C. Where nothing is there, zeros are written and nothing is read."""

OPENCL = """\
inline void splitc_copy(__local float* to, __global const float* from, int there) {
  *to = there ? *from : 0.0f;
}
inline void splitc_commit(void) {}
inline void splitc_wait_0(void) {}
inline void splitc_wait_1(void) {}
"""
"""The same in OpenCL C."""


def copy(code: Threads, to: Array, at: Index, source: Array, place: Index, there: Any) -> None:
    """Start copying a float; 0 where it is not there."""
    if isinstance(source, Halves):
        value = tirx.if_then_else(there, source.at(place), tirx.const(0.0, "float32"))
        code.store(to, at, value)
        return
    ends = (tirx.address_of(to.at(at)), tirx.address_of(source.at(place)))
    _call(code, "splitc_copy", *ends, there)


def commit(code: Threads) -> None:
    """Make a group of the copies that this thread has started since the last."""
    _call(code, "splitc_commit")


def wait(code: Threads, left: int) -> None:
    """Wait until all of this thread's groups but the last `left`, 0 or 1, are there."""
    _call(code, f"splitc_wait_{left}")


def _call(code: Threads, name: str, *args: Any) -> None:
    code.add(tirx.Evaluate(tirx.call_extern("int32", name, *args)))
