# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Several floats at once from shared memory into registers, and from these to memory.

By functions: pocl has OpenCL's own (`vload4`) for no such memory in programs of OpenCL 2.0.
"""

from __future__ import annotations

from splitc_targets.gpu.loops.threads import Threads
from splitc_targets.loops.emit import Array, Index, Value, tirx

_IN_CUDA = """\
__device__ __forceinline__ void splitc_load_{count}(float* to, const float* from) {{
  *(float{count}*)to = *(const float{count}*)from;
}}
__device__ __forceinline__ void splitc_store_{count}(float* to, const float* from) {{
  *(float{count}*)to = *(const float{count}*)from;
}}
"""
_IN_OPENCL = """\
inline void splitc_load_{count}(float* to, __local const float* from) {{
  for (int i = 0; i < {count}; ++i) to[i] = from[i];
}}
inline void splitc_store_{count}(__global float* to, const float* from) {{
  for (int i = 0; i < {count}; ++i) to[i] = from[i];
}}
"""

CUDA = "".join(_IN_CUDA.format(count=count) for count in (2, 4))
"""What kernels call, in CUDA C."""

OPENCL = "".join(_IN_OPENCL.format(count=count) for count in (2, 4))
"""The same in OpenCL C."""


def load(code: Threads, to: Array, at: int, source: Array, place: Index, count: int) -> None:
    """Load floats that lie side by side.

    Args:
        code: Gets the statements.
        to, at: Registers, and the first element there.
        source, place: Shared memory, and the first element there, at a multiple of the load.
        count: 1, 2 or 4.
    """
    if count == 1:
        code.store(to, at, source.at(place))
        return
    _call(code, f"splitc_load_{count}", to.at(at), source.at(place))


def store(code: Threads, to: Array, place: Index, source: Array, count: int) -> None:
    """Store all of so many registers.

    Args:
        code: Gets the statements.
        to, place: Memory, and the first element there, at a multiple of the store.
        source: Registers.
        count: 2 or 4.
    """
    _call(code, f"splitc_store_{count}", to.at(place), source.at(0))


def _call(code: Threads, name: str, to: Value, source: Value) -> None:
    ends = tirx.address_of(to), tirx.address_of(source)
    code.add(tirx.Evaluate(tirx.call_extern("int32", name, *ends)))
