# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
"""A converter: ONNX's Det as PyTorch's determinant."""

from __future__ import annotations

import torch

from splitc.frontend.convert import Function, Node, converts


@converts("Det")
def determinant(node: Node) -> Function:
    """Of each of the last two axes' matrices."""
    return Function(torch.linalg.det)
