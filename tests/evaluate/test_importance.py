# SPDX-License-Identifier: Apache-2.0
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Importance of layers against Grad-CAM by hooks and autograd, and the cutter that goes by it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch")

from splitc.cli.app import run  # noqa: E402
from splitc.errors import DataError, UsageError  # noqa: E402
from splitc.evaluate import Samples, importance  # noqa: E402
from splitc.frontend import load, userfile  # noqa: E402
from splitc.frontend.torch.model import TorchModel  # noqa: E402
from splitc.ir.proof import Enumerated  # noqa: E402
from splitc.ir.text import parse_graph  # noqa: E402
from splitc.search.cutter import Cutter  # noqa: E402
from splitc.search.importance import (  # noqa: E402
    Importance,
    read_importance,
    write_importance,
)
from tests.docs.fixtures import DATA, NET  # noqa: E402
from tests.search.test_cutters import CHAIN, SCENARIO  # noqa: E402

Capture = pytest.CaptureFixture[str]


class Block(torch.nn.Module):
    """Convolutions with a skip, a ReLU that works in place, a classifier and its softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.one = torch.nn.Conv2d(2, 6, 3, padding=1)
        self.act = torch.nn.ReLU(inplace=True)
        self.two = torch.nn.Conv2d(6, 6, 3, padding=1)
        self.pool = torch.nn.AdaptiveAvgPool2d(1)
        self.fc = torch.nn.Linear(6, 4)
        self.softmax = torch.nn.Softmax(dim=1)

    def forward(self, x: Any) -> Any:
        a = self.act(self.one(x))
        return self.softmax(self.fc(torch.flatten(self.pool(self.two(a) + a), 1)))


def by_hooks(net: Any, x: Any, label: int, names: list[str]) -> dict[str, float]:
    """Grad-CAM as the papers write it, of the outputs of some modules, by plain autograd."""
    held: dict[str, Any] = {}

    def keep(name: str) -> Any:
        def hook(_module: Any, _inputs: Any, made: Any) -> Any:
            held[name] = made
            made.retain_grad()
            return made.clone()  # the next one may work in place

        return hook

    modules = dict(net.named_modules())
    hooks = [modules[name].register_forward_hook(keep(name)) for name in names]
    net.eval()
    net(x)
    held["fc"].flatten()[label].backward()
    for each in hooks:
        each.remove()
    found: dict[str, float] = {}
    for name in names:
        made, slope = held[name].detach().numpy(), held[name].grad.numpy()
        space = tuple(range(2, made.ndim))
        alpha = slope.mean(axis=(0, *space))
        weighed = np.einsum("nk...,k->n...", made, alpha)
        seen = np.maximum(weighed, 0)
        found[name] = abs(seen.sum()) / seen.size
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """net.py, data.py and data.npz."""
    place = tmp_path_factory.mktemp("importance")
    (place / "net.py").write_text(NET, "utf-8")
    (place / "data.py").write_text(DATA, "utf-8")
    draw = np.random.default_rng(0)
    frames = draw.normal(size=(6, 1, 8, 8)).astype(np.float32)
    np.savez(place / "data.npz", input=frames, labels=np.arange(6) % 2)
    return place


def test_it_is_what_hooks_and_autograd_find_sample_by_sample() -> None:
    torch.manual_seed(0)
    net = Block()
    model = load(net, torch.zeros(1, 2, 7, 5))
    assert isinstance(model, TorchModel)
    frames, labels = torch.randn(5, 1, 2, 7, 5), [0, 3, 1, 2, 2]
    given = [{model.graph.inputs[0].name: one.numpy()} for one in frames]
    before = [each.clone() for each in net.state_dict().values()]
    found = importance(model, Samples(given, labels))
    names = ["one", "act", "two", "pool", "fc"]
    every = [by_hooks(net, x, label, names) for x, label in zip(frames, labels, strict=True)]
    for name in names:
        expected = sum(one[name] for one in every) / len(every)
        assert found.layers[name] == pytest.approx(expected, rel=1e-4), name
    assert any(found.layers[name] > 0 for name in names)
    assert found.samples == 5
    now = net.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(before, now, strict=True))


def test_what_has_no_scores_of_classes_is_refused() -> None:
    model = load(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3)), torch.zeros(1, 1, 8, 8))
    assert isinstance(model, TorchModel)
    with pytest.raises(UsageError, match="one score for each class"):
        importance(model, Samples([], []))
    plain = load(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3)),
                 torch.zeros(1, 1, 2, 2))  # fmt: skip
    assert isinstance(plain, TorchModel)
    frame = {plain.graph.inputs[0].name: np.zeros((1, 1, 2, 2), np.float32)}
    with pytest.raises(DataError, match="label 3 of sample 0 is no class"):
        importance(plain, Samples([frame], [3]))


def measured(**layers: float) -> Importance:
    return Importance(
        schema=1, kind="splitc-importance", network="chain", samples=1, layers=dict(layers)
    )


def test_peaks_are_local_maxima_and_the_first_of_what_is_level() -> None:
    graph = parse_graph(CHAIN)
    for layers, expected in (
        ({"a": 1.0, "b": 3.0, "c": 2.0}, ["b"]),
        ({"a": 2.0, "b": 1.0, "c": 4.0}, ["a", "c"]),
        ({"a": 1.0, "b": 5.0, "c": 5.0}, ["b"]),
        ({"a": 5.0, "b": 5.0, "c": 6.0}, ["c"]),
        ({"a": 1.0, "b": 1.0, "c": 1.0}, ["a"]),
    ):
        assert [cut.name for cut in measured(**layers).peaks(graph)] == expected


def test_the_cutter_takes_the_best_peak_or_weighs_importance(tmp_path: Path) -> None:
    file = tmp_path / "importance.json"
    write_importance(file, measured(a=1.0, b=9.0, c=2.0))
    graph = parse_graph(CHAIN)
    problem = SCENARIO.problem(graph)
    limit = Cutter.parse(f'i-split(importance="{file}")').solve(problem)
    assert limit.where.cut.name == "b"
    assert isinstance(limit.proof, Enumerated)
    assert (limit.proof.count, limit.proof.value) == (1, problem.value(limit.where))
    share = {"a": 1 / 9, "b": 1.0, "c": 2 / 9}
    for weight in (0.5, 3.0, 100.0):
        text = f'i-split(importance="{file}", weight={weight})'
        found = Cutter.parse(text).solve(problem)
        rows = {row.cut.name: row.cost.latency_s
                for row in (problem.row(cut) for cut in cuts_of(graph))}  # fmt: skip
        sums = {name: took * (1 + weight * (1 - share[name])) for name, took in rows.items()}
        assert found.where.cut.name == min(sums, key=lambda name: sums[name])
        assert found.proof.value == pytest.approx(min(sums.values()))


def cuts_of(graph: Any) -> list[Any]:
    from splitc.search.enumerate import single_cuts

    return [*single_cuts(graph)]


def test_files_that_are_none_or_of_another_network_are_refused(tmp_path: Path) -> None:
    graph, file = parse_graph(CHAIN), tmp_path / "i.json"
    with pytest.raises(UsageError, match="there is no importance"):
        read_importance(file, graph)
    for text in ("{", "{}", '{"schema":1,"kind":"splitc-importance","network":"n","samples":0,'
                 '"layers":{}}', '{"schema":1,"kind":"splitc-importance","network":"n","samples":1,'
                 '"layers":{"a":-1}}'):  # fmt: skip
        file.write_text(text, "utf-8")
        with pytest.raises(UsageError, match="is no importance of layers"):
            read_importance(file, graph)
    write_importance(file, measured(other=1.0))
    with pytest.raises(UsageError, match="is of another network"):
        read_importance(file, graph)
    problem = replace(SCENARIO.problem(graph))
    with pytest.raises(UsageError, match="cannot solve this"):
        Cutter.parse("i-split").solve(problem)
    with pytest.raises(UsageError, match="weight=-1"):
        Cutter.parse("i-split(weight=-1)")


def test_the_verb_writes_a_file_that_cuts_takes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(userfile, "_loaded", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert run(["importance", "net.py:net", "--data", "data.npz", "--json", "-q"]) == 0
    got = json.loads(capsys.readouterr().out)
    assert got["samples"] == 6
    assert [one["cut"] for one in got["cuts"]] == [
        "layer1.0", "layer1.1", "layer2", "relu", "pool", "flatten",
    ]  # fmt: skip
    words = ["importance", "net.py:net", "--data", "data.py:loaders", "-q", "--plot", "i.png"]
    assert run([*words, "--samples", "5"]) == 0
    assert "on 5 samples" in capsys.readouterr().out
    assert Path("i.png").read_bytes().startswith(b"\x89PNG")
    cutter = 'i-split(importance="importance.json")'
    assert run(["cuts", "net.py:net", "--cutter", cutter, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["proof"]["kind"].startswith("cuts right after a")
    assert run(["importance", "net.py:net", "--data", "none.npz"]) == 2
