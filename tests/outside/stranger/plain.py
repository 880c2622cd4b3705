# SPDX-License-Identifier: Apache-2.0
"""A backend and the loader of what it writes: ONNX, compressed, and a list of the layers."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from splitc.arrays import Array
from splitc.build.backend import Built, Unsupported
from splitc.cost.board import Board
from splitc.errors import UsageError
from splitc.frontend.onnx import OnnxModel
from splitc.ir.graph import LayerGraph, Tensor
from splitc.ir.layout import Layout
from splitc.ir.model import Network
from splitc.runtime.manifest import PartManifest
from splitc.runtime.ort import Session
from splitc.runtime.part import Contract, Part


class PlainBackend:
    """Writes `part.plain` and `layers.txt`."""

    name: ClassVar[str] = "plain"
    compiles: ClassVar[bool] = False

    def refuses(self, board: Board) -> str | None:
        """Not for servers of 512-bit vectors, to have something to refuse."""
        return "it is too plain for such a machine" if board.processor.cpu == "x86-64-v4" else None

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
        """Write both files; the format says what loads the part: see `PlainPart`."""
        (folder / "part.plain").write_bytes(zlib.compress(code.proto.SerializeToString()))
        (folder / "layers.txt").write_text(str(code.graph), "utf-8")
        return Built("part.plain", "plain", tools={"plain": "1"}, schedule="none")


class PlainPart(Part):
    """A part that `PlainBackend` wrote, loaded.

    Args:
        folder: The part's folder, its files held against the manifest.
        part: Its manifest.
    """

    def __init__(self, folder: Path, part: PartManifest) -> None:
        self.contract = Contract.of(part)
        self._names = [spec.name for spec in part.outputs]
        packed = (folder / part.model).read_bytes()
        self._session: Session | None = Session(zlib.decompress(packed))

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run it once.

        Raises:
            UsageError: An input does not fit, or the part is closed.
        """
        session = self._session
        if session is None:
            raise UsageError(f"the {self.contract.part} is closed")
        self.contract.check(inputs)
        feed = {s.name: a for s, a in zip(self.contract.inputs, inputs, strict=True)}
        return session.run(self._names, feed)

    def close(self) -> None:
        """Free the session, as soon as no call is running."""
        self._session = None
