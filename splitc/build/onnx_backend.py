# SPDX-License-Identifier: Apache-2.0
"""The backend `onnx`: parts as files for other runtimes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from splitc.build.backend import Built, Unsupported
from splitc.cost.board import Board
from splitc.errors import UsageError
from splitc.frontend.onnx.model import OnnxModel
from splitc.ir.graph import LayerGraph, Tensor
from splitc.ir.layout import Layout
from splitc.ir.model import Network


@dataclass(frozen=True)
class OnnxBackend:
    """Writes parts as ONNX files, for users of other runtimes."""

    name: ClassVar[str] = "onnx"
    compiles: ClassVar[bool] = False

    def refuses(self, board: Board) -> str | None:
        """Files are written for any board."""
        return None

    def layout(self, tensor: Tensor, graph: LayerGraph) -> Layout:
        """The model's own order."""
        return ""

    def unsupported(self, model: Network) -> list[Unsupported]:
        """Every layer can be written as ONNX."""
        return []

    def lower(self, model: Network) -> OnnxModel:
        """The model as it is.

        Raises:
            UsageError: It was not read from ONNX.
        """
        if not isinstance(model, OnnxModel):
            hint = "export it with torch.onnx.export and give splitc that file"
            raise UsageError("only a model read from ONNX is written as ONNX", hint=hint)
        return model

    def compile(
        self, lowered: OnnxModel, board: Board, limit_bytes: int | None = None
    ) -> OnnxModel:
        """The model as it is."""
        return lowered

    def write(self, code: OnnxModel, board: Board, folder: Path, *, runtime: bool) -> Built:
        """Write the part as `head.onnx` or `tail.onnx`, weights beside it when over 2 GiB."""
        import onnx

        name = f"{folder.name}.onnx"
        code.save(folder / name)
        return Built(name, "onnx", tools={"onnx": onnx.__version__}, schedule="none")
