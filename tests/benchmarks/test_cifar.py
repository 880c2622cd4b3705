# SPDX-License-Identifier: Apache-2.0
"""The experiments on CIFAR, in small, on images made here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs torch")
pytest.importorskip("PIL", reason="needs Pillow")

import splitc  # noqa: E402
from benchmarks.cifar import NETWORKS  # noqa: E402
from splitc.passes.crossing import crossing_tensor  # noqa: E402
from tests.benchmarks import cifar_like  # noqa: E402
from tests.helpers import ROOT  # noqa: E402
from tests.net.namespaces import why_not  # noqa: E402
from tests.once import once  # noqa: E402


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return once(tmp_path_factory, "cifar", cifar_like.write)


def run(name: str, data: Path, out: Path, *options: str) -> tuple[str, dict[str, Any]]:
    """What an experiment prints, and its figures."""
    written = out / "figures.json"
    command = [sys.executable, f"benchmarks/{name}.py", "--data", str(data), "--out", str(out),
               "--json", str(written), *options]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(written.read_text("utf-8"))


def test_dropout_in_training_makes_a_network_bear_losses(data: Path, tmp_path: Path) -> None:
    options = ("--points", "layer1", "--rates", "0,mixed", "--epochs", "2",
               "--test-images", "200")  # fmt: skip
    shown, figures = run("si_nr_cifar10", data, tmp_path, *options)
    untuned, tuned = (each["accuracy"] for each in figures["results"])
    assert untuned["0"] > 90, "the network did not learn the images: the rest says nothing"
    assert min(untuned["0.8"], untuned["0.9"]) < 80
    assert tuned["0.8"] > untuned["0.8"]
    assert "layer1   at 0.2:" in shown
    assert "65.5" in shown, "kB of the boundary, 16x32x32 floats"
    again, kept = run("si_nr_cifar10", data, tmp_path, *options)
    assert again.splitlines()[:3] == shown.splitlines()[:3]
    assert kept == figures, "results, with the minutes they took, are not computed again"


def test_networks_trained_for_losses_are_tested_planned_for_and_tried_out(
    data: Path, tmp_path: Path
) -> None:
    options = ("--points", "layer2", "--rates", "0,mixed", "--epochs", "1", "--test-images", "100",
               "--images", "500", "--frames", "100")  # fmt: skip
    shown, figures = run("loss_plan", data, tmp_path, *options)
    tested = splitc.read_tested(tmp_path / "tested.json")
    assert [(one.dropout_rate, one.bits) for one in tested] == [
        (rate, bits) for rate in ("0", "mixed") for bits in (32, 16, 8, 4)
    ]
    assert all(set(one.accuracy) == {k / 10 for k in range(10)} for one in tested)
    assert tested[0].accuracy[0.0] > 90 and tested[2].accuracy[0.0] > 90
    for plan in figures["plans"]:
        assert plan["kept"][1] >= plan["share"]
        assert plan["accuracy"] >= plan["alone"]
        assert abs(plan["accuracy"] - plan["real"]) < 15
    assert shown.count("above the best knob alone") == len(figures["plans"])


def test_codecs_are_trained_and_compared(data: Path, tmp_path: Path) -> None:
    shown, figures = run(
        "bottlenetpp_cifar", data, tmp_path, "--points", "layer3", "--codec-epochs", "6",
        "--epochs", "0", "--cases", "16-by-erasure,-4-by-awgn,baselines", "--test-images", "200",
    )  # fmt: skip
    rows = {tuple(r["case"][k] for k in ("tested", "channels", "state", "varied")): r
            for r in figures["results"]}  # fmt: skip
    assert rows["erasure", 16, "none", False]["ratio"] == 64
    assert rows["awgn", 4, "none", False]["ratio"] == 64
    assert {key[2] for key in rows if key[3]} == {"none", "known", "assumed"}
    for row in rows.values():
        assert row["unsplit"] - max(row["accuracy"].values()) < 30, row
    coders = {line.split("  ")[0]: [float(v) for v in line.split()[-2:]]
              for line in shown.splitlines() if line.startswith("layer3, ")}  # fmt: skip
    ratios = [coders[f"layer3, {bits} bits, Huffman"][0] for bits in (8, 4, 3, 2)]
    assert ratios == sorted(ratios)
    assert ratios[0] >= 2, "eight bits of 32, at half the rate, and what Huffman saves"
    assert abs(coders["layer3, 8 bits, Huffman"][1]) < 1
    assert coders["layer3, JPEG 5"][0] > coders["layer3, JPEG 90"][0] > 1
    assert any(name.startswith("layer3, BottleNet 16, JPEG") for name in coders)


@pytest.mark.parametrize(
    ("name", "point", "shape"),
    [("vgg16", "block4", (512, 2, 2)), ("resnet50", "layer4", (2048, 2, 2)),
     ("paper", "block1", (64, 16, 16)), ("resnet56", "layer3", (64, 8, 8))],
)  # fmt: skip
def test_the_networks_have_the_papers_boundaries(
    name: str, point: str, shape: tuple[int, ...]
) -> None:
    network = NETWORKS[name]
    model = splitc.load(network.make(100).eval(), torch.zeros(1, 3, 32, 32))
    assert crossing_tensor(model, network.points[point]).static_shape == (1, *shape)
    assert model.graph.output_tensors[0].static_shape == (1, 100)


def test_a_network_without_weights_is_trained_first(tmp_path: Path) -> None:
    data = cifar_like.write(tmp_path / "data", classes=100, strips=1, weights=False)
    shown, figures = run(
        "bottlenetpp_cifar", data, tmp_path, "--dataset", "cifar100", "--network", "vgg16",
        "--points", "block4", "--base-epochs", "1", "--images", "32", "--test-images", "20",
        "--codec-epochs", "1", "--epochs", "1", "--cases", "128-by-erasure-", "--soft", "0.5",
    )  # fmt: skip
    assert "cifar100, vgg16 trained" in shown
    assert [row["ratio"] for row in figures["results"]] == [64.0] * 3
    assert (tmp_path / "cifar100-vgg16-1.safetensors").is_file()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_the_papers_networks_are_not_trained_without_a_gpu(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/papers_on_gpu.py", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 8
    assert done.stderr.startswith("papers_on_gpu: nothing is trained: no device 'cuda': ")
    assert "--device cpu --quick rehearses it" in done.stderr


@pytest.mark.slow
def test_the_papers_networks_are_rehearsed_on_a_processor(tmp_path: Path) -> None:
    data = cifar_like.write(tmp_path / "data", classes=100, strips=1, weights=False)
    command = [
        sys.executable, "benchmarks/papers_on_gpu.py", "--data", str(data), "--out", str(tmp_path),
        "--networks", "vgg16", "--papers", "bottlenetpp", "--quick", "--device", "cpu",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "== bottlenetpp-vgg16" in done.stdout
    figures = json.loads((tmp_path / "bottlenetpp-vgg16.json").read_text("utf-8"))
    (wire,) = (row for row in figures["results"] if row["case"]["tested"] == "wire")
    # Of 128 bytes 96 are headers; a channel of the code is one byte, as it is of one place.
    assert wire["case"]["channels"] == 32
    assert wire["accuracy"].keys() == {"0", "0.2"}
    assert "one packet a frame" in done.stdout


def test_accuracy_over_a_link_that_loses_packets_is_what_the_channel_says(
    data: Path, tmp_path: Path
) -> None:
    if why := why_not():
        pytest.skip(why)
    _, figures = run(
        "live_accuracy", data, tmp_path, "--test-images", "400", "--loss", "60", "--point", "layer1"
    )
    assert figures["share"] == pytest.approx(0.4, abs=0.02)
    # Of 400 images a point is 4: what losses of other packets make of them differs by a few.
    assert figures["link"] == pytest.approx(figures["layer"], abs=4)
    assert figures["layer"] > 50, "the network knows nothing: the rest says nothing"
