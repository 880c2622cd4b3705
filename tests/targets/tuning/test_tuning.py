# SPDX-License-Identifier: Apache-2.0
# pyright: basic
from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, helper

from splitc.build import compiler
from splitc.build.backend import Tuning
from splitc.cli.app import run
from splitc.cost.board import load_board
from splitc.errors import DeviceError, ToolchainError, UsageError
from splitc_targets import pipeline
from splitc_targets.kernels import ways
from splitc_targets.kernels.choice import Choice
from splitc_targets.machine.machine import machine_of
from splitc_targets.machine.tiles import Tile
from splitc_targets.tuning import measure, tuner
from splitc_targets.tuning.candidates import candidates
from splitc_targets.tuning.database import Database, Record, database_path, name_of
from splitc_targets.tvm import adapter
from tests.helpers import model_of, save
from tests.targets.rpc import server

HOST = load_board("host")
pytestmark = pytest.mark.skipif(
    not HOST.processor.cpu.startswith("x86-64"), reason="code for x86-64 is run"
)


def network() -> ModelProto:
    """A 3x3 and a 1x1 convolution, a product of two tensors, and one by a constant."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> np.ndarray[Any, Any]:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    return model_of(
        [
            helper.make_node("Conv", ["x", "w1"], ["c1"], "wide", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c1"], ["r1"], "relu"),
            helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], "point"),
            helper.make_node("MatMul", ["c2", "r1"], ["m"], "pairs"),
            helper.make_node("GlobalAveragePool", ["m"], ["g"], "average"),
            helper.make_node("Flatten", ["g"], ["f"], "flatten"),
            helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], "classifier", transB=1),
        ],
        {"x": [2, 20, 18, 18]},
        ["y"],
        {
            "w1": weight(136, 20, 3, 3), "w2": weight(136, 136, 1, 1), "b2": weight(136, 1)[:, 0],
            "w3": weight(90, 136), "b3": weight(90, 1)[:, 0],
        },
    )  # fmt: skip


@pytest.fixture(scope="module")
def lowered() -> Any:
    return adapter.lower(network())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(network(), tmp_path_factory.mktemp("tuned") / "net.onnx")


@pytest.fixture(scope="module")
def job(path: Path) -> compiler.Job:
    return compiler.plan(path, cut="flatten", head="host")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPLITC_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(tuner, "_LEAST_SHARE", 0.0)
    monkeypatch.setattr(tuner, "_SECONDS", 0.1)
    return tmp_path / "cache" / "tuning"


@pytest.fixture
def steps() -> list[str]:
    """What the search said."""
    return []


def choice_of(product: Any, number: int) -> Choice:
    found = candidates(product, machine_of(HOST))
    return found[min(number, len(found) - 1)]


def claim(database: Database, lowered: Any, number: int) -> None:
    """Put down that each kernel's candidate of that number is the quickest."""
    for product in tuner.products_of(lowered, HOST):
        model, best = choice_of(product, 0), choice_of(product, number)
        database.add(Record(name_of(product), str(model), {str(model): 2.0, str(best): 1.0}))


def output(lowered: Any, choices: Any, x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    code = pipeline.compile_module(lowered, HOST, choices)
    return code.here()(x)[0]


def records(cache: Path) -> list[dict[str, Any]]:
    (file,) = cache.iterdir()
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def test_what_was_measured_is_kept_and_not_measured_again(
    lowered: Any, cache: Path, steps: list[str]
) -> None:
    tuned = tuner.tune(lowered, HOST, 30, "", steps.append)
    kept = records(cache)
    assert [r["kernel"] for r in kept] == [name_of(p) for p in tuner.products_of(lowered, HOST)]
    assert all(r["analytic"] in r["seconds"] and len(r["seconds"]) > 1 for r in kept)
    assert all(0 < s < 1 for r in kept for s in r["seconds"].values())
    assert sum("measuring" in step for step in steps) == len(kept)
    steps.clear()
    again = tuner.tune(lowered, HOST, 30, "", steps.append)
    assert again.database.records == tuned.database.records
    assert not any("measuring" in step for step in steps)
    assert records(cache) == kept


@pytest.mark.parametrize("number", range(1, 8))
def test_every_candidate_gives_onnxruntimes_result(
    number: int, lowered: Any, tmp_path: Path
) -> None:
    x = np.random.default_rng(1).standard_normal((2, 20, 18, 18), np.float32)
    session = onnxruntime.InferenceSession(network().SerializeToString())
    (wanted,) = session.run(None, {"x": x})
    database = Database(tmp_path / "claimed.jsonl", {})
    claim(database, lowered, number)
    np.testing.assert_allclose(output(lowered, database, x), np.asarray(wanted), atol=1e-4, rtol=0)


def test_the_same_database_gives_the_same_bytes_and_the_manifest_tells_the_choices(
    job: compiler.Job, lowered: Any, tmp_path: Path
) -> None:
    def built(name: str, tuning: Tuning | None) -> tuple[bytes, dict[str, str]]:
        bundle = compiler.build(job, runtime="none", output=tmp_path / name, tuning=tuning)
        manifest = json.loads((bundle.path / "head" / "manifest.json").read_text("utf-8"))
        return (bundle.path / "head" / "model.so").read_bytes(), manifest.get("tuned", {})

    plain, none = built("plain.splitc", None)
    assert none == {}
    claim(Database.open(database_path(HOST, adapter.version())), lowered, 7)
    first, chosen = built("first.splitc", Tuning(seconds=0))
    assert first == built("second.splitc", Tuning(seconds=0))[0]
    assert first != plain
    assert "winograd2" in chosen.values()


def test_an_interruption_keeps_what_was_measured(
    lowered: Any, cache: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([True, False])

    def measured(functions: list[Any], *_: Any) -> list[float]:
        if not next(times, True):
            raise KeyboardInterrupt
        return [1.0] * len(functions)

    monkeypatch.setattr(tuner, "_runner", lambda *_: None)
    monkeypatch.setattr(tuner, "kernel", lambda *_: None)
    monkeypatch.setattr(measure, "measure", measured)
    with pytest.raises(KeyboardInterrupt):
        tuner.tune(lowered, HOST, 30, "", steps.append)
    count = len(tuner.products_of(lowered, HOST))
    assert len(records(cache)) == 1
    steps.clear()
    tuner.tune(lowered, HOST, 30, "", steps.append)
    assert len(records(cache)) == count
    assert f"measuring kernel 1 of {count - 1}," in steps[0]


def test_a_line_cut_short_is_skipped_and_the_next_begins_a_new_one(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    one, two = (Record(k, "winograd4", {"winograd4": 1.0}) for k in ("one", "two"))
    Database(file, {}).add(one)
    with file.open("a", encoding="utf-8") as out:
        out.write('{"kernel": "thr')
    database = Database.open(file)
    assert list(database.records) == ["one"]
    database.add(two)
    assert Database.open(file).records == {"one": one, "two": two}


@pytest.mark.parametrize(
    ("seconds", "best"), [(0.9, Choice("winograd4")), (0.97, None), (1.0, None), (2.0, None)]
)
def test_a_choice_must_be_clearly_quicker_than_the_models(
    seconds: float, best: Choice | None
) -> None:
    record = Record("k", "winograd2", {"winograd2": 1.0, "winograd4": seconds})
    assert record.best == best


def test_what_a_database_says_of_no_known_choice_is_not_followed() -> None:
    record = Record("k", "winograd2", {"winograd2": 1.0, "winograd64": 0.1})
    assert record.best is None


@pytest.mark.parametrize("tile", ["99x8", "8x99", "0x1", "1x0"])
def test_a_tile_that_no_kernel_could_hold_is_not_followed(tile: str) -> None:
    assert Choice.parse(f"direct {tile} pixels outer") is None


@pytest.mark.parametrize(
    "choice",
    [Choice("winograd2"), Choice("direct", Tile(14, 2), True), Choice("matmul", Tile(1, 8))],
)
def test_a_choice_is_read_as_it_is_printed(choice: Choice) -> None:
    assert Choice.parse(str(choice)) == choice


def test_the_models_own_choice_changes_no_code(lowered: Any) -> None:
    class Own:
        def best(self, product: Any) -> Choice | None:
            return ways.quickest(product, machine_of(HOST)).choice

    x = np.ones((2, 20, 18, 18), np.float32)
    own, left = output(lowered, Own(), x), output(lowered, pipeline.ANALYTIC, x)
    np.testing.assert_array_equal(own, left)


def test_kernels_are_measured_on_a_board_over_rpc(
    lowered: Any, cache: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    smallest = tuner.products_of(lowered, HOST)[-1:]
    monkeypatch.setattr(tuner, "products_of", lambda *_: smallest)
    with server() as address:
        tuner.refuse(HOST, address)
        tuner.tune(lowered, HOST, 1, address, steps.append)
        assert [r["kernel"] for r in records(cache)] == [name_of(p) for p in smallest]
        rpi4 = load_board("rpi4")
        tuner.refuse(rpi4, address)
        with pytest.raises(DeviceError, match="no kernel could be measured") as failed:
            tuner.tune(lowered, rpi4, 30, address, steps.append)
        assert failed.value.at == address


@pytest.mark.parametrize(
    ("board", "tuning", "emit", "says"),
    [
        ("rpi4", Tuning(), "tvm", "code for rpi4 cannot be tuned on this machine"),
        ("host", Tuning(), "onnx", "--emit onnx has no kernels to tune"),
        ("host", Tuning(parts=("both",)), "tvm", "no parts 'both'"),
        ("host", Tuning(-1), "tvm", "cannot tune for -1 seconds"),
        ("host", Tuning(rpc="nowhere"), "tvm", "'nowhere' is no address"),
        ("host", Tuning(rpc="h:1", parts=("tail",)), "tvm", "the head is not tuned"),
    ],
)
def test_what_cannot_be_tuned_is_refused(
    board: str, tuning: Tuning, emit: str, says: str, path: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.splitc"
    job = compiler.plan(path, cut="flatten", head=board, emit=emit)
    with pytest.raises(UsageError, match=re.escape(says)):
        compiler.build(job, output=out, tuning=tuning)
    assert not out.exists()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:1,pi"])
def test_a_board_that_does_not_answer_is_told(
    address: str, job: compiler.Job, tmp_path: Path
) -> None:
    out = tmp_path / "out.splitc"
    with pytest.raises(DeviceError, match="no board answers"):
        compiler.build(job, output=out, tuning=Tuning(rpc=address))
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--tune"], 2, "code for rpi4 cannot be tuned on this machine"),
        (["--tune-rpc", "127.0.0.1:1"], 2, "does nothing without --tune"),
        (["--tune", "--tune-rpc", "127.0.0.1:1"], 8, "no board answers"),
    ],
)
def test_the_exit_code_tells_usage_from_a_missing_board(
    options: list[str], code: int, says: str, path: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out.splitc"
    assert run(["compile", str(path), "--cut", "relu", "-o", str(out), "-q", *options]) == code
    assert says in capsys.readouterr().err
    assert not out.exists()


def test_a_missing_package_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ToolchainError, match="cloudpickle is missing"):
        tuner.refuse(HOST, "")


def test_a_board_of_another_level_is_not_measured_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuner, "x86_level", lambda: "x86-64-v2")
    with pytest.raises(UsageError, match="x86-64-v3 cannot be tuned on this machine"):
        tuner.refuse(load_board("x86-64-v3"), "")


def test_a_database_that_cannot_be_written_is_told(
    lowered: Any, cache: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.parent.mkdir()
    cache.write_text("")
    monkeypatch.setattr(tuner, "_runner", lambda *_: None)
    monkeypatch.setattr(tuner, "kernel", lambda *_: None)
    monkeypatch.setattr(measure, "measure", lambda functions, *_: [1.0] * len(functions))
    with pytest.raises(ToolchainError, match="the tuning database cannot be used"):
        tuner.tune(lowered, HOST, 30, "", steps.append)
