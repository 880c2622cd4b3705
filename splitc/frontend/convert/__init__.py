# SPDX-License-Identifier: Apache-2.0
"""ONNX networks as PyTorch networks, layer by layer, by converters that users may add to."""

from __future__ import annotations

import importlib

from splitc.frontend.convert.build import build
from splitc.frontend.convert.modules import Function
from splitc.frontend.convert.registry import Call, Node, Operand, converted_ops, converts

# They register what they convert.
for _each in ("convolutions", "elementwise", "indexing", "normalisations", "products",
              "reductions", "resizing", "shapes"):  # fmt: skip
    importlib.import_module(f"splitc.frontend.convert.{_each}")

__all__ = ["Call", "Function", "Node", "Operand", "build", "converted_ops", "converts"]
