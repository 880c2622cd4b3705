# SPDX-License-Identifier: Apache-2.0
"""Networks over sequences compile wherever they may be cut, and give PyTorch's results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import splitc
from benchmarks.sequence_nets import TemporalConvolutions, VoiceDetector
from benchmarks.sequence_nets import temporal_convolutions as tcn
from benchmarks.sequence_nets import voice_detector as voice
from splitc.bundle.bundle import Bundle

Net = VoiceDetector | TemporalConvolutions


def compiled(network: Net, cuts: tuple[str, ...], folder: Path) -> Bundle:
    model = splitc.load(network, network.examples())
    return splitc.compile(model, cuts=cuts, head="host", tail="host", output=folder / "net.splitc")


@pytest.mark.parametrize(
    ("made", "more"), [(voice, ("encoder.3", "relu")), (tcn, ("blocks.1.add", "blocks.3.relu.3"))],
    ids=["voice", "tcn"],
)  # fmt: skip
def test_it_is_cut_at_its_best_and_at_two_places_more(
    made: Callable[[], Net], more: tuple[str, ...], tmp_path: Path
) -> None:
    net = made()
    table = splitc.find_cuts(splitc.load(net, net.examples()), head="rpi4", tail="host")
    best = table.rows[0].title.removeprefix("the cut after ")
    bundle = compiled(net, (best, *more), tmp_path)
    assert len(bundle.manifest.routes) == len({best, *more})
    assert bundle.verify().passed


def test_a_state_is_handed_from_call_to_call(tmp_path: Path) -> None:
    net = voice()
    bundle = compiled(net, ("lstm",), tmp_path)
    sound, h, c = net.examples()
    ours = [array.numpy() for array in (h, c)]
    names = [spec.name for spec in bundle.manifest.source.inputs]
    with bundle.open_parts() as split, torch.no_grad():
        for _ in range(4):
            chance, *ours = split(dict(zip(names, (sound.numpy(), *ours), strict=True))).values()
            want, h, c = net(sound, h, c)
            np.testing.assert_allclose(chance, want.numpy(), atol=1e-6)
            np.testing.assert_allclose(ours[1], c.numpy(), atol=1e-6)
