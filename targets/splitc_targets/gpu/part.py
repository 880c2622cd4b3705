# SPDX-License-Identifier: Apache-2.0
"""A part for a graphics processor, from a lowered module to files in a folder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from splitc.build.backend import Built, Shipped
from splitc.cost.board import Board, Gpu
from splitc.scratch import require_room
from splitc_targets.gpu import cuda
from splitc_targets.gpu.link import Linked, link
from splitc_targets.gpu.pipeline import NAME, GpuCode, Signature
from splitc_targets.link.licences import install_licences
from splitc_targets.link.toolchain import LIBRARY, RUNNER, install_runtime, zig_version
from splitc_targets.tvm import adapter

MODEL, WEIGHTS = "model.so", "weights.bin"
STATE_BYTES = 64
"""Memory on the host that a loaded part keeps its device's addresses in."""


def write(code: GpuCode, board: Board, folder: Path, caveat: str, *, runtime: bool) -> Built:
    """Compile a program for the board's device, and write the part.

    Raises:
        ToolchainError: A compiler is missing or fails.
    """
    unit = board.unit
    if not isinstance(unit, Gpu):
        raise TypeError(f"{board.name} has no graphics processor")
    require_room(folder, code.weights.bytes)
    tools = {"apache-tvm": adapter.version(), "zig": zig_version()}
    arch, binary = "", code.program.source.encode()
    beside: tuple[Shipped, ...] = ()
    if unit.api == "cuda":
        arch, binary = unit.arch, cuda.compile_source(code.program.source, unit.arch).code
        release = tools["nvrtc"] = cuda.compiler_version()
        # Functions of its libdevice, as expf, are in the code.
        beside = (
            Shipped(cuda.PACKAGE, release, cuda.LICENCE, f"pkg:pypi/{cuda.PACKAGE}@{release}"),
        )
    inputs, outputs = _bytes(code.inputs), _bytes(code.outputs)
    link(board, folder / MODEL, Linked(
        unit.api, arch, binary, code.program.launches, code.weights.bytes,
        code.activation_bytes, inputs, outputs,
    ))  # fmt: skip
    if code.weights.bytes:
        code.weights.write(folder / WEIGHTS)
    built = Built(
        MODEL, "native", tools=tools, schedule=NAME, caveat=caveat, kernels=code.kernels,
        activation_bytes=0, weight_bytes=code.weights.bytes,
        weights=WEIGHTS if code.weights.bytes else "", file_bytes=code.weights.bytes,
        packed_bytes=STATE_BYTES, shipped=install_licences(folder, board.processor.isa, beside),
        device_bytes=code.weights.bytes + code.activation_bytes + sum(inputs) + sum(outputs),
    )  # fmt: skip
    if not runtime:
        return built
    install_runtime(board, folder)
    return replace(built, libraries=(LIBRARY,), runner=RUNNER)


def _bytes(tensors: Sequence[Signature]) -> list[int]:
    return [math.prod(shape) * np.dtype(dtype).itemsize for shape, dtype in tensors]
