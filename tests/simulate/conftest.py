# SPDX-License-Identifier: Apache-2.0
"""A small bundle, and frames for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import splitc
from splitc.arrays import Array
from splitc.bundle.bundle import Bundle
from tests.once import once

FRAMES = 24


@pytest.fixture(scope="session")
def small(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The small network cut behind its residual block, for rpi4, both parts in ONNX. Read only."""

    def make(folder: Path) -> None:
        splitc.compile(
            small_onnx, cut="block_add", emit="onnx", head="rpi4", output=folder / "small.splitc"
        )

    return Bundle.open(once(tmp_path_factory, "simulated", make) / "small.splitc")


@pytest.fixture(scope="session")
def four_routes(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The small network with two cuts and 8 bits at each: four routes. Read only."""
    rng = np.random.default_rng(5)
    samples = [{"x": rng.standard_normal((1, 3, 12, 12), np.float32)} for _ in range(8)]

    def make(folder: Path) -> None:
        splitc.compile(
            small_onnx, cuts=["stem_relu", "average"], bits=[8], batches=samples, emit="onnx",
            head="rpi4", output=folder / "routed.splitc",
        )  # fmt: skip

    return Bundle.open(once(tmp_path_factory, "simulated-routes", make) / "routed.splitc")


@pytest.fixture(scope="session")
def images() -> Array:
    """Frames of the small network."""
    return np.random.default_rng(4).standard_normal((FRAMES, 1, 3, 12, 12), np.float32)
