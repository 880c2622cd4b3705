# SPDX-License-Identifier: Apache-2.0
"""Bundles beside the last release, and what a build made in Markdown."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from splitc.builds import summary as summaries
from splitc.builds.compare import Compared, compare
from splitc.builds.run import Builds, build_all
from splitc.builds.summary import summary
from splitc.bundle.bundle import Bundle
from splitc.bundle.pack import write_zip
from splitc.cli.app import run
from splitc.cli.schema import schema_of
from splitc.errors import UsageError
from splitc.figures.baseline import Baseline, write_baseline
from tests.helpers import save, small_network, two_headed_network


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Builds:
    """The small network cut in two places, and another network. Read only."""
    folder = tmp_path_factory.mktemp("built")
    save(small_network(), folder / "small.onnx")
    save(two_headed_network(), folder / "two.onnx")
    model, output = str(folder / "small.onnx"), str(folder / "{cut}.splitc")
    tables = [
        {"model": model, "emit": "onnx", "cut": ["stem_relu", "block_add"], "output": output},
        {"model": str(folder / "two.onnx"), "emit": "onnx", "output": str(folder / "two.splitc")},
    ]
    found = build_all(tables, jobs=1)
    assert found.exit_code == 0, found
    return found


def bundle(built: Builds, name: str) -> Bundle:
    return Bundle.open(next(one.entry.output for one in built.outcomes if name in one.entry.named))


def of(compared: tuple[Compared, ...], name: str) -> Compared:
    return next(one for one in compared if name in one.outcome.entry.named)


@pytest.mark.parametrize("form", ["folder", "zip", "file"])
def test_each_bundle_is_compared_with_the_one_that_is_named_like_it(
    built: Builds, form: str, tmp_path: Path
) -> None:
    last = bundle(built, "stem_relu")
    if form == "folder":
        shutil.copytree(last.path, tmp_path / "stem_relu.splitc")
    elif form == "zip":
        write_zip(last.contents(with_twin=True), tmp_path / "stem_relu.splitc.zip")
    else:
        write_baseline(tmp_path / "stem_relu.baseline.json", Baseline.of(last))
    found = compare(built, tmp_path)
    same = of(found, "stem_relu")
    assert same.diff is not None
    assert (same.failure, same.diff.changed) == (None, ())
    assert of(found, "block_add") == Compared(of(found, "block_add").outcome, None)
    assert "The last release has no such bundle." in summary(built, found)


def test_a_baseline_alone_is_that_of_all_and_one_of_another_model_is_refused(
    built: Builds, tmp_path: Path
) -> None:
    shutil.copytree(bundle(built, "stem_relu").path, tmp_path / "last.splitc")
    found = compare(built, tmp_path / "last.splitc", ["5%"])
    assert of(found, "stem_relu").failure is None
    worse, other = of(found, "block_add").failure, of(found, "two").failure
    assert worse is not None
    assert (worse.error, worse.exit_code) == ("GateError", 9)
    assert "head_ms" in worse.why
    assert other is not None
    assert (other.what, other.exit_code) == ("the baseline is of another model", 2)
    text = summary(built, found)
    assert text.index("### Beside the last release: 2 of 3 failed") < text.index("cut after")
    assert "the baseline is of another model" in text
    assert "head\\_ms" in text


def test_a_bundle_is_never_held_against_itself(built: Builds) -> None:
    one = bundle(built, "stem_relu").path
    found = of(compare(built, one.parent), "stem_relu")
    assert (found.baseline, found.failure) == (None, None)
    failure = of(compare(built, one), "stem_relu").failure
    assert failure is not None
    assert failure.what == "the baseline is the bundle itself"


def test_what_nothing_can_be_compared_with_is_refused(built: Builds, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no baseline"):
        compare(built, tmp_path / "none")
    with pytest.raises(UsageError, match="is no tolerance"):
        compare(built, tmp_path, ["much"])
    with pytest.raises(UsageError, match="did you mean 'head_ms'"):
        compare(built, tmp_path, ["haed_ms=5%"])


def test_a_damaged_baseline_is_told_of_its_bundle_alone(built: Builds, tmp_path: Path) -> None:
    (tmp_path / "stem_relu.baseline.json").write_text("{")
    found = compare(built, tmp_path)
    failure = of(found, "stem_relu").failure
    assert failure is not None
    assert (failure.error, failure.exit_code) == ("BadBundleError", 3)
    assert of(found, "two").failure is None


def test_a_summary_that_would_be_too_long_says_what_it_leaves_out(
    built: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = len(summary(replace(built, outcomes=built.outcomes[:1])).encode())
    monkeypatch.setattr(summaries, "_MOST_BYTES", long + 1)
    text = summary(built)
    assert len(text.encode()) < long + 100
    assert text.endswith("2 more bundles: the summary would be too long.\n")


def test_the_verb_writes_all_before_it_fails(
    built: Builds,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    write_baseline(tmp_path / "small.baseline.json", Baseline.of(bundle(built, "stem_relu")))
    save(small_network(), tmp_path / "small.onnx")
    given = ["small.onnx", "--emit", "onnx", "--cut", "block_add", "--baseline", "."]
    written = ["--summary", "s.md", "--json-to", "b.json"]
    assert run(["build", *given, *written, "--tolerance", "5%"]) == 9
    captured = capsys.readouterr()
    assert "1 built" in captured.out
    assert "worse than the baseline" in captured.err
    got = json.loads((tmp_path / "b.json").read_text("utf-8"))
    jsonschema.validate(got, schema_of("build"))
    assert "worse than the baseline" in (tmp_path / "s.md").read_text("utf-8")
    compared = got["bundles"][0]["compared"]
    assert compared["baseline"] == "small.baseline.json"
    assert "head_ms" in {one["figure"] for one in compared["regressions"]}

    assert run(["build", *given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bundles"][0]["compared"]["regressions"] == []
    assert run(["build", *given, "--summary", "none/s.md"]) == 2
    assert "cannot write 'none/s.md'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--tolerance", "5%"], "--tolerance without a baseline"),
        (["--baseline", "none"], "there is no baseline 'none'"),
        (["--baseline", ".", "--tolerance", "haed_ms=1%"], "did you mean 'head_ms'"),
    ],
)
def test_mistakes_are_told_before_anything_is_built(
    given: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    save(small_network(), tmp_path / "small.onnx")
    assert run(["build", "small.onnx", *given]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "small.splitc").exists()
