# SPDX-License-Identifier: Apache-2.0
"""`--fail-on`: exit code 9 after all that a verb prints, in text and in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from splitc.bundle.bundle import Bundle
from splitc.cli.app import run
from splitc.figures.table import FIGURES
from splitc.figures.values import of_printed

Capture = pytest.CaptureFixture[str]


def test_compile_leaves_the_bundle_and_says_by_its_exit_code_what_failed(
    small_onnx: Path, tmp_path: Path, capsys: Capture
) -> None:
    words = ["compile", str(small_onnx), "--cut", "block_add", "--target", "host", "-q",
             "-o", str(tmp_path / "a.splitc"), "--fail-on", "boundary_bytes>1kB;worst_error>0.1",
             "--fail-on", "head_ms>1us"]  # fmt: skip
    assert run(words) == 9
    said = capsys.readouterr()
    assert "wrote" in said.out
    assert "gate worst_error>0.1 holds" in said.out
    assert "gate boundary_bytes>1kB FAILS: boundary_bytes is 4,608 bytes" in said.out
    assert "GateError: 2 gates fail" in said.err
    assert Bundle.open(tmp_path / "a.splitc").verify().passed
    assert run([*words, "--json"]) == 9
    printed = json.loads(capsys.readouterr().out)
    assert [(one["gate"], one["passed"]) for one in printed["gates"]] == [
        ("boundary_bytes>1kB", False), ("worst_error>0.1", True), ("head_ms>1us", False),
    ]  # fmt: skip
    assert printed["gates"][0]["value"] == printed["chosen"]["boundary_bytes"]


MEASURED = {
    "verify": ["worst_error"],
    "bench": ["head_ms", "tail_load_ms", "total_p95_ms", "resident_bytes"],
    "simulate": ["latency_p95_ms", "missed_rate", "energy_mj", "packets_sent"],
}
MORE = {"bench": ["--seconds", "0.05"], "simulate": ["--no-values", "--frames", "20"]}


@pytest.mark.parametrize("verb", MEASURED)
def test_verbs_that_measure_fail_by_what_they_print(
    verb: str, compiled: Bundle, capsys: Capture
) -> None:
    words = [verb, str(compiled.path), "-q", *MORE.get(verb, ())]
    low = [f"{name}<0" for name in MEASURED[verb]]
    assert run([*words, "--fail-on", ";".join(low)]) == 0
    assert capsys.readouterr().out.count(" holds: ") == len(low)
    high = [f"{name}>=0" for name in MEASURED[verb]]
    assert run([*words, "--fail-on", ";".join(high), "--json"]) == 9
    said = capsys.readouterr()
    assert said.err == ""
    printed = json.loads(said.out)
    assert [one["passed"] for one in printed["gates"]] == [False] * len(high)
    values = of_printed(compiled.manifest, printed)
    (found,) = values.by_route.values()
    assert [one["value"] for one in printed["gates"]] == [found[n] for n in MEASURED[verb]]
    assert all(verb in FIGURES[name].sources for name in found)


def test_a_mistaken_gate_is_refused_before_anything_runs(routed: Bundle, capsys: Capture) -> None:
    for gate, said in (
        ("latency_p95_ms>1", "splitc bench does not print latency_p95_ms"),
        ("head_sm>1", "there is no figure 'head_sm'"),
        ("block:head_ms>1", "there is no route 'block'"),
    ):
        assert run(["bench", str(routed.path), "--fail-on", gate]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert "measuring" not in error


def test_a_gate_on_every_route_names_those_that_fail(routed: Bundle, capsys: Capture) -> None:
    words = ["verify", str(routed.path), "-q", "--fail-on", "*:agreement<2%", "--json"]
    assert run(words) == 9
    printed = json.loads(capsys.readouterr().out)
    assert {one["route"]: one["passed"] for one in printed["gates"]} == {
        "stem_relu": False, "stem_relu:8bit": True, "block_add": False, "block_add:8bit": True,
    }  # fmt: skip
