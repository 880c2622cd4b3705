# SPDX-License-Identifier: Apache-2.0
"""Front ends: read a network from a file or an object and build a `Model`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from splitc.errors import UsageError

if TYPE_CHECKING:
    import onnx

    from splitc.frontend.onnx import OnnxModel

DEFAULT_MAX_BYTES = 8 * 2**30


def load(
    source: str | Path | onnx.ModelProto,
    *,
    inputs: Mapping[str, Sequence[int]] | None = None,
    simplify: bool = True,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> OnnxModel:
    """Read a network.

    Args:
        source: Path of an ONNX file, or an ONNX model in memory.
        inputs: Shapes by input name, for inputs with dynamic extents.
        simplify: Run onnxsim on it first: fold constants, fuse batch norms.
        max_bytes: Refuse models whose weights, or any one tensor, take more.

    Returns:
        The model: its layer graph and the weights behind it.

    Raises:
        BadModelError: The file is no ONNX model, or a broken or hostile one.
        UsageError: No such file, or `inputs` names an input there is not.
    """
    from splitc.frontend.onnx import load_onnx

    if isinstance(source, str | Path):
        path = Path(source)
        if not path.is_file():
            raise UsageError(f"there is no file '{source}'")
    return load_onnx(source, inputs=inputs or {}, simplify=simplify, max_bytes=max_bytes)
