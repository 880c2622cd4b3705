# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Arithmetic whose every step is rounded.

Compilers for GPUs make one operation, rounded once, of a product and what it is added to. Where a
result is compared with a limit, that would decide otherwise than processors do.
"""

from __future__ import annotations

from splitc_targets.loops.emit import Value, tirx

CUDA = """\
__device__ __forceinline__ float splitc_times(float a, float b) { return __fmul_rn(a, b); }
"""
"""What kernels call, in CUDA C."""

OPENCL = """\
inline float splitc_times(float a, float b) {
#pragma OPENCL FP_CONTRACT OFF
  return a * b;
}
"""
"""The same in OpenCL C."""


def times(a: Value, b: Value) -> Value:
    """a * b in float32, rounded before anything is added to it."""
    return tirx.call_pure_extern("float32", "splitc_times", a, b)
