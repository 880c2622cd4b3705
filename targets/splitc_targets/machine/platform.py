# SPDX-License-Identifier: Apache-2.0
"""The processors and systems that code can be made for at all."""

from __future__ import annotations

import re

from splitc.cost.board import Cpu, Gpu

ISAS = ("aarch64", "x86_64")
"""What there are cores, kernels and a runner for."""


def why_no_code(processor: Cpu) -> str | None:
    """Why no code can be made for a processor, in a clause; None where it can.

    The core itself is not asked for: `machine.core.core_of` knows those.
    """
    isa, triple = processor.isa, processor.triple
    if isa not in ISAS:
        return f"it makes code for 64-bit Linux on {' and '.join(ISAS)}, not for {isa}"
    if re.fullmatch(rf"{isa}(-\w+)?-linux-gnu", triple) is None:
        return f"it makes code for Linux with glibc, {isa}-linux-gnu, not for {triple}"
    for feature in processor.features:
        if re.fullmatch(r"[+-][\w.-]+", feature) is None:
            return f"feature '{feature}' has no sign: write '+{feature}' to use it"
    return None


def why_no_gpu_code(unit: Gpu) -> str | None:
    """Why no code can be made for a graphics processor, in a clause; None where it can."""
    if unit.api not in ("cuda", "opencl"):
        return f"it makes code for CUDA and OpenCL, not for {unit.api}"
    if unit.api == "cuda" and re.fullmatch(r"sm_\d{2,3}", unit.arch) is None:
        return f"'{unit.arch}' is no CUDA architecture: sm_90, say"
    return None
