# SPDX-License-Identifier: Apache-2.0
"""`splitc report`: what it writes, where, and what it refuses."""

from __future__ import annotations

import hashlib
import json
import webbrowser
from pathlib import Path

import pytest

import splitc
from splitc.bundle.bundle import Bundle
from splitc.cli.app import run

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)


def test_the_page_is_written_beside_and_named_after_the_bundle(
    compiled: Bundle, capsys: Capture
) -> None:
    assert run(["report", str(compiled.path)]) == 0
    assert capsys.readouterr().out.startswith("wrote small.html  ")
    page = (compiled.path / "report.html").read_bytes()
    assert Path("small.html").read_bytes() == page
    assert run(["report", str(compiled.path), "-o", "x.html", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["file"], told["bytes"], told["text"]) == ("x.html", len(page), None)
    assert told["sha256"] == hashlib.sha256(page).hexdigest()
    assert sorted(path.name for path in Path().iterdir()) == ["small.html", "x.html"]


def test_markdown_goes_to_standard_output(compiled: Bundle, capsys: Capture) -> None:
    assert run(["report", str(compiled.path), "--format", "md"]) == 0
    assert capsys.readouterr().out == splitc.report(compiled, format="md")
    assert run(["report", str(compiled.path), "--format", "md", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["text"] == splitc.report(compiled, format="md")
    assert run(["report", str(compiled.path), "--format", "md", "-o", "x.md"]) == 0
    assert Path("x.md").read_text("utf-8") == told["text"]


def test_what_was_measured_stands_beside_what_was_predicted(
    routed: Bundle, capsys: Capture
) -> None:
    for verb in (["bench", "--seconds", "0.1"], ["verify"]):
        assert run([*verb, str(routed.path), "--json"]) == 0
        Path(f"{verb[0]}.json").write_text(capsys.readouterr().out, "utf-8")
    bench = json.loads(Path("bench.json").read_text("utf-8"))
    took = bench["parts"]["head-s0"]["times"]["median_ms"]
    given = ["--measured", "bench.json", "--measured", "verify.json"]
    assert run(["report", str(routed.path), "-o", "-", *given]) == 0
    page = capsys.readouterr().out
    assert "Verified over 1 samples" in page or "Verified over" in page
    assert page.count("<td>passed</td>") == 4
    assert f"<td>{took:.2g}</td>" in page or f"<td>{took:,.1f}</td>" in page
    assert run(["report", str(routed.path), "--format", "md", *given]) == 0
    assert "| `stem_relu` | passed |" in capsys.readouterr().out


def test_what_another_bundle_took_is_refused(
    routed: Bundle, compiled: Bundle, capsys: Capture
) -> None:
    assert run(["verify", str(routed.path), "--json"]) == 0
    Path("other.json").write_text(capsys.readouterr().out, "utf-8")
    assert run(["report", str(compiled.path), "--measured", "other.json"]) == 2
    told = capsys.readouterr().err
    assert "'other.json' was measured with another bundle" in told
    assert not Path("small.html").exists()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--format", "pdf"], "one of: html, md"),
        (["--open", "--format", "md"], "--open shows a page in a file"),
        (["--open", "-o", "-"], "--open shows a page in a file"),
        (["-o", "none/x.html"], "choose another -o"),
        (["-o", "BUNDLE/report.html"], "lies in the bundle"),
        (["--measured", "none.json"], "cannot read 'none.json'"),
        (["--measured", "text.json"], "holds nothing that was measured"),
        (["--measured", "deep.json"], "holds nothing that was measured"),
    ],
)
def test_what_cannot_be_done_is_said(
    compiled: Bundle, capsys: Capture, options: list[str], why: str
) -> None:
    Path("text.json").write_text("{}", "utf-8")
    Path("deep.json").write_text("[" * 100_000, "utf-8")
    given = [one.replace("BUNDLE", str(compiled.path)) for one in options]
    assert run(["report", str(compiled.path), *given]) == 2
    assert why in capsys.readouterr().err
    compiled.check()


def test_open_shows_the_page(
    compiled: Bundle, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(webbrowser, "open", shown.append)
    assert run(["report", str(compiled.path), "--open"]) == 0
    assert shown == [Path("small.html").resolve().as_uri()]
    assert "no browser was found" in capsys.readouterr().err


def test_gates_are_shown_and_one_that_fails_ends_with_exit_code_9(
    compiled: Bundle, capsys: Capture
) -> None:
    given = ["--fail-on", "boundary_bytes>64kB", "--fail-on", "boundary_bytes>1kB"]
    assert run(["report", str(compiled.path), "--format", "md", *given]) == 9
    shown = capsys.readouterr()
    assert "| `boundary_bytes>64kB` | holds |" in shown.out
    assert "| `boundary_bytes>1kB` | **fails** |" in shown.out
    assert "gate boundary_bytes>1kB fails" in shown.err
    assert run(["report", str(compiled.path), "--json", *given]) == 9
    told = json.loads(capsys.readouterr().out)
    assert [one["passed"] for one in told["gates"]] == [True, False]
    assert "<td>fails</td>" in Path("small.html").read_text("utf-8")
    assert run(["report", str(compiled.path), "--fail-on", "latency_p99_ms>1"]) == 2
