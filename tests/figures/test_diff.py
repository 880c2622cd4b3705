# SPDX-License-Identifier: Apache-2.0
"""Two bundles held against each other: what changed, what got worse; baselines as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from markdown_it import MarkdownIt

import splitc
from splitc.bundle.bundle import Bundle
from splitc.cli.app import run
from splitc.errors import BadBundleError, GateError, UsageError
from splitc.figures.baseline import Baseline, known_of, read_baseline, write_baseline
from splitc.figures.diff import Tolerance, diff
from splitc.figures.values import of_bundle

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def baseline(compiled: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("baseline") / "small.baseline.json"
    write_baseline(path, known_of(compiled))
    return path


@pytest.fixture(scope="module")
def moved(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The same network, cut earlier."""
    output = tmp_path_factory.mktemp("moved") / "small.splitc"
    return splitc.compile(small_onnx, cut="stem_relu", head="rpi4", output=output, runtime="none",
                          check=False)  # fmt: skip


def altered(path: Path, target: Path, **fields: Any) -> Path:
    """A copy of a baseline with other fields."""
    found = msgspec.to_builtins(read_baseline(path)) | fields
    target.write_text(json.dumps(found), "utf-8")
    return target


def with_figures(path: Path, target: Path, change: Mapping[str, float]) -> Path:
    """A copy of a baseline with other values of the manifest's figures."""
    (found,) = msgspec.to_builtins(read_baseline(path).figures)
    (route,) = found["routes"]
    found["routes"][route] |= change
    return altered(path, target, figures=[found])


def test_a_bundle_is_as_its_baseline_and_as_its_packed_self(
    compiled: Bundle, baseline: Path, tmp_path: Path
) -> None:
    packed = compiled.pack(tmp_path / "small.splitc.zip", with_twin=True)
    for old in (baseline, packed, compiled.path, compiled):
        found = diff(old, compiled, tolerances=["0%"])
        assert (found.changes, found.changed, found.regressions) == ((), (), ())
    assert known_of(packed) == read_baseline(baseline) == Baseline.of(compiled)
    again = tmp_path / "again.json"
    write_baseline(again, read_baseline(baseline))
    assert again.read_bytes() == baseline.read_bytes()


def test_a_cut_that_moved_is_compared_though_its_route_has_another_name(
    baseline: Path, moved: Bundle, compiled: Bundle
) -> None:
    found = diff(baseline, moved, tolerances=["5%"])
    changes = {one.what: (one.old, one.new) for one in found.changes}
    assert changes["cut"] == ("block_add", "stem_relu")
    assert changes["head: layers"] == ("5", "2")
    values = [next(iter(of_bundle(one).by_route.values())) for one in (compiled, moved)]
    for one in found.figures:
        assert (one.old, one.new) == (values[0].get(one.figure), values[1].get(one.figure))
    assert [one.figure for one in found.regressions] == [
        one.figure for one in found.figures if one.worse and (one.change or 0.0) > 0.05
    ]
    assert "tail_weight_bytes" in {one.figure for one in found.regressions}
    with pytest.raises(GateError, match="worse than the baseline[^$]*tail_weight_bytes") as error:
        found.require()
    assert error.value.exit_code == 9


WORSE = {
    "5%": {"head_ms"},
    "10%": set[str](),
    "5%;head_ms=10%": set[str](),
    "head_ms=10%": set[str](),
    "head_ms=1%": {"head_ms"},
    "boundary_bytes=0%": set[str](),
    "head_ms=1us": {"head_ms"},
    "head_ms=1s": set[str](),
}


@pytest.mark.parametrize("tolerance", WORSE)
def test_a_regression_is_what_is_worse_by_more_than_its_tolerance(
    tolerance: str, baseline: Path, compiled: Bundle, tmp_path: Path
) -> None:
    now = next(iter(of_bundle(compiled).by_route.values()))
    old = with_figures(baseline, tmp_path / "old.json",
                       {"head_ms": now["head_ms"] / 1.08, "boundary_bytes": 1e6})  # fmt: skip
    found = diff(old, compiled, tolerances=[tolerance])
    assert {one.figure for one in found.regressions} == WORSE[tolerance]
    assert {one.figure for one in found.changed} == {"head_ms", "boundary_bytes"}


def test_shares_go_by_points_and_kernels_that_fall_back_count_from_none(
    baseline: Path, compiled: Bundle, tmp_path: Path
) -> None:
    old = with_figures(baseline, tmp_path / "old.json", {"accuracy": 0.76, "worst_error": 0.0})
    new = with_figures(baseline, tmp_path / "new.json",
                       {"accuracy": 0.752, "fallback_kernels": 1.0})  # fmt: skip
    assert not diff(old, new, tolerances=["accuracy=1%"]).regressions
    assert diff(old, new, tolerances=["accuracy=0.5%"]).regressions
    found = diff(old, new, tolerances=["5%"])
    assert [one.figure for one in found.regressions] == ["fallback_kernels"]


def test_what_changed_is_told_in_words(baseline: Path, tmp_path: Path) -> None:
    old = read_baseline(baseline)
    plain = msgspec.to_builtins(old)
    plain["parts"]["head"]["fallbacks"] = ["nn.conv3d", "nn.conv3d", "topk"]
    plain["source"]["sha256"] = "0" * 64
    new = altered(baseline, tmp_path / "new.json", tools={**old.tools, "splitc": "99"},
                  parts=plain["parts"], source=plain["source"])  # fmt: skip
    changes = {one.what: (one.old, one.new) for one in diff(baseline, new).changes}
    assert changes == {
        "weights": (f"sha256 {old.source.sha256[:12]}", "sha256 000000000000"),
        "tool splitc": (old.tools["splitc"], "99"),
        "head: kernels that fell back": ("", "nn.conv3d x2, topk"),
    }


def test_the_baseline_of_another_model_is_refused(two_headed: Bundle, baseline: Path) -> None:
    with pytest.raises(UsageError, match="of another model[^$]*small[^$]*two[^$]*--any-model"):
        diff(baseline, two_headed)
    found = diff(baseline, two_headed, any_model=True)
    assert "model" in {one.what for one in found.changes}


def test_routes_that_came_or_went_are_named(routed: Bundle, baseline: Path) -> None:
    changes = diff(baseline, routed).changes
    assert [one.new for one in changes if one.what == "route"] == [
        route.name for route in routed.manifest.routes if route.name != routed.manifest.default
    ]
    assert not diff(routed, routed, tolerances=["0%"]).changed


BAD: dict[str, tuple[dict[str, Any] | str, str]] = {
    "no json": ("{", "baseline is malformed"),
    "a list": ("[]", "baseline is malformed"),
    "another file": ("{}", "this is no baseline"),
    "schema": ({"schema": 2}, "of another schema[^$]*schema is 2"),
    "field": ({"more": 1}, "baseline is malformed[^$]*more"),
    "default": ({"default": "x"}, "has no default route"),
    "text for a figure": (
        {"figures": [{"source": "manifest", "default": None, "routes": {"a": {"head_ms": "x"}}}]},
        "baseline is malformed",
    ),
    "deep": ("[" * 100_000, "baseline is malformed"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_file_that_is_no_baseline_is_named(case: str, baseline: Path, tmp_path: Path) -> None:
    fields, match = BAD[case]
    path = tmp_path / "bad.json"
    if isinstance(fields, str):
        path.write_text(fields, "utf-8")
    else:
        altered(baseline, path, **fields)
    with pytest.raises(BadBundleError, match=match):
        read_baseline(path)


@pytest.mark.parametrize("text", ["5", "head_ms=5", "head_ms=-1ms", "x%", "heda_ms=1%", "5%="])
def test_a_tolerance_says_how_it_is_written(text: str) -> None:
    with pytest.raises(UsageError, match="tolerance|no figure|no value"):
        Tolerance.parse(text)


def test_a_tolerance_of_what_cannot_be_compared_is_an_error(
    baseline: Path, compiled: Bundle
) -> None:
    with pytest.raises(UsageError, match="latency_p95_ms cannot be compared[^$]*splitc simulate"):
        diff(baseline, compiled, tolerances=["latency_p95_ms=5%"])


def test_markdown_shows_what_is_in_a_bundle_and_obeys_none_of_it(
    baseline: Path, tmp_path: Path
) -> None:
    evil = "<script>|[x](http://y)`*\n# no"
    new = altered(baseline, tmp_path / "new.json", name=evil, tools={"splitc": evil, evil: "1"})
    text = diff(baseline, new).markdown()
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert "<script>" not in html
    assert "<a " not in html
    assert html.count("<h3>") == 1
    assert "<h1>" not in html
    assert html.count("<th>") == 3


def test_measured_figures_go_into_a_baseline_and_are_compared(
    compiled: Bundle, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = str(compiled.path)
    assert run(["bench", folder, "--seconds", "0.05", "--json", "-q"]) == 0
    printed = json.loads(capsys.readouterr().out)
    Path("bench.json").write_text(json.dumps(printed), "utf-8")
    assert run(["baseline", folder, "--measured", "bench.json", "-o", "b.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["baseline"]["figures"][1]["source"] == "bench"
    printed["parts"]["head"]["times"]["median_ms"] *= 2
    Path("slow.json").write_text(json.dumps(printed), "utf-8")
    words = ["diff", "b.json", folder, "--tolerance", "50%", "-q"]
    assert run([*words, "--measured", "bench.json"]) == 0
    assert "nothing changed" in capsys.readouterr().out
    assert run([*words, "--measured", "slow.json"]) == 9
    said = capsys.readouterr()
    assert "head_ms (bench)" in said.out
    assert "1 figure is worse than the baseline" in said.err
    assert run([*words, "--measured", "slow.json", "--json"]) == 9
    found = json.loads(capsys.readouterr().out)
    assert (found["regressions"], found["old"]["digest"]) == (1, compiled.digest)
    assert run(words) == 0
    assert "not compared, as the new one has none: figures of bench" in capsys.readouterr().err
    assert run([*words, "--format", "md", "--measured", "slow.json"]) == 9
    assert "| head\\_ms (bench) |" in capsys.readouterr().out
    assert run([*words, "--format", "mdx"]) == 2
    assert "'md'" in capsys.readouterr().err


def test_figures_of_another_bundle_are_refused(
    compiled: Bundle, routed: Bundle, tmp_path: Path, capsys: Capture
) -> None:
    assert run(["bench", str(routed.path), "--seconds", "0.05", "--json", "-q"]) == 0
    path = tmp_path / "bench.json"
    path.write_text(capsys.readouterr().out, "utf-8")
    with pytest.raises(BadBundleError, match="figures of another bundle"):
        known_of(compiled, [path])
    path.write_text('{"schema": 1}', "utf-8")
    with pytest.raises(BadBundleError, match="these are no measured figures"):
        known_of(compiled, [path])
