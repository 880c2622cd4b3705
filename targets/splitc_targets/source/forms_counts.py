# SPDX-License-Identifier: Apache-2.0
"""Operators that count or point: n-grams of numbers, and where a pool found its largest."""

from __future__ import annotations

import itertools
import math

import numpy as np
from onnx import TensorProto

from splitc_targets.source.draft import Array, Node


def ngrams(node: Node) -> bool:
    """TfIdfVectorizer of integers: how often each n-gram of the pool is in a row.

    Elements of an n-gram lie as far apart as `max_skip_count` lets them; of one element there is
    one way alone.
    """
    shape, given, draft = node.shape(), node.given, node.draft
    if shape is None or node.dtype() not in ("int32", "int64") or "pool_int64s" not in given:
        return False
    pool, columns = list(given["pool_int64s"]), np.array(given["ngram_indexes"], np.int64)
    starts = [*given["ngram_counts"], len(pool)]
    rows = draft.add("Reshape", node.input(0), draft.constant(
        np.array([1 if len(shape) == 1 else shape[0], shape[-1]], np.int64)))  # fmt: skip
    counts: list[str] = []
    for length, (begin, end) in enumerate(itertools.pairwise(starts), 1):
        grams = np.array(pool[begin:end]).reshape(-1, length)
        if not len(grams):
            continue
        wanted = given["min_gram_length"] <= length <= given["max_gram_length"]
        apart = range(given["max_skip_count"] + 1 if length > 1 else 1) if wanted else range(0)
        counts.append(_occurrences(node, rows, shape[-1], grams, [skip + 1 for skip in apart]))
    made = draft.add("Concat", *counts, axis=1)
    to = np.zeros((len(columns), int(columns.max()) + 1), np.float32)
    to[np.arange(len(columns)), columns] = 1
    weights = np.array(given.get("weights") or np.ones(len(columns)), np.float32)
    if given["mode"] != "TF":
        to *= weights[:, None]
    if given["mode"] == "IDF":
        made = draft.add("Min", made, draft.constant(np.array(1, np.float32)))
    made = draft.add("MatMul", made, draft.constant(to))
    width = to.shape[1]
    last = [width] if len(shape) == 1 else [shape[0], width]
    draft.add("Reshape", made, draft.constant(np.array(last, np.int64)), output=node.output(0))
    return True


def _occurrences(node: Node, rows: str, count: int, grams: Array, steps: list[int]) -> str:
    """How often each n-gram is in rows of so many elements, as float32: [rows, n-grams]."""
    draft, length = node.draft, grams.shape[1]
    found: list[Array] = [
        np.arange(count - (length - 1) * step)[:, None] + step * np.arange(length)
        for step in steps
        if count > (length - 1) * step
    ]
    if not found:
        zero = draft.constant(np.zeros(len(grams), np.float32))
        first = draft.add("Gather", rows, draft.constant(np.array([0])), axis=1)
        none = draft.add("Mul", first, draft.constant(np.array(0, np.dtype(node.dtype()))))
        return draft.add("Add", draft.add("Cast", none, to=TensorProto.FLOAT), zero)
    places = draft.constant(np.concatenate(found)[:, None])
    seen = draft.add("Gather", rows, places, axis=1)
    equal = draft.add("Equal", seen, draft.constant(grams.astype(node.dtype())))
    whole = draft.reduce("ReduceMin", draft.add("Cast", equal, to=TensorProto.FLOAT), [3])
    summed = draft.add("ReduceSum", whole, draft.constant(np.array([1])))
    flat = draft.constant(np.array([-1, len(grams)], np.int64))
    return draft.add("Reshape", summed, flat)


def pooled_places(node: Node) -> bool:
    """MaxPool whose places are read: the largest of each window, looked up in a table of them."""
    shape, result, given = node.shape(), node.result_shape(), node.given
    if shape is None or result is None or not node.dtype().startswith("float"):
        return False
    if not node.reads(1) or given.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return False
    draft, extents, kernel = node.draft, shape[2:], given["kernel_shape"]
    table = _windows(node, extents, result[2:])
    images, places = shape[0] * shape[1], math.prod(extents)
    rows = draft.constant(np.array([images, places], np.int64))
    x = draft.add("Reshape", node.input(0), rows)
    least = np.full((images, 1), -np.inf, np.dtype(node.dtype()))
    x = draft.add("Concat", x, draft.constant(least), axis=1)
    largest = draft.add("ArgMax", draft.add("Gather", x, draft.constant(table), axis=1),
                        axis=2, keepdims=0)  # fmt: skip
    behind = draft.constant(np.arange(len(table)) * math.prod(kernel))
    found = draft.add("Add", largest, behind)
    if given.get("storage_order"):
        turned = np.arange(places).reshape(extents[::-1]).T.ravel()
        table = np.append(turned, places)[table]
    at = draft.add("Gather", draft.constant(table.ravel()), found, axis=0)
    at = draft.add("Add", at, draft.constant(np.arange(images)[:, None] * places))
    whole = draft.constant(np.array(result, np.int64))
    draft.add("Reshape", at, whole, output=node.output(1))
    del node.proto.output[1:]
    draft.changed(node.proto, without=("storage_order",))
    return True


def _windows(node: Node, extents: tuple[int, ...], made: tuple[int, ...]) -> Array:
    """Where each element of each window lies in the map; behind its end where it does not."""
    given, count = node.given, len(extents)
    pads: list[int] = given.get("pads") or [0] * count
    steps: list[int] = given.get("strides") or [1] * count
    apart: list[int] = given.get("dilations") or [1] * count
    flat: Array = np.zeros((1, 1), np.int64)
    inside: Array = np.ones((1, 1), bool)
    kernel: list[int] = given["kernel_shape"]
    for k, extent in enumerate(extents):
        first = np.arange(made[k]) * steps[k] - pads[k]
        at: Array = first[:, None] + np.arange(kernel[k]) * apart[k]
        shape = (len(flat) * len(at), -1)
        flat = (flat[:, None, :, None] * extent + at[None, :, None, :]).reshape(shape)
        within: Array = (at >= 0) & (at < extent)
        inside = (inside[:, None, :, None] & within[None, :, None, :]).reshape(shape)
    return np.where(inside, flat, math.prod(extents))
