# SPDX-License-Identifier: Apache-2.0
"""ONNX models: read, brought to one form, shaped, priced, cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splitc.lazy_names import lazy_names, listed_names

if TYPE_CHECKING:
    from splitc.frontend.onnx.load import load_onnx
    from splitc.frontend.onnx.model import OnnxModel

__all__ = ["OnnxModel", "load_onnx"]

__getattr__ = lazy_names(__name__, {
    "OnnxModel": "model",
    "load_onnx": "load",
})  # fmt: skip

__dir__ = listed_names(__name__)
