# SPDX-License-Identifier: Apache-2.0
"""A backend: a part as an ONNX file with a list of its layers beside it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from splitc.build.backend import Built, Unsupported
from splitc.cost.board import Board
from splitc.errors import UsageError
from splitc.frontend.onnx import OnnxModel
from splitc.ir.graph import LayerGraph, Tensor
from splitc.ir.layout import Layout
from splitc.ir.model import Network


class PlainBackend:
    """Writes `part.onnx` and `layers.txt`."""

    name: ClassVar[str] = "plain"
    compiles: ClassVar[bool] = False

    def refuses(self, board: Board) -> str | None:
        """Not for servers of 512-bit vectors, to have something to refuse."""
        return "it is too plain for such a machine" if board.cpu == "x86-64-v4" else None

    def layout(self, tensor: Tensor, graph: LayerGraph) -> Layout:
        """The model's own order."""
        return ""

    def unsupported(self, model: Network) -> list[Unsupported]:
        """It knows no hyperbolic functions."""
        return [
            Unsupported(layer.name, layer.op, "it is not plain")
            for layer in model.graph.layers
            if layer.op == "tanh"
        ]

    def lower(self, model: Network) -> OnnxModel:
        """The model as it is.

        Raises:
            UsageError: It was not read from ONNX.
        """
        if not isinstance(model, OnnxModel):
            raise UsageError("only a model read from ONNX is written plainly")
        return model

    def compile(
        self, lowered: OnnxModel, board: Board, limit_bytes: int | None = None
    ) -> OnnxModel:
        """The model as it is."""
        return lowered

    def write(self, code: OnnxModel, board: Board, folder: Path, *, runtime: bool) -> Built:
        """Write both files; the format says that onnxruntime loads the part."""
        code.save(folder / "part.onnx")
        (folder / "layers.txt").write_text(str(code.graph), "utf-8")
        return Built("part.onnx", "onnx", tools={"plain": "1"}, schedule="none")
