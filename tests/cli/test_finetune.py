# SPDX-License-Identifier: Apache-2.0
"""`splitc finetune`: from a Python file to a folder that can be compiled; errors by name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("safetensors", reason="needs safetensors")

from splitc.cli.app import run  # noqa: E402
from splitc.finetune.manifest import read_manifest  # noqa: E402
from splitc.frontend import userfile  # noqa: E402
from tests.helpers import ROOT, model_of, save  # noqa: E402

Capture = pytest.CaptureFixture[str]

FILE = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

def net():
    module = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
                           nn.Flatten(), nn.Linear(288, 4))
    return module, torch.zeros(1, 2, 6, 6)

def blobs(count, seed):
    source = torch.Generator().manual_seed(seed)
    means = torch.randn(4, 2, 6, 6, generator=torch.Generator().manual_seed(9))
    classes = torch.arange(count) % 4
    return TensorDataset(means[classes] + torch.randn(count, 2, 6, 6, generator=source), classes)

def loaders():
    return DataLoader(blobs(64, 0), 16, shuffle=True), DataLoader(blobs(32, 1), 16)

def wide():
    return [(torch.zeros(4, 2, 6, 7), torch.zeros(4, dtype=torch.int64))], loaders()[1]

def numbers():
    x, y = next(iter(loaders()[1]))
    return [(x, torch.randn(len(x), 4))] * 2, [(x, torch.randn(len(x), 4))]

def one():
    module = nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 1))
    return module, torch.zeros(1, 2, 6, 6)

def heights():
    x, y = next(iter(loaders()[1]))
    return [(x, torch.randn(len(x), 1))] * 2, [(x, torch.randn(len(x), 1))]

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.base = nn.Conv2d(2, 4, 3)
        self.boxes, self.scores = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        found = self.base(x)
        return self.boxes(found), self.scores(found)

def detector():
    return Two(), torch.zeros(1, 2, 6, 6)

def boxed():
    x, y = next(iter(loaders()[1]))
    batch = x, {"boxes": torch.zeros(len(x), 4, 4, 4), "scores": torch.ones(len(x), 2, 4, 4)}
    return [batch] * 2, [batch]

def box_loss(results, targets):
    boxes, scores = results
    return (boxes - targets["boxes"]).abs().mean() + (scores - targets["scores"]).square().mean()

def closeness(results, targets):
    return -(results[0] - targets["boxes"]).abs().mean()

def three():
    return 1, 2, 3

def late():
    open("data.ran", "w").close()
    return loaders()

def broken():
    return open("nowhere.npy")

def nan():
    x, y = next(iter(loaders()[1]))
    return [(x * float("nan"), y)], loaders()[1]

SIZE = 3
"""
MAIN = "from splitc.cli import main; main()"
RECIPE = "bottlenetpp(channels=2, codec_epochs=2, everything_epochs=1)"


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(userfile, "_loaded", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    (tmp_path / "mine.py").write_text(FILE, "utf-8")


def arguments(**change: str) -> list[str]:
    options = {"model": "mine.py:net", "recipe": RECIPE, "data": "mine.py:loaders", "cut": "2"}
    options |= change
    model = options.pop("model")
    return ["finetune", model, *[w for k, v in options.items() if v for w in (f"--{k}", v)]]


def test_it_trains_writes_a_folder_and_says_what_to_type_next(capsys: Capture) -> None:
    assert run(arguments()) == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert " ".join(lines[0].split()) == "stage epochs best loss before after metric before after"
    assert [line.split()[:2] for line in lines[1:3]] == [["codec", "2"], ["everything", "1"]]
    assert "wrote net.tuned/" in captured.out
    assert "Next: splitc compile net.tuned --target rpi4" in captured.out
    assert max(map(len, lines)) <= 80
    assert "splitc: codec: epoch 2 of 2: loss" in captured.err
    assert not Path("net.tuned.checkpoint").exists()
    manifest = read_manifest("net.tuned")
    assert manifest.recipe.startswith('bottlenetpp(channels=2, cut="2"')
    assert [(e.stage, e.epoch) for e in manifest.history] == [
        ("codec", 0), ("codec", 1), ("codec", 2), ("everything", 0), ("everything", 1),
    ]  # fmt: skip


def test_json_is_one_object_and_progress_is_on_stderr(capsys: Capture) -> None:
    assert run([*arguments(), "--epochs", "1", "-o", "out", "--json"]) == 0
    captured = capsys.readouterr()
    got = json.loads(captured.out)
    assert "splitc: codec: epoch 1 of 1: loss" in captured.err
    assert (got["folder"], got["cut"]) == ("out", "2.code.levels")
    assert got["boundary"][0]["bytes"] == 2 * 3 * 3
    assert [(s["stage"], s["epochs"]) for s in got["stages"]] == [("codec", 1), ("everything", 1)]


def test_an_exported_program_is_trained_too(capsys: Capture) -> None:
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(128, 4)
    )
    torch.export.save(torch.export.export(net, (torch.zeros(1, 2, 6, 6),)), "own.pt2")
    recipe = "si-nr(epochs=1)"
    assert run(arguments(model="own.pt2", cut="1", recipe=recipe, output="a")) == 0
    captured = capsys.readouterr()
    assert "note: an exported program computes in train mode as in eval mode" in captured.err
    assert read_manifest("a").boundary == "1"


def test_an_onnx_network_is_trained_too() -> None:
    weights = np.random.default_rng(0).standard_normal((4, 2, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["y"], "flat"),
    ]
    save(model_of(nodes, {"input": [1, 2, 6, 6]}, ["y"], {"w": weights}), Path("own.onnx"))
    assert run([*arguments(model="own.onnx", cut="relu", output="a"), "-q"]) == 0
    assert read_manifest("a").boundary == "r.code.levels"


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        assert run([*arguments(recipe="si-nr(epochs=1)", output=name, seed=seed), "-q"]) == 0
    stored = [Path(name, "weights.safetensors").read_bytes() for name in "abc"]
    assert stored[0] == stored[1] != stored[2]


def test_a_stopped_run_is_resumed_to_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run([*arguments(output="whole"), "-q"]) == 0
    stop = (
        "import os\nfrom mine import *\nfrom mine import loaders as good\ncount = 0\n"
        + """
class Dies:
    def __iter__(self):
        global count
        count += 1
        if count == 3:
            os.kill(os.getpid(), 9)
        return iter(good()[0])

def loaders():
    return Dies(), good()[1]
"""
    )
    Path("dies.py").write_text(stop, "utf-8")
    words = arguments(data="dies.py:loaders", output="part")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *words], check=False, env=environment, capture_output=True
    )
    assert done.returncode == -9, done.stderr[-2000:]
    assert Path("part.checkpoint", "state.json").is_file()
    assert not Path("part").exists()
    assert run([*arguments(output="part"), "-q"]) == 2
    assert run([*arguments(output="part"), "-q", "--resume"]) == 0
    weights = [Path(n, "weights.safetensors").read_bytes() for n in ("whole", "part")]
    assert weights[0] == weights[1]


BAD: dict[str, tuple[dict[str, str], int, str]] = {
    "no such model": ({"model": "ours.py:net"}, 2, "no file 'ours.py'[^$]*'mine.py'"),
    "no function": ({"model": "mine.py:nett"}, 2, "no function 'nett' in 'mine.py'[^$]*'net'"),
    "no function named": ({"data": "mine.py"}, 2, "is no function in a Python file[^$]*loaders"),
    "no number": ({"data": "mine.py:SIZE"}, 2, "no function 'SIZE'"),
    "no recipe": ({"recipe": "bottlenet(channels=2)"}, 2, "no 'bottlenet' among the recipes"),
    "no cut": ({"cut": ""}, 2, r"needs a cut[^$]*--cut LAYER; `splitc cuts mine\.py:net`"),
    "no layer": ({"cut": "conv9"}, 5, "there is no layer 'conv9'"),
    "wide codec": ({"recipe": "bottlenetpp(channels=9)"}, 2, "channels 9 is not in 1 to 8"),
    "three values": ({"data": "mine.py:three"}, 2, "--data: the function has to return two"),
    "wrong shapes": ({"data": "mine.py:wide"}, 2, "train: input 'input' is 4x2x6x7 float32"),
    "its own error": ({"data": "mine.py:broken"}, 2, r"broken\(\) fails[^$]*mine.py:\d+[^$]*npy"),
    "NaN": ({"data": "mine.py:nan"}, 2, "the loss is nan[^$]*stage 'codec', epoch 1, batch 1"),
    "no shares": ({"data": "mine.py:numbers"}, 2, "floats that are no shares[^$]*--loss mse"),
    "one class": (
        {"data": "mine.py:heights", "model": "mine.py:one", "cut": "1"},
        2, "floats for one class[^$]*is 0 whatever[^$]*--loss mse",
    ),
    "two results": (
        {"data": "mine.py:boxed", "model": "mine.py:detector", "cut": "base"},
        2, "takes one result[^$]*--loss FILE.py:FUNCTION",
    ),
    "no such loss": ({"loss": "hinge"}, 2, "loss 'hinge' is unknown"),
    "no loss function": ({"loss": "mine.py:box_los"}, 2, "no function 'box_los'[^$]*box_loss"),
    "device": ({"device": "gpu"}, 6, "there is no device 'gpu'"),
    "output": ({"output": "mine.py"}, 2, "cannot write 'mine.py'[^$]*choose another"),
    "no parent": ({"output": "no/where"}, 2, "there is no folder 'no'"),
    "model returns one": ({"model": "mine.py:broken"}, 2, "MODEL: broken\\(\\) fails"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_a_named_error_and_writes_nothing(case: str, capsys: Capture) -> None:
    import re

    change, code, match = BAD[case]
    assert run([*arguments(**change), "--json"]) == code
    error: dict[str, Any] = json.loads(capsys.readouterr().out)
    text = "\n".join(str(error[key]) for key in ("what", "at", "why", "hint"))
    assert re.search(match, text), text
    assert [p.name for p in Path().glob("*.tuned")] == []


@pytest.mark.parametrize(
    "change", [{"cut": "conv9"}, {"cut": ""}, {"recipe": "bottlenetpp(channels=9)"}]
)
def test_the_cut_is_checked_before_the_data_function_runs(change: dict[str, str]) -> None:
    assert run(arguments(data="mine.py:late", **change)) in (2, 5)
    assert not Path("data.ran").exists()
    assert run(["finetune", "mine.py:net", "--recipe", "si-nr(epochs=1)", "--cut", "2", "-q",
                "--data", "mine.py:late"]) == 0  # fmt: skip
    assert Path("data.ran").exists()


def test_cuts_inspect_and_compile_take_the_function_that_finetune_takes(capsys: Capture) -> None:
    assert run(["cuts", "mine.py:net", "--json"]) == 0
    assert '"2"' in capsys.readouterr().out
    assert run(["inspect", "mine.py:net", "--text"]) == 0
    assert "1x8x6x6" in capsys.readouterr().out
    words = ["compile", "mine.py:net", "--cut", "2", "--target", "host", "--runtime", "none", "-q"]
    assert run([*words, "--no-check"]) == 0
    assert Path("net.splitc", "manifest.json").is_file()
    assert run(["cuts", "mine.py:net", "--input", "input:2x2x6x6"]) == 2
    assert "--input does nothing to a module" in capsys.readouterr().err


def test_a_codec_that_onnx_cannot_hold_names_the_option_that_converts(capsys: Capture) -> None:
    weights = np.ones((4, 2, 3, 3), np.float32)
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["y"], "pool"),
    ]
    save(model_of(nodes, {"input": [1, 2, 6, 6]}, ["y"], {"w": weights}), Path("own.onnx"))
    words = ["compile", "own.onnx", "--cut", "relu", "--codec", "insert-bottleneck(channels=2)",
             "--target", "host", "--runtime", "none", "-q"]  # fmt: skip
    assert run(words) != 0
    assert "--to-torch" in capsys.readouterr().err
    assert run([*words, "--to-torch"]) == 0
    assert Path("own.splitc", "manifest.json").is_file()


def test_a_network_of_several_results_is_trained_by_a_loss_of_the_users(capsys: Capture) -> None:
    words = arguments(model="mine.py:detector", data="mine.py:boxed", cut="base", recipe="si-nr",
                      loss="mine.py:box_loss", metric="mine.py:closeness")  # fmt: skip
    assert run([*words, "--epochs", "3"]) == 0
    shown = capsys.readouterr().out
    assert "closeness" in shown
    assert "Validation of all ran with link_dropout on" in shown
    history = read_manifest("detector.tuned").history
    assert history[-1].validation_loss < history[0].validation_loss


def test_numbers_are_trained_by_the_squared_error() -> None:
    words = arguments(
        model="mine.py:one", data="mine.py:heights", cut="1", recipe="si-nr(epochs=1)"
    )
    assert run([*words, "--loss", "mse", "-q"]) == 0
    assert all(record.validation_loss > 0 for record in read_manifest("one.tuned").history)


def test_a_finished_result_is_replaced_only_by_force(capsys: Capture) -> None:
    words = [*arguments(recipe="si-nr(epochs=1)"), "-q"]
    assert run(words) == 0
    before = Path("net.tuned", "weights.safetensors").read_bytes()
    assert run([*words, "--seed", "1"]) == 2
    assert "--force replaces it" in capsys.readouterr().err
    assert Path("net.tuned", "weights.safetensors").read_bytes() == before
    assert run([*words, "--seed", "1", "--force"]) == 0
    assert Path("net.tuned", "weights.safetensors").read_bytes() != before


def test_resuming_a_finished_run_does_nothing(capsys: Capture) -> None:
    words = arguments(recipe="si-nr(epochs=1)", data="mine.py:late")
    assert run([*words, "--json"]) == 0
    first = json.loads(capsys.readouterr().out)
    Path("data.ran").unlink()
    assert run([*words, "--resume"]) == 0
    assert "net.tuned/ is finished" in capsys.readouterr().out
    assert run([*words, "--resume", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert not Path("data.ran").exists()
    assert (again["stages"], again["history"]) == (first["stages"], first["history"])


CHANGED = {
    "channels 4, was 2": ["--recipe", RECIPE.replace("channels=2", "channels=4")],
    "recipe si-nr, was bottlenetpp": ["--recipe", "si-nr"],
    "epochs 9, was none; seed 3, was 0": ["--seed", "3", "--epochs", "9"],
    "cut 0, was 2": ["--recipe", RECIPE, "--cut", "0"],
}


def test_a_run_that_begins_names_the_option_that_it_lacks(capsys: Capture) -> None:
    assert run(["finetune", "mine.py:net", "--data", "mine.py:loaders", "--resume"]) == 2
    assert "finetune needs --recipe" in capsys.readouterr().err


def test_a_run_that_is_interrupted_names_the_option_that_goes_on(capsys: Capture) -> None:
    stop = """
from mine import *
from mine import loaders as good
passes = []

class Stops:
    def __iter__(self):
        passes.append(1)
        if len(passes) == 3:
            raise KeyboardInterrupt
        return iter(good()[0])

def loaders():
    return Stops(), good()[1]
"""
    Path("stops.py").write_text(stop, "utf-8")
    assert run(arguments(data="stops.py:loaders")) == 130
    said = capsys.readouterr().err
    kept = "its epochs are kept in net.tuned.checkpoint; to go on: splitc finetune mine.py:net"
    assert f"{kept} --resume" in said
    for change, words in CHANGED.items():
        assert run(["finetune", "mine.py:net", "--resume", "-q", *words]) == 2
        assert f"the checkpoint is of another run: {change}\n" in capsys.readouterr().err
    assert run(["finetune", "mine.py:net", "--resume", "-q"]) == 0
    assert read_manifest("net.tuned").recipe.startswith('bottlenetpp(channels=2, cut="2"')
    assert not Path("net.tuned.checkpoint").exists()


def test_a_file_that_does_not_run_names_the_line(capsys: Capture) -> None:
    Path("typo.py").write_text("x = 1\ny = (\n", "utf-8")
    assert run(arguments(data="typo.py:loaders")) == 2
    error = capsys.readouterr().err
    assert "'typo.py' does not run" in error
    assert "typo.py:2" in error


def test_a_file_that_lacks_pytorch_says_what_brings_it(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("module.py").write_text("import torch\n", "utf-8")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert run(["cuts", "module.py:net"]) == 2
    assert "hint: pip install 'splitc[torch]'" in capsys.readouterr().err


def test_help_says_that_the_file_is_run(capsys: Capture) -> None:
    assert run(["finetune", "--help"]) == 0
    assert "run as a" in capsys.readouterr().out


def test_recipes_are_listed_and_explained(capsys: Capture) -> None:
    assert run(["passes"]) == 0
    listed = capsys.readouterr().out
    assert "Recipes for `splitc finetune`" in listed
    assert listed.index("insert-dropout") < listed.index("bottlenetpp") < listed.index("si-nr")
    assert run(["passes", "si-nr"]) == 0
    assert "GLOBECOM" in capsys.readouterr().out
