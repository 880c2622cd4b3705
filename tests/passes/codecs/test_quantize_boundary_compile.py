# SPDX-License-Identifier: Apache-2.0
"""Quantised boundaries, compiled: levels packed in the head, unpacked in the tail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import splitc
from splitc.cost.board import load_board
from splitc.ir.model import Network
from splitc_passes.codecs.quantize_boundary import QuantizeBoundary
from splitc_targets.backend import TvmBackend
from splitc_targets.pipeline import plan_module
from tests.helpers import model_of

LOW, HIGH = 0.0, 2.5


def from_onnx() -> Network:
    """A convolution, a relu that is cut behind, a convolution; maps of odd extents."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((5, 3, 3, 3)).astype(np.float32) / 4,
        "v": rng.standard_normal((4, 5, 3, 3)).astype(np.float32) / 4,
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "c", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "r"),
        helper.make_node("Conv", ["r", "v"], ["y"], "y"),
    ]
    return splitc.load(model_of(nodes, {"x": [1, 3, 7, 9]}, ["y"], weights), simplify=False)


def from_torch() -> Network:
    torch = pytest.importorskip("torch", reason="needs torch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first = torch.nn.Conv2d(3, 5, 3, padding=1)
        net = torch.nn.Sequential(first, torch.nn.ReLU(), torch.nn.Conv2d(5, 4, 3))
    return splitc.load(net, torch.zeros(1, 3, 7, 9))


DOORS = {"onnx": (from_onnx, "r"), "torch": (from_torch, "1")}


def quantised(door: str, bits: int) -> Network:
    build, layer = DOORS[door]
    return QuantizeBoundary(layer, bits, LOW, HIGH)(build())


@pytest.mark.parametrize("bits", [3, 8, 16])
@pytest.mark.parametrize("door", DOORS)
def test_no_operation_falls_back_to_slow_loops(door: str, bits: int) -> None:
    made = quantised(door, bits)
    assert made.cut is not None
    backend = TvmBackend()
    for part in made.split(made.cut):
        assert backend.unsupported(part) == []
        assert plan_module(backend.lower(part), load_board("rpi4")).fallbacks == []


@pytest.mark.parametrize(
    ("door", "bits", "head"),
    [
        ("onnx", 1, "host"), ("torch", 2, "host"), ("onnx", 6, "host"), ("torch", 8, "host"),
        ("onnx", 12, "host"), ("torch", 16, "host"), ("onnx", 4, "rpi4"),
    ],
)  # fmt: skip
def test_a_bundle_sends_exactly_the_bytes_and_verifies(
    door: str, bits: int, head: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if head != "host":
        request.getfixturevalue("qemu")
    made = quantised(door, bits)
    bundle = splitc.compile(made, cut="auto", head=head, output=tmp_path / "q.splitc")
    (crossing,) = bundle.manifest.route.crosses
    assert crossing.dtype == "uint8"
    assert crossing.bytes == bundle.manifest.route.boundary_bytes == -(-bits * 5 * 7 * 9 // 8)
    assert bundle.verify(emulate=head != "host").passed
