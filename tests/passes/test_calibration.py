# SPDX-License-Identifier: Apache-2.0
"""Quantised boundaries of ONNX networks: ranges out of an .npz file, prices, the bundle."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from splitc.bundle.bundle import Bundle
from splitc.cli.app import run
from splitc.errors import UsageError
from splitc.ir.graph import Tensor
from splitc.passes.calibration import read_batches

Capture = pytest.CaptureFixture[str]
INPUTS = (Tensor("x", (1, 3, 4)), Tensor("m", (5,), "int64"))
Arrays = dict[str, "np.ndarray[Any, np.dtype[Any]]"]


def arrays(count: int = 2) -> Arrays:
    rng = np.random.default_rng(0)
    return {
        "x": rng.standard_normal((count, 3, 4)).astype(np.float32),
        "m": rng.integers(0, 2, (count, 5)),
    }


@pytest.fixture
def samples(tmp_path: Path) -> Callable[..., Path]:
    """Write arrays as an .npz file."""

    def write(**given: Any) -> Path:
        path = tmp_path / "samples.npz"
        np.savez(path, **given)
        return path

    return write


def test_samples_lie_along_a_first_axis_of_their_own_or_the_batch_axis(
    samples: Callable[..., Path],
) -> None:
    given = arrays(2)
    for x in (given["x"], given["x"][:, None]):
        batches = read_batches(samples(x=x, m=given["m"]), INPUTS)
        assert [batch["x"].shape for batch in batches] == [(1, 3, 4)] * 2
        np.testing.assert_array_equal(batches[1]["x"][0], given["x"][1])
        np.testing.assert_array_equal(batches[1]["m"], given["m"][1])
    (one,) = read_batches(samples(x=given["x"][:1], m=given["m"][0]), INPUTS)
    assert (one["x"].shape, one["m"].shape) == ((1, 3, 4), (5,))


BAD: dict[str, tuple[Arrays, str]] = {
    "an input is missing": ({"x": arrays()["x"]}, "no array for input 'm'"),
    "a name too many": ({**arrays(), "xx": np.zeros(1)}, "did you mean 'x'"),
    "another shape": ({**arrays(), "x": np.zeros((2, 4, 4), np.float32)}, "it is 2x4x4 float32"),
    "another dtype": ({**arrays(), "x": np.zeros((2, 3, 4))}, "it is 2x3x4 float64"),
    "other counts": ({**arrays(), "m": np.zeros((3, 5), np.int64)}, "different numbers"),
    "none": (arrays(0), "or none"),
}


@pytest.mark.parametrize("case", BAD)
def test_arrays_that_do_not_fit_are_refused(case: str, samples: Callable[..., Path]) -> None:
    given, match = BAD[case]
    with pytest.raises(UsageError, match=match):
        read_batches(samples(**given), INPUTS)


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("trapped").touch, ())


def test_a_file_that_is_no_npz_or_hides_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="there is no file"):
        read_batches("nothing.npz", INPUTS)
    Path("text.npz").write_text("x", "utf-8")
    with pytest.raises(UsageError, match=r"is no \.npz file"):
        read_batches("text.npz", INPUTS)
    with zipfile.ZipFile("trap.npz", "w") as archive:
        header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
        magic = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
        archive.writestr("x.npy", magic + header + pickle.dumps([Trap()]))
    with pytest.raises(UsageError, match=r"is no \.npz file"):
        read_batches("trap.npz", INPUTS)
    assert not Path("trapped").exists()


def test_a_file_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(
    samples: Callable[..., Path],
) -> None:
    with pytest.raises(UsageError, match="it unpacks to .* bytes, the limit is 100"):
        read_batches(samples(**arrays()), INPUTS, max_bytes=100)


def test_an_onnx_network_is_quantised_at_the_best_cut_from_the_command_line(
    small_onnx: Path, samples: Callable[..., Path], tmp_path: Path, capsys: Capture
) -> None:
    x = np.random.default_rng(1).standard_normal((4, 3, 12, 12)).astype(np.float32)
    file, codec = samples(x=x), "quantize-boundary(bits=4)"
    shared = [str(small_onnx), "--no-simplify", "--codec", codec, "--json"]
    assert run(["cuts", *shared]) == 0
    priced = json.loads(capsys.readouterr().out)
    out = str(tmp_path / "q.splitc")
    assert run(["compile", *shared, "--calibrate", str(file), "--emit", "onnx", "-o", out]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["chosen"]["cut"] == priced["best"]
    assert made["chosen"]["latency_ms"] == priced["cuts"][0]["latency_ms"]
    bundle = Bundle.open(out)
    (crosses,) = bundle.manifest.route.crosses
    assert crosses.dtype == "uint8"
    plain = {row["cut"]: row for row in made["table"]["cuts"]}[priced["best"]]
    assert crosses.bytes == plain["boundary_bytes"]
    assert bundle.manifest.route.codec is not None
    assert "bits=4, low=" in bundle.manifest.route.codec.pipeline
    assert bundle.verify().passed
    ort: Any = onnxruntime
    session = ort.InferenceSession(str(small_onnx), providers=["CPUExecutionProvider"])
    expected = np.stack([session.run(["y"], {"x": one[None]})[0] for one in x])
    assert np.abs(bundle.run(x[:, None])["y"] - expected).max() < 0.1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--calibrate", "FILE"], "--calibrate does nothing without --codec"),
        (["--codec", "quantize-boundary"], "give sample inputs, --calibrate FILE.npz"),
        (["--codec", "quantize-boundary(bits=17)"], "bits 17"),
        (["--codec", "quantise-boundary"], "did you mean 'quantize-boundary'"),
        (["--codec", "quantize-boundary", "--calibrate", "nothing.npz"], "there is no file"),
    ],
)
def test_mistakes_on_the_command_line_are_named(
    arguments: list[str], message: str, small_onnx: Path, samples: Callable[..., Path],
    tmp_path: Path, capsys: Capture,
) -> None:  # fmt: skip
    file = str(samples(x=np.zeros((1, 3, 12, 12), np.float32)))
    given = [file if part == "FILE" else part for part in arguments]
    out = tmp_path / "q.splitc"
    shared = [str(small_onnx), "--no-simplify", "--emit", "onnx", "-o", str(out)]
    assert run(["compile", *shared, *given]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not out.exists()


def test_passes_are_listed_with_their_options(capsys: Capture) -> None:
    assert run(["passes", "--json"]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)["passes"]}
    options = {one["name"]: one for one in listed["insert-bottleneck"]["options"]}
    assert (options["channels"]["required"], options["bits"]["default"]) == (True, 8)
    assert {"quantize-boundary", "insert-dropout"} <= listed.keys()
    assert run(["passes"]) == 0
    assert "channels  (must be given)" in capsys.readouterr().out
