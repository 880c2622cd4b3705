# SPDX-License-Identifier: Apache-2.0
"""A model as one part for an ARM board, run under emulation."""

from __future__ import annotations

from pathlib import Path

from onnx import ModelProto

import splitc
from splitc.arrays import Array
from splitc.cost.board import Board, load_board
from splitc.ir.graph import LayerGraph
from splitc.runtime.integrity import part_files
from splitc.runtime.manifest import SCHEMA, PartManifest, TensorSpec, write_manifest
from splitc.runtime.process import find_emulator, run_part
from splitc_targets import pipeline
from splitc_targets.link.toolchain import LIBRARY, RUNNER, install_runtime, link_model
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
    adapter.export(
        code.executable, folder / "model.so", lambda out, parts: link_model(board, out, parts)
    )
    install_runtime(board, folder)
    describe(model.graph, board, folder)
    return {kernel.rule for kernel in code.kernels}


def describe(graph: LayerGraph, board: Board, folder: Path) -> None:
    """Write the part's manifest."""
    part = PartManifest(
        schema=SCHEMA, part="head", split="", target=board.name, isa=board.isa, cpu=board.cpu,
        features=board.features,
        glibc=board.glibc, entry="main", model="model.so", libraries=(LIBRARY,), runner=RUNNER,
        format="native",
        schedule=pipeline.NAME, activation_bytes=0,
        inputs=tuple(TensorSpec.of(tensor) for tensor in graph.inputs),
        outputs=tuple(TensorSpec.of(tensor) for tensor in graph.output_tensors),
        files=part_files(folder),
    )  # fmt: skip
    write_manifest(folder, part)
