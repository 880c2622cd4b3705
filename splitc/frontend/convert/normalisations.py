# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Converters of normalisations and of the softmax."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from splitc.errors import UnsupportedOpError
from splitc.frontend.convert.modules import Function
from splitc.frontend.convert.registry import Node, converts, torch_tensor

_BATCH: dict[int, Any] = {
    2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d, 5: nn.BatchNorm3d,
}  # fmt: skip
_INSTANCE: dict[int, Any] = {3: nn.InstanceNorm1d, 4: nn.InstanceNorm2d, 5: nn.InstanceNorm3d}


def _batch_norm(
    x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, *, eps: float
) -> Tensor:
    return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)


@converts("BatchNormalization")
def batch_norm(node: Node) -> nn.Module:
    """In train mode it takes the batch's statistics and keeps running ones, as it was trained.

    PyTorch's momentum is the share of what is new, ONNX's that of what is kept.
    """
    node.refuse_results()
    if node.attribute("training_mode", 0) or not node.attribute("spatial", 1):
        raise UnsupportedOpError("it takes statistics of the batch, or of each position")
    eps, rank = node.attribute("epsilon", 1e-5), len(node.shape(0))
    if rank not in _BATCH or not all(node.is_constant(k) for k in range(1, 5)):
        return Function(_batch_norm, eps=eps)
    momentum = 1 - node.attribute("momentum", 0.9)
    made = _BATCH[rank](node.shape(0)[1], eps=eps, momentum=momentum, device="meta")
    made.weight, made.bias = node.parameter(1), node.parameter(2)
    made.running_mean = torch_tensor(node.constant(3))
    made.running_var = torch_tensor(node.constant(4))
    made.num_batches_tracked = torch.tensor(0)
    return made


@converts("InstanceNormalization")
def instance_norm(node: Node) -> nn.Module:
    """With a scale and a bias for each channel."""
    rank = len(node.shape(0))
    if rank not in _INSTANCE:
        raise UnsupportedOpError(f"PyTorch has none over {rank - 2} spatial axes")
    eps, channels = node.attribute("epsilon", 1e-5), node.shape(0)[1]
    made = _INSTANCE[rank](channels, eps=eps, affine=True, device="meta")
    made.weight, made.bias = node.parameter(1), node.parameter(2)
    return made


@converts("LayerNormalization")
def layer_norm(node: Node) -> nn.Module:
    """Over the last axes."""
    node.refuse_results()
    shape = node.shape(0)
    normal = shape[node.axis(node.attribute("axis", -1), len(shape)) :]
    made = nn.LayerNorm(
        list(normal), node.attribute("epsilon", 1e-5), bias=node.has(2), device="meta"
    )
    form = f"as {normal}"
    made.weight = node.parameter(1, form, lambda array: np.broadcast_to(array, normal))
    if node.has(2):
        made.bias = node.parameter(2, form, lambda array: np.broadcast_to(array, normal))
    return made


@converts("RMSNormalization")
def rms_norm(node: Node) -> nn.Module:
    """Over the last axes, without a mean."""
    shape = node.shape(0)
    normal = shape[node.axis(node.attribute("axis", -1), len(shape)) :]
    made = nn.RMSNorm(list(normal), node.attribute("epsilon", 1e-5), device="meta")
    made.weight = node.parameter(1, f"as {normal}", lambda array: np.broadcast_to(array, normal))
    return made


@converts("GroupNormalization")
def group_norm(node: Node) -> nn.Module:
    """Before opset 21 a group has one scale and bias, since then each channel."""
    channels, groups = node.shape(0)[1], node.attribute("num_groups")
    repeat = channels // groups if node.opset < 21 else 1
    eps = node.attribute("epsilon", 1e-5)
    made = nn.GroupNorm(groups, channels, eps, device="meta")
    made.weight = node.parameter(1, f"x{repeat}", lambda array: np.repeat(array, repeat))
    made.bias = node.parameter(2, f"x{repeat}", lambda array: np.repeat(array, repeat))
    return made


@converts("LRN")
def lrn(node: Node) -> nn.Module:
    """A window of an even size reaches further to one side, in ONNX and PyTorch another one."""
    size = node.attribute("size")
    if size % 2 == 0:
        raise UnsupportedOpError("its window is of an even size")
    alpha, beta = node.attribute("alpha", 1e-4), node.attribute("beta", 0.75)
    return nn.LocalResponseNorm(size, alpha, beta, node.attribute("bias", 1.0))


@converts("LpNormalization")
def lp_norm(node: Node) -> nn.Module:
    """Divide by the norm along an axis."""
    return Function(F.normalize, p=float(node.attribute("p", 2)), dim=node.attribute("axis", -1))


def _standardise(x: Tensor, *, axes: tuple[int, ...]) -> Tensor:
    centred = x - x.mean(axes, keepdim=True)
    return centred / ((centred * centred).mean(axes, keepdim=True).sqrt() + 1e-9)


@converts("MeanVarianceNormalization")
def standardise(node: Node) -> nn.Module:
    """Over the batch too, unless the axes say otherwise."""
    return Function(_standardise, axes=tuple(node.attribute("axes", [0, 2, 3])))


def _softmax_of_rest(x: Tensor, *, axis: int, logarithm: bool) -> Tensor:
    rows = x.flatten(axis)
    made = F.log_softmax(rows, -1) if logarithm else F.softmax(rows, -1)
    return made.reshape(x.shape)


@converts("Softmax", "LogSoftmax")
def softmax(node: Node) -> nn.Module:
    """Before opset 13 it runs over the axis and all behind it as one."""
    rank, logarithm = len(node.shape(0)), node.op == "LogSoftmax"
    axis = node.axis(node.attribute("axis", 1 if node.opset < 13 else -1), max(rank, 1))
    if node.opset < 13 and math.prod(node.shape(0)[axis + 1 :]) > 1:
        return Function(_softmax_of_rest, axis=axis, logarithm=logarithm)
    return nn.LogSoftmax(axis) if logarithm else nn.Softmax(axis)


def _hardmax(x: Tensor, *, axis: int) -> Tensor:
    best = torch.argmax(x, axis, keepdim=True)
    return torch.zeros_like(x).scatter(axis, best, 1)


@converts("Hardmax")
def hardmax(node: Node) -> nn.Module:
    """One at the first of the largest elements, zero elsewhere."""
    rank = len(node.shape(0))
    axis = node.axis(node.attribute("axis", 1 if node.opset < 13 else -1), max(rank, 1))
    if node.opset < 13 and math.prod(node.shape(0)[axis + 1 :]) > 1:
        raise UnsupportedOpError("before opset 13 it runs over several axes as one")
    return Function(_hardmax, axis=axis)
