# SPDX-License-Identifier: Apache-2.0
"""Learned codecs as routes of bundles with several, trained and not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("safetensors", reason="needs safetensors")

import splitc  # noqa: E402
from splitc.build.compiler import build, plan  # noqa: E402
from splitc.build.route_spec import TUNED, RouteSpec  # noqa: E402
from splitc.bundle.bundle import require  # noqa: E402
from splitc.errors import IllegalCutError, UsageError  # noqa: E402
from splitc.finetune.folder import Origin, save_tuned  # noqa: E402
from splitc.finetune.loop import Tuned  # noqa: E402
from splitc.finetune.manifest import SUFFIX  # noqa: E402
from splitc.frontend.torch.model import TorchModel  # noqa: E402
from splitc.passes.base import Pipeline  # noqa: E402
from tests.build.test_compile_codec import ERASURE, network  # noqa: E402

PIPELINE = 'insert-bottleneck(channels=6, cut="4", channel="erasure", erasure_rate=0.1)'


def trained(folder: Path, *, everything: bool) -> TorchModel:
    """What training leaves of a codec, or of all of a network, saved to a folder."""
    before = network()
    model = Pipeline.parse(PIPELINE)(before)
    added = model.parameters_beyond(before)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(7)
        for name, parameter in model.module.named_parameters():
            if everything or name in added:
                parameter.add_(0.05 * torch.randn_like(parameter))
    origin = Origin("small", "small.pt2", before.digest, before.graph, Pipeline.parse(PIPELINE))
    save_tuned(folder, Tuned(model, ()), origin)
    return model


def some() -> np.ndarray:
    return np.random.default_rng(2).standard_normal((1, 3, 9, 9)).astype(np.float32)


def test_each_cut_may_have_a_learned_codec_and_its_channel(tmp_path: Path) -> None:
    cuts = ["2", RouteSpec("2", ERASURE), RouteSpec("4", "insert-bottleneck(channels=3)", "x")]
    bundle = splitc.compile(network(), cuts=cuts, head="host", output=tmp_path / "l.splitc")
    names = [route.name for route in bundle.manifest.routes]
    assert names == ["2", "2:insert-bottleneck", "x"]
    found = bundle.verify()
    require(found)
    # By the codec's own channel: what the decoder makes of what is left.
    assert [len(each.received) for each in found.routes.values()] == [0, 1, 0]
    codec = bundle.manifest.routes[1].codec
    assert codec is not None
    assert codec.cost is not None
    assert bundle.part("head-s0").remote[1].expected is not None


def test_a_trained_codec_is_a_route_beside_the_plain_one(tmp_path: Path) -> None:
    assert TUNED == SUFFIX
    tuned = trained(tmp_path / "six.tuned", everything=False)
    notes: list[str] = []
    job = plan(network(), cuts=["2", "4", RouteSpec("4", str(tmp_path / "six.tuned"))], head="host")
    bundle = build(job, output=tmp_path / "t.splitc", note=notes.append)
    assert [route.name for route in bundle.manifest.routes] == ["2", "4", "4:six"]
    assert not any("untrained" in note for note in notes)
    route = bundle.manifest.routes[2]
    assert route.runs["device"] == ("head-s0", "head-s1", "head-enc2")
    assert route.codec is not None
    assert (route.codec.pipeline, route.codec.received) == (PIPELINE, True)
    assert route.boundary_bytes == 6 * 5 * 5
    require(bundle.verify())
    wanted = tuned.run({"input": some()})["7"]
    np.testing.assert_allclose(bundle.run(some(), route="4:six")["7"], wanted, rtol=1e-4, atol=1e-5)
    plain = network().run({"input": some()})["7"]
    np.testing.assert_allclose(bundle.run(some(), route="4")["7"], plain, rtol=1e-4, atol=1e-5)


def test_a_network_that_was_trained_around_its_codec_is_refused(tmp_path: Path) -> None:
    trained(tmp_path / "all.tuned", everything=True)
    cuts = ["4", RouteSpec("4", str(tmp_path / "all.tuned"))]
    with pytest.raises(UsageError, match="cannot be one route of several") as caught:
        plan(network(), cuts=cuts, head="host")
    assert "other weights than the codec's were trained" in caught.value.why


def test_a_trained_codec_of_another_cut_is_refused(tmp_path: Path) -> None:
    trained(tmp_path / "six.tuned", everything=False)
    with pytest.raises(IllegalCutError, match="the codec at '2' cannot be one of several"):
        plan(network(), cuts=["4", RouteSpec("2", str(tmp_path / "six.tuned"))], head="host")
