# SPDX-License-Identifier: Apache-2.0
"""What stands for elements that a link lost: what the network was trained to see there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from splitc.arrays import Array  # noqa: E402
from splitc.build.describe import crossing, missing, remotes, route_entry, ways_of  # noqa: E402
from splitc.build.job import Job, plan  # noqa: E402
from splitc.bundle.golden import write_golden  # noqa: E402
from splitc.frontend.torch.model import TorchModel  # noqa: E402
from splitc.ir.chain import Insertion  # noqa: E402
from splitc.link.packets import Scale, element_order  # noqa: E402
from splitc.runtime.manifest import Missing, TensorSpec  # noqa: E402
from splitc.wire.boundary import Boundary  # noqa: E402
from splitc_passes.codecs.insert_bottleneck import InsertBottleneck  # noqa: E402
from splitc_passes.codecs.quantize_boundary import QuantizeBoundary  # noqa: E402
from splitc_passes.layers.channel import channels  # noqa: E402
from splitc_passes.layers.packet_loss import PacketLoss  # noqa: E402
from splitc_passes.layers.packets import LossyChannel  # noqa: E402
from splitc_passes.training.insert_dropout import InsertDropout  # noqa: E402
from tests.build.test_compile_codec import network  # noqa: E402

LOSS = 0.4
SEED = 5


def lossy(bits: int, scale: Scale) -> TorchModel:
    """A network with a learned codec over a link that loses packets of eight bytes."""
    codec = InsertBottleneck(
        6, cut="4", bits=bits, channel="packets", loss_rate=LOSS, payload_bytes=8
    )
    model = codec(network())
    (channel,) = channels(model.module)
    assert isinstance(channel, LossyChannel)
    channel.scale = scale
    return model


def golden(job: Job, folder: Path) -> tuple[TensorSpec, Array, Array]:
    """What crosses of the first sample, and what the network's own channel leaves of it."""
    models = {part.name: part.extract() for part in job.parts}
    write_golden(folder, job.trunk, ways_of(job, models), SEED)
    (spec,) = crossing(job.default, models)
    sent, received = (np.load(folder / n / "0.npy")[0] for n in ("boundary", "received"))
    return spec, sent, received


def erase(spec: TensorSpec, one: Missing, sent: Array, lost: Array) -> Array:
    """What a receiver makes of a tensor of which some elements are lost, each a packet."""
    boundary = Boundary([spec], sent.itemsize, 1, [one])
    packets = boundary.pack([sent], session=1, split=2, frame=0)
    rows = np.stack([np.frombuffer(packets.payload(k), np.uint8) for k in range(boundary.chunks)])
    came = ~lost.reshape(-1)[element_order(sent.size, 1)]
    (received,), share = boundary.unpack(rows, came, LOSS)
    assert share == pytest.approx(1 - lost.mean())
    return received


@pytest.mark.parametrize("scale", ["rate", "realised", "none"])
def test_floats_are_received_as_over_the_channel_of_the_training(
    scale: Scale, tmp_path: Path
) -> None:
    job = plan(lossy(32, scale), head="host")
    spec, sent, received = golden(job, tmp_path)
    (one,) = missing(job.default, (spec,))
    assert one == Missing(fill="", scale=scale)
    lost = received == 0
    assert 0.2 < lost.mean() < 0.6
    np.testing.assert_allclose(erase(spec, one, sent, lost), received, rtol=1e-6)


@pytest.mark.parametrize("levels", [(0.0, 1.0), (-1.0, 3.0), (0.1, 0.5)])
def test_levels_are_received_as_over_the_channel_of_the_training(
    levels: tuple[float, float], tmp_path: Path
) -> None:
    low, high = levels
    model = QuantizeBoundary("4", 8, low, high)(network())
    assert model.cut is not None
    # The channel stands where the levels are floats again.
    shape = model.graph.tensors["4.restored"].shape
    assert shape is not None
    link = Insertion(
        "channel", "packet_loss", tuple(n or 0 for n in shape), kind="channel",
        modules=lambda: (PacketLoss(LOSS, 8, 1, scale="none"),),
    )  # fmt: skip
    cut = model.cut.name
    model = model.insert("4.restored", [link])
    job = plan(model, cut=cut, head="host")
    spec, sent, received = golden(job, tmp_path)
    (one,) = missing(job.default, (spec,))
    assert one.scale == "none"
    lost = received != sent
    assert lost.any()
    np.testing.assert_array_equal(erase(spec, one, sent, lost), received)


@pytest.mark.parametrize(("bits", "unit"), [(3, 3), (4, 1), (8, 1), (12, 3), (16, 2)])
def test_levels_that_share_bytes_travel_together_on_both_sides(bits: int, unit: int) -> None:
    job = plan(QuantizeBoundary("4", bits, 0.0, 1.0)(network()), head="host")
    models = {part.name: part.extract() for part in job.parts}
    rules = missing(job.default, crossing(job.default, models))
    assert rules == (Missing(scale="none", unit=unit),)
    entry = route_entry(job, job.default, models, None)
    assert remotes(job, models, [entry])["head"][0].missing == rules


def test_without_a_channel_that_scales_it_is_by_the_share_that_came() -> None:
    spec = TensorSpec(name="4", dtype="float32", shape=(1, 4), bytes=16)
    plain = plan(network(), cut="4", head="host")
    dropout = plan(InsertDropout(cut="4")(network()), head="host")
    for job in (plain, dropout):
        assert missing(job.default, (spec,)) == (Missing(fill="", scale="realised"),)


def test_integers_that_are_no_levels_are_zeros_as_they_come() -> None:
    spec = TensorSpec(name="ids", dtype="int64", shape=(1, 4), bytes=32)
    assert Missing.of(spec, scale="rate") == Missing(fill="", scale="none")
    assert Missing.of(spec).pattern == b"\0"
