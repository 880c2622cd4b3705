# SPDX-License-Identifier: Apache-2.0
"""Parts in ONNX, run by onnxruntime in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from splitc.arrays import Array
from splitc.errors import BadBundleError, UsageError
from splitc.runtime.manifest import PartManifest
from splitc.runtime.ort import Session
from splitc.runtime.part import Contract, Part


class OnnxPart(Part):
    """A part in ONNX, loaded.

    Args:
        folder: The part's folder, its files held against the manifest.
        part: Its manifest.

    Raises:
        BadModelError: onnxruntime cannot load it.
        BadBundleError: It makes another number of results than its manifest says.
    """

    def __init__(self, folder: Path, part: PartManifest) -> None:
        self.contract = Contract.of(part)
        self._session: Session | None = Session(folder / part.model)
        # By their order, as in compiled code: a decoder's result has the name of what it is for.
        self._names = self._session.outputs
        if len(self._names) != len(part.outputs):
            why = f"{len(self._names)}, its manifest has {len(part.outputs)}"
            raise BadBundleError(f"the {part.part} makes another number of results", why=why)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run it once: see `Part.run`.

        Raises:
            UsageError: An input does not fit, or the part is closed.
            BadModelError: onnxruntime cannot run it on these inputs.
        """
        session = self._session
        if session is None:
            raise UsageError(f"the {self.contract.part} is closed")
        self.contract.check(inputs)
        feed = {s.name: a for s, a in zip(self.contract.inputs, inputs, strict=True)}
        return session.run(self._names, feed)

    def close(self) -> None:
        """Let onnxruntime free the model, as soon as no call is running."""
        self._session = None
