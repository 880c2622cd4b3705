# SPDX-License-Identifier: Apache-2.0
"""A model as one part for an ARM board, run under emulation."""

from __future__ import annotations

from pathlib import Path

from onnx import ModelProto

import splitc
from splitc.arrays import Array
from splitc.build.parts import describe_part
from splitc.cost.board import Board, load_board
from splitc.runtime.process import find_emulator, run_part
from splitc_targets import pipeline
from splitc_targets.backend import TvmBackend
from splitc_targets.tvm import adapter


def emulated(
    proto: ModelProto, board: str, feed: list[Array], folder: Path
) -> tuple[list[Array], set[str]]:
    """Results, and the rules that wrote the part's kernels."""
    rules = build(proto, load_board(board), folder)
    found, _ = run_part(folder, feed, emulator=find_emulator("aarch64"), timeout_s=120)
    return list(found), rules


def build(proto: ModelProto, board: Board, folder: Path) -> set[str]:
    """A part of the model that its runner accepts; returns the rules that wrote its kernels."""
    model = splitc.load(proto)
    code = pipeline.compile_module(adapter.lower(model.proto), board)
    assert not code.fallbacks
    built = TvmBackend().write(code, board, folder, runtime=True)
    describe_part(built, model.graph, board, folder)
    return {kernel.rule for kernel in code.kernels}
