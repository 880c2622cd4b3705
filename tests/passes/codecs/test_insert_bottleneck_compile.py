# SPDX-License-Identifier: Apache-2.0
"""A network with a learned codec, compiled: the encoder in the head, the decoder in the tail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from torch import nn  # noqa: E402

import splitc  # noqa: E402
from splitc.cost.board import load_board  # noqa: E402
from splitc.ir.chain import channel_layers  # noqa: E402
from splitc_passes.codecs.insert_bottleneck import InsertBottleneck  # noqa: E402
from splitc_targets.backend import TvmBackend  # noqa: E402
from splitc_targets.pipeline import plan_module  # noqa: E402


def on_maps() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 5 * 7, 10))


def on_tokens() -> nn.Module:
    return nn.Sequential(nn.Linear(9, 16), nn.Tanh(), nn.Linear(16, 4))


CASES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], InsertBottleneck, int]] = {
    "odd map, 8 bits": (
        on_maps, (1, 3, 7, 9), InsertBottleneck(2, "1", channel="awgn", state="assumed"), 2 * 3 * 4,
    ),
    "tokens, floats": (
        on_tokens, (1, 5, 9), InsertBottleneck(4, "1", bits=32, activation="none"), 5 * 4 * 4,
    ),
}  # fmt: skip


def model_of(case: str) -> splitc.TorchModel:
    build, shape, _, _ = CASES[case]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return splitc.load(build(), torch.zeros(shape))


def test_no_operation_of_a_codec_falls_back_to_slow_loops() -> None:
    case = "odd map, 8 bits"
    made = CASES[case][2](model_of(case))
    assert made.cut is not None
    (crosses,) = made.cut.boundary
    bare = made.bypass(channel_layers(made.graph))
    backend = TvmBackend()
    for part in bare.split(splitc.Cut.sending(bare.graph, crosses.name)):
        assert backend.unsupported(part) == []
        assert plan_module(backend.lower(part), load_board("rpi4")).fallbacks == []


@pytest.mark.parametrize("case", CASES)
def test_head_and_tail_with_the_codec_give_what_the_module_gives(case: str, tmp_path: Path) -> None:
    _, _, one, sent = CASES[case]
    made = one(model_of(case))
    assert made.cut is not None
    bundle = splitc.compile(made, cut=made.cut.name, head="host", output=tmp_path / "b.splitc")
    (crosses,) = bundle.manifest.route.crosses
    assert crosses.bytes == sent
    assert bundle.verify().worst.relative < 1e-4
