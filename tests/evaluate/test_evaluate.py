# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Accuracy by the share of packets lost, against what is counted by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("safetensors", reason="needs safetensors")

from splitc.bundle.bundle import Bundle  # noqa: E402
from splitc.cli.app import run  # noqa: E402
from splitc.errors import UsageError  # noqa: E402
from splitc.evaluate import evaluate, of_bundle, of_network, read_samples  # noqa: E402
from splitc.frontend import load, userfile  # noqa: E402
from splitc.link.packets import Chunks, Unit  # noqa: E402
from tests.docs.fixtures import NET  # noqa: E402

Capture = pytest.CaptureFixture[str]
DATA = """
import torch

def loaders():
    draw = torch.Generator().manual_seed(0)
    y = torch.arange(48) % 2
    x = torch.randn(48, 1, 8, 8, generator=draw) * 3 + y.view(-1, 1, 1, 1)
    batches = list(zip(x.split(16), y.split(16)))
    return batches, batches
"""
RATES = (0.0, 0.2, 0.5, 0.9)
ROOM = 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """net.py, data.py, data.npz, net.tuned (trained for lost packets) and its bundle."""
    place = tmp_path_factory.mktemp("evaluate")
    (place / "net.py").write_text(NET, "utf-8")
    (place / "data.py").write_text(DATA, "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(userfile, "_loaded", {})
        patch.setattr(sys, "path", list(sys.path))
        scope: dict[str, object] = {}
        exec(DATA, scope)
        batches = scope["loaders"]()[0]  # type: ignore[operator]
        x, y = (torch.cat([batch[k] for batch in batches]).numpy() for k in (0, 1))
        np.savez("data.npz", input=x, labels=y)
        words = ["finetune", "net.py:net", "--recipe", "si-nr(loss_rate=0.3, epochs=3)",
                 "--cut", "relu", "--data", "data.py:loaders", "-q", "-o", "net.tuned"]  # fmt: skip
        assert run(words) == 0
        assert run(["compile", "net.tuned", "--target", "host", "-q", "-o", "net.splitc"]) == 0
    return place


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(userfile, "_loaded", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("net", "data"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return folder


def counted_by_hand(folder: Path, seed: int, *, channels_last: bool) -> dict[float, int]:
    """The same with masks of whole packets over the flattened tensor, in PyTorch.

    The bundle sends maps channels-last: other elements are together in a packet there.
    """
    model: Any = load(folder / "net.tuned")
    assert model.cut is not None
    plain = model.bypass(["relu.link_dropout"])
    from splitc.passes.at_cut import recut

    head, tail = (part.module.eval() for part in plain.split(recut(model.cut, plain.graph)))
    data = np.load(folder / "data.npz")
    right = dict.fromkeys(RATES, 0)
    for number, (x, y) in enumerate(zip(data["input"], data["labels"], strict=True)):
        with torch.no_grad():
            crossing = head(torch.from_numpy(x[None]))
        chunks = Chunks(crossing.numel(), Unit(1, 4), ROOM)
        packet = torch.from_numpy(chunks.packet_of_element(0))
        drawn = np.random.default_rng([seed, number]).random(chunks.packets)
        for rate in RATES:
            came = torch.from_numpy(drawn >= rate)
            if not came.any():
                continue
            mask = came[packet].float()
            mask = mask.view(1, 8, 8, 16).permute(0, 3, 1, 2) if channels_last else mask
            received = crossing * mask.reshape(crossing.shape) / mask.mean()
            with torch.no_grad():
                right[rate] += int(tail(received).argmax()) == int(y)
    return right


def test_a_tuned_network_is_as_right_as_counted_by_hand_and_so_is_its_bundle(
    folder: Path,
) -> None:
    wanted = [counted_by_hand(folder, 7, channels_last=last) for last in (False, True)]
    assert len({*wanted[0].values()}) > 1
    network = of_network("net.tuned", load(folder / "net.tuned"))
    with of_bundle(folder / "net.splitc") as routes:
        found = evaluate([network, *routes], lambda one: read_samples(folder / "data.npz", one),
                         RATES, payload_bytes=ROOM, seed=7)  # fmt: skip
    for subject, right in zip(found.subjects, wanted, strict=True):
        assert {one.loss_rate: one.right for one in found.of(subject)} == right
        assert subject.trained_over == "link_dropout(rate=0.3)"
        assert subject.boundary_bytes == 16 * 8 * 8 * 4
    best = found.points[0].accuracy
    assert [one.accuracy_drop for one in found.points] == [
        pytest.approx(best - one.accuracy) for one in found.points
    ]


def test_codecs_stand_side_by_side_in_a_table_of_80_columns(here: Path, capsys: Capture) -> None:
    words = ["evaluate", "net.py:net", "net.tuned", "--cut", "relu", "--data", "data.py:loaders",
             "--bits", "8,2", "--loss", "0,20%,0.5", "--mtu", "200", "--samples", "8",
             "-q"]  # fmt: skip
    assert run(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["packets", "lost", "crosses", "0%", "20%", "50%"]
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "net.py:net", "net.py:net quantize-boundary(bits=8)",
        "net.py:net quantize-boundary(bits=2)", "net.tuned",
    ]  # fmt: skip
    assert max(map(len, lines)) <= 80
    assert [line.split()[-5:-3] for line in lines[1:]] == [
        ["4.1", "kB"], ["1.0", "kB"], ["256", "B"], ["4.1", "kB"],
    ]  # fmt: skip


def test_gates_hold_what_was_evaluated_to_limits(here: Path, capsys: Capture) -> None:
    words = ["evaluate", "net.tuned", "--data", "data.npz", "--loss", "0,0.9", "--mtu", "200", "-q"]
    assert run([*words, "--fail-on", "net.tuned@0:accuracy_drop>0%"]) == 0
    assert "net.tuned@0: accuracy_drop is 0.00%" in capsys.readouterr().out
    assert run([*words, "--fail-on", "accuracy_drop>=0%", "--json"]) == 9
    found = json.loads(capsys.readouterr().out)
    assert found["networks"][0]["boundary_bytes"] == 4096
    assert [one["name"] for one in found["points"]] == ["net.tuned@0", "net.tuned@0.9"]
    gates = found["gates"]
    assert [one["route"] for one in gates] == ["net.tuned@0", "net.tuned@0.9"]
    assert run([*words, "--fail-on", "head_ms>1"]) == 2
    assert "printed by: splitc compile" in capsys.readouterr().err


def test_it_draws_a_line_a_network(here: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    words = ["evaluate", "net.tuned", "--data", "data.npz", "--samples", "8", "-q"]
    assert run([*words, "--plot", "a.svg"]) == 0
    assert "<svg" in Path("a.svg").read_text("utf-8")
    assert run([*words, "--plot", "a.txt"]) == 2


BAD = {
    "no cut": (["net.py:net", "--data", "data.npz"], "'net.py:net' has no cut[^$]*--cut"),
    "no labels": (["net.tuned", "--data", "bare.npz"], "'bare.npz' has no labels[^$]*labels"),
    "a rate": (["net.tuned", "--data", "data.npz", "--loss", "100%"], "less than 1|share"),
    "no file": (["net.tuned", "--data", "no.npz"], "no.npz"),
    "no function": (["net.tuned", "--data", "data.py:loader"], "no function 'loader'"),
    "twice": (["net.tuned", "net.tuned", "--data", "data.npz"], "one thing twice"),
    "no samples": (
        ["net.py:net", "--cut", "relu", "--bits", "8", "--data", "data.npz"], "--calibrate FILE",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_evaluated_is_named(case: str, here: Path, capsys: Capture) -> None:
    import re

    np.savez("bare.npz", input=np.zeros((2, 1, 8, 8), np.float32))
    words, match = BAD[case]
    assert run(["evaluate", *words]) == 2
    error = capsys.readouterr().err
    assert re.search(match, error), error


def test_a_route_of_a_bundle_is_a_network_of_its_own(routed: Bundle, tmp_path: Path) -> None:
    x = np.random.default_rng(0).random((6, 3, 12, 12), np.float32)
    with of_bundle(routed.path) as routes:
        labels = [int(routed.run(each[None])["y"].argmax()) for each in x]
        np.savez(tmp_path / "data.npz", x=x, labels=np.array(labels))
        read = tmp_path / "data.npz"
        found = evaluate(routes, lambda one: read_samples(read, one), (0.0,))
    assert [one.name for one in found.subjects] == [
        f"routed.splitc {route.name}" for route in routed.manifest.routes
    ]
    assert found.points[0].accuracy == 1.0
    with pytest.raises(UsageError, match="less than 1"):
        evaluate(found.subjects, lambda one: read_samples(read, one), (1.0,))
