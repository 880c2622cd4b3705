# SPDX-License-Identifier: Apache-2.0
# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false
"""Results of an operator beside its first, in Relax, where a network reads them.

TVM's importer gives noughts for where the largest elements stand, and no means and deviations.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import relax

from splitc_targets.aten import window_places
from splitc_targets.aten.refusals import bound

Further = Callable[[Any, Any], list[Any]]
"""Takes a node and TVM's importer; gives the results behind the first."""


def _read(node: Any) -> bool:
    """Whether a result beside the first is read."""
    return any(user.target is operator.getitem and user.args[1] for user in node.users)


def pooled_places(node: Any, importer: Any) -> list[Any]:
    """Where the largest of each window stands in the flattened map, the first of equal ones."""
    given, shape = bound(node), _shape(node.args[0])
    names = ("kernel_size", "stride", "padding", "dilation")
    dims = len(given["kernel_size"])
    windows = [[*given[name]] * (dims if len(given[name]) == 1 else 1) for name in names]
    made = tuple(node.meta["val"][1].shape)
    table = window_places.regular(shape[-dims:], made[-dims:], *windows).numpy()
    emit, images = importer.block_builder.emit, math.prod(shape[:-dims])
    rows = emit(relax.op.reshape(importer.env[node.args[0]], (images, math.prod(shape[-dims:]))))
    dtype = str(rows.ty.dtype)
    least = relax.const(np.full((images, 1), -np.inf, dtype), dtype)
    held = emit(relax.op.take(emit(relax.op.concat([rows, least], 1)), _whole(table), axis=1))
    largest = emit(relax.op.argmax(held, axis=2))
    behind = _whole(np.arange(len(table)) * table.shape[1])
    at = emit(relax.op.take(_whole(table.ravel()), emit(relax.op.add(largest, behind)), axis=0))
    return [emit(relax.op.reshape(at, made))]


def layer_statistics(node: Any, importer: Any) -> list[Any]:
    """Mean and reciprocal deviation of each normalised part, which keep its dimensions as ones."""
    x, normalised, eps = importer.env[node.args[0]], node.args[1], node.args[4]
    rank = len(x.ty.shape)
    axes = list(range(rank - len(normalised), rank))
    return _statistics(importer, x, axes, eps, keep=True)


def group_statistics(node: Any, importer: Any) -> list[Any]:
    """Mean and reciprocal deviation of each group of channels: [batch, groups]."""
    batch, channels, places, groups, eps = node.args[3:8]
    shape = (batch, groups, channels // groups * places)
    x = importer.block_builder.emit(relax.op.reshape(importer.env[node.args[0]], shape))
    return _statistics(importer, x, [2], eps, keep=False)


def channel_statistics(node: Any, importer: Any) -> list[Any]:
    """Mean and reciprocal deviation of each channel, over batch and places."""
    x = importer.env[node.args[0]]
    axes = [axis for axis in range(len(x.ty.shape)) if axis != 1]
    return _statistics(importer, x, axes, node.args[5], keep=False)


def _statistics(importer: Any, x: Any, axes: Sequence[int], eps: float, *, keep: bool) -> list[Any]:
    emit = importer.block_builder.emit
    mean = emit(relax.op.mean(x, axes, keepdims=True))
    apart = emit(relax.op.subtract(x, mean))
    spread = emit(relax.op.mean(emit(relax.op.multiply(apart, apart)), axes, keepdims=keep))
    more = emit(relax.op.add(spread, relax.const(eps, str(x.ty.dtype))))
    if not keep:
        mean = emit(relax.op.squeeze(mean, list(axes)))
    return [mean, emit(relax.op.rsqrt(more))]


def _shape(node: Any) -> tuple[int, ...]:
    return tuple(node.meta["val"].shape)


def _whole(values: np.ndarray[Any, Any]) -> Any:
    return relax.const(values.astype(np.int64), "int64")


def beside(first: str, further: Further) -> Callable[[Any, Any], Any]:
    """A converter: the first result by a method of TVM's importer, the others by ours if read."""

    def convert(node: Any, importer: Any) -> Any:
        made = getattr(importer, first)(node)
        if not _read(node):
            return made
        if isinstance(made.ty, relax.TupleType):
            made = importer.block_builder.emit(relax.TupleGetItem(made, 0))
        return (made, *further(node, importer))

    return convert


def converters() -> dict[str, Callable[[Any, Any], Any]]:
    """Converters by operator, as `name.overload`."""
    return {
        "max_pool2d_with_indices.default": beside("_max_pool2d_with_indices", pooled_places),
        "max_pool3d_with_indices.default": beside("_max_pool3d_with_indices", pooled_places),
        "native_layer_norm.default": beside("_native_layer_norm", layer_statistics),
        "native_group_norm.default": beside("_native_group_norm", group_statistics),
        "_native_batch_norm_legit.no_stats": beside("_batch_norm_legit_no_stats",
                                                    channel_statistics),
    }  # fmt: skip
