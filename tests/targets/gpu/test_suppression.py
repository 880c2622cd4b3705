# SPDX-License-Identifier: Apache-2.0
# pyright: basic
"""Detectors that end in NonMaxSuppression, by kernels of threads: what onnxruntime keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import splitc
from splitc.frontend.onnx.bounded import bounded
from splitc.frontend.onnx.model import OnnxModel
from tests.targets.gpu.device import compiled, needs_opencl, run
from tests.targets.kernels.test_suppression import LIMITS, boxes_of, suppressing
from tests.targets.nets import Array, Net, wanted

pytestmark = needs_opencl


def kept_of(net: Net, boxes: Array, scores: Array, limits: list[Any], **attrs: Any) -> int:
    """The rows are onnxruntime's, and -1 beyond; how many those are."""
    model = bounded(splitc.load(suppressing(net, boxes, scores, limits, **attrs)))
    assert isinstance(model, OnnxModel)
    code = compiled(model.proto)
    assert not code.fallbacks
    order = [net.inputs[value.name] for value in model.proto.graph.input]
    (kept,), (right,) = run(code, *order), wanted(model.proto, net.inputs)
    np.testing.assert_array_equal(kept, right)
    return int((right[:, 0] >= 0).sum())


@pytest.mark.parametrize(
    ("limits", "centred"), [(name, k % 2 == 1) for k, name in enumerate(LIMITS)]
)
def test_what_is_kept_is_what_onnxruntime_keeps(limits: str, centred: bool) -> None:
    net = Net(len(limits), opset=13)
    scores = net.rng.random((2, 3, 71)).astype(np.float32)
    scores[:, :, ::3] = 0.75  # ties: the first is kept
    boxes = boxes_of(net, 2, 71, centred=centred)
    count = kept_of(net, boxes, scores, LIMITS[limits], center_point_box=int(centred))
    assert (count == 0) == (limits == "none")


@pytest.mark.parametrize("least", [[], [np.array([0.25], np.float32)]])
def test_more_is_kept_than_a_block_has_threads(least: list[Array]) -> None:
    net = Net(1, opset=13)
    boxes, scores = boxes_of(net, 1, 1000), net.rng.random((1, 2, 1000)).astype(np.float32)
    limits = [np.array([700]), np.array([0.8], np.float32), *least]
    assert kept_of(net, boxes, scores, limits) > 2 * 512


def test_scores_that_are_no_numbers_are_not_above_the_least() -> None:
    net = Net(2, opset=13)
    boxes, scores = boxes_of(net, 1, 300), net.rng.random((1, 1, 300)).astype(np.float32)
    scores[0, 0, :40] = np.float32("nan")
    assert kept_of(net, boxes, scores, LIMITS["many"]) > 0


def test_overlaps_at_the_limit_are_told_apart_as_on_processors() -> None:
    # Pairs of one size, shifted: the share they have in common is the limit or a last place off.
    net = Net(3, opset=13)
    size = net.rng.random((200, 2)).astype(np.float32) + np.float32(0.5)
    corner = net.rng.random((200, 2)).astype(np.float32)
    boxes = np.concatenate([corner, corner + size], 1)
    moved = boxes + np.tile([[0.0, 1 / 3]], (200, 2)).astype(np.float32) * np.tile(size, (1, 2))
    both = np.stack([boxes, moved.astype(np.float32)], 1).reshape(200, 2, 4)
    limits = [np.array([2]), np.array([0.5], np.float32)]
    scores = np.tile(np.array([[[1.0, 0.5]]], np.float32), (200, 1, 1))
    assert 200 < kept_of(net, both, scores, limits) < 400
