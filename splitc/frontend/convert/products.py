# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Converters of matrix products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitc.arrays import Array
from splitc.errors import UnsupportedOpError
from splitc.frontend.convert.batch import product
from splitc.frontend.convert.modules import Function
from splitc.frontend.convert.registry import Node, converts


@converts("MatMul")
def matmul(node: Node) -> nn.Module:
    """With a stored matrix on the right it is a fully connected layer without bias."""
    node.place_batch(product(node, len(node.result_shape())))
    if node.is_constant(1) and len(node.shape(1)) == 2 and _fraction(node):
        inside, outside = node.shape(1)
        made = nn.Linear(inside, outside, bias=False, device="meta")
        made.weight = node.parameter(1, "transposed", np.transpose)
        return made
    for k in range(2):
        node.train(k)
    return Function(torch.matmul)


def _fraction(node: Node) -> bool:
    return "float" in node.operand(0).tensor.dtype


def _gemm(
    a: Tensor, b: Tensor, *c: Tensor, alpha: float, beta: float, turned: tuple[bool, bool]
) -> Tensor:
    left, right = (each.t() if turn else each for each, turn in zip((a, b), turned, strict=True))
    product = torch.matmul(left, right)
    scaled = product if alpha == 1 else (alpha * product).to(a.dtype)
    if not c:
        return scaled
    return scaled + (c[0] if beta == 1 else (beta * c[0]).to(a.dtype))


@converts("Gemm")
def gemm(node: Node) -> nn.Module:
    """With stored weights it is a fully connected layer, alpha and beta multiplied in."""
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    turned = bool(node.attribute("transA", 0)), bool(node.attribute("transB", 0))
    outside = node.shape(1)[0 if turned[1] else 1]
    node.place_batch(0 if node.samples() == int(turned[0]) else None)
    shift = node.shape(2) if node.has(2) else ()
    row = all(extent == 1 for extent in shift[:-1]) and (not node.has(2) or node.is_constant(2))
    if turned[0] or not node.is_constant(1) or not row or not _fraction(node):
        for k in range(1, len(node.operands)):
            node.train(k)
        return Function(_gemm, alpha=alpha, beta=beta, turned=turned)
    made = nn.Linear(node.shape(1)[int(turned[1])], outside, bias=node.has(2), device="meta")

    def weight(array: Array) -> Array:
        return _scaled(array if turned[1] else array.T, alpha)

    def bias(array: Array) -> Array:
        return _scaled(np.broadcast_to(array.reshape(-1), (outside,)), beta)

    form = ("" if turned[1] else "transposed") + (f"*{alpha}" if alpha != 1 else "")
    made.weight = node.parameter(1, form, weight)
    if node.has(2):
        made.bias = node.parameter(2, f"{outside}*{beta}", bias)
    return made


def _scaled(array: Array, factor: float) -> Array:
    return array if factor == 1 else (array * factor).astype(array.dtype)


def _einsum(*operands: Tensor, equation: str) -> Tensor:
    return torch.einsum(equation, *operands)


@converts("Einsum")
def einsum(node: Node) -> nn.Module:
    """ONNX's and PyTorch's equations agree."""
    node.place_batch(None)
    for k in range(len(node.operands)):
        node.train(k)
    return Function(_einsum, equation=node.attribute("equation"))


def _attention(
    query: Tensor, key: Tensor, value: Tensor, *mask: Tensor, heads: Sequence[int],
    causal: bool, scale: float | None,
) -> Tensor:  # fmt: skip
    """Three axes hold heads and width in one: [N, length, heads * width]."""
    given = (query, key, value)
    parts = [
        x if x.dim() == 4 else x.unflatten(-1, (n, -1)).transpose(1, 2)
        for x, n in zip(given, heads, strict=True)
    ]
    bias = mask[0] if mask else None
    if bias is not None and causal:  # PyTorch takes one of the two
        bias, causal = _causal(bias, parts[0].shape[-2]), False
    made = F.scaled_dot_product_attention(
        *parts, attn_mask=bias, is_causal=causal, scale=scale,
        enable_gqa=parts[0].shape[1] != parts[1].shape[1],
    )  # fmt: skip
    return made if query.dim() == 4 else made.transpose(1, 2).flatten(2)


def _causal(mask: Tensor, queries: int) -> Tensor:
    """A mask of booleans or of numbers to add, that hides what comes after each query too."""
    seen = torch.ones(queries, mask.shape[-1], dtype=torch.bool, device=mask.device).tril()
    return mask & seen if mask.dtype == torch.bool else mask.masked_fill(~seen, -torch.inf)


@converts("Attention")
def attention(node: Node) -> nn.Module:
    """Scaled dot products of three or four axes, without a cache of keys and values."""
    node.refuse_results()
    node.attribute("qk_matmul_output_mode")
    causal = bool(node.attribute("is_causal", 0))
    if any(node.attribute(f"{side}_window_size", -1) != -1 for side in ("left", "right")):
        raise UnsupportedOpError("it looks at a window only")
    if any(node.has(k) for k in (4, 5, 6)):
        raise UnsupportedOpError("it has a cache of keys and values")
    if node.attribute("softcap", 0.0) or node.attribute("softmax_precision", 1) != 1:
        raise UnsupportedOpError("softcap, or softmax_precision")
    if node.has(3) and node.shape(3)[-1] != node.shape(1)[-2]:
        raise UnsupportedOpError("its mask is shorter than its keys")
    queries, keys = node.attribute("q_num_heads", 0), node.attribute("kv_num_heads", 0)
    return Function(
        _attention, heads=(queries, keys, keys), causal=causal, scale=node.attribute("scale")
    )
