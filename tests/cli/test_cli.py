# SPDX-License-Identifier: Apache-2.0
"""The command line: verbs, exit codes, what goes to stdout and what to stderr."""

from __future__ import annotations

import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from onnx import helper

from splitc.bundle.bundle import Bundle
from splitc.cli.app import VERBS, run
from splitc.cli.schema import schema_of, verbs
from splitc.cli.verbs import function_of
from splitc.version import __version__
from tests.helpers import model_of, save

Capture = pytest.CaptureFixture[str]


def as_json(capsys: Capture, arguments: Sequence[str], *, code: int = 0) -> dict[str, Any]:
    assert run([*arguments, "--json"]) == code
    captured = capsys.readouterr()
    got = json.loads(captured.out)
    jsonschema.validate(got, schema_of(arguments[0]))
    assert next(iter(got)) == "schema"
    return got


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in os.environ:
        if name.startswith("SPLITC_") and name != "SPLITC_CACHE_DIR":
            monkeypatch.delenv(name)


def test_compile_writes_a_bundle_and_says_what_to_type_next(
    small_onnx: Path, capsys: Capture
) -> None:
    assert run(["compile", str(small_onnx), "--cut", "auto", "--target", "rpi4", "-v"]) == 0
    captured = capsys.readouterr()
    kernels = captured.out.partition("\nlayers ")[2].partition("\nwrote ")[0].splitlines()[1:]
    assert sum(float(found) for found in re.findall(r" ([\d.]+)%  ", "\n".join(kernels))) > 99
    assert any(line.startswith("stem..stem_relu ") for line in kernels)
    assert max(map(len, kernels)) <= 80
    assert "Next: splitc verify small.splitc" in captured.out
    assert "all on the device" in captured.out
    assert "all on the server" in captured.out
    assert captured.out.count("▸") == 1
    assert "compiling head for rpi4" in captured.err
    assert run(["verify", "small.splitc"]) == 0
    captured = capsys.readouterr()
    assert re.search(r"verified: worst \d\.\de-\d\d, tolerance 1e-03", captured.out)


def test_compile_prints_one_object_with_json(small_onnx: Path, capsys: Capture) -> None:
    got = as_json(capsys, ["compile", str(small_onnx), "--emit", "onnx", "-o", "out.splitc"])
    assert got["bundle"] == "out.splitc"
    assert got["chosen"]["cut"] == got["table"]["best"]
    assert set(got["table"]["baselines"]) == {"device", "server"}
    Bundle.open("out.splitc").check()


def test_progress_goes_to_stderr_with_json_too(small_onnx: Path, capsys: Capture) -> None:
    assert run(["compile", str(small_onnx), "--emit", "onnx", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["bundle"] == "small.splitc"
    assert "splitc: golden vectors" in captured.err.splitlines()


def test_the_package_is_run_as_the_program_is() -> None:
    command = [sys.executable, "-m", "splitc", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"splitc {__version__}\n"


def test_quiet_says_nothing_on_stderr(small_onnx: Path, capsys: Capture) -> None:
    assert run(["compile", str(small_onnx), "--emit", "onnx", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "Next" not in captured.out


def test_cuts_ranks_every_cut_with_its_prices(small_onnx: Path, capsys: Capture) -> None:
    got = as_json(capsys, ["cuts", str(small_onnx), "--link", "lte"])
    assert {row["cut"] for row in got["cuts"]} >= {"stem", "stem_relu", "block_add", "pool"}
    totals = [row["latency_ms"] for row in got["cuts"] if row["rejected"] is None]
    assert totals == sorted(totals)
    assert got["best"] == got["cuts"][0]["cut"]
    proof = got["proof"]
    assert proof["type"] == "flow"
    assert proof["value"] == proof["lower_bound"]
    assert got["figures"].startswith("predicted from splitc's kernels on rpi4")


def test_a_cutter_with_options_is_named_on_the_command_line(
    small_onnx: Path, capsys: Capture
) -> None:
    given = ["cuts", str(small_onnx), "--cutter"]
    proof = as_json(capsys, [*given, "enumerate(most=99)"])["proof"]
    assert (proof["type"], proof["cutter"]) == ("enumerated", "enumerate(most=99)")
    assert run([*given, "min-cut", "--objective", "throughput"]) == 2
    assert "throughput is a maximum" in capsys.readouterr().err
    names = [one["name"] for one in as_json(capsys, ["passes"])["cutters"]]
    assert names == [
        "dads-heavy", "early-exits", "edgent", "enumerate", "i-split", "min-cut", "neurosurgeon",
        "qdmp", "sites",
    ]  # fmt: skip
    assert run([*given, "qdmp"]) == 0
    assert "Found by qdmp: minimum cuts of the stretches beside" in capsys.readouterr().out
    assert run(["passes", "min-cut"]) == 0
    assert "DADS" in capsys.readouterr().out


def test_the_front_by_figures_of_ones_own_and_its_picture(
    small_onnx: Path, tmp_path: Path, capsys: Capture
) -> None:
    given = ["cuts", str(small_onnx), "--by"]
    got = as_json(capsys, [*given, "latency,depth", "--plot", str(tmp_path / "front.png")])
    assert got["by"] == ["latency", "depth"]
    usable = [row for row in got["cuts"] if row["rejected"] is None]
    points = {row["cut"]: (row["latency_ms"], -row["depth"]) for row in usable}
    worse = {
        name for name, own in points.items()
        if any(o != own and o[0] <= own[0] and o[1] <= own[1] for o in points.values())
    }  # fmt: skip
    assert got["front"] == [row["cut"] for row in usable if row["cut"] not in worse]
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    assert as_json(capsys, given[:2])["front"] is None
    assert run([*given, "latency,dept"]) == 2
    assert "did you mean 'depth'" in capsys.readouterr().err
    assert run([*given, "latency"]) == 2
    assert "two or more of" in capsys.readouterr().err


def test_via_says_which_layers_run_on_which_machine(small_onnx: Path, capsys: Capture) -> None:
    given = ["cuts", str(small_onnx), "--tail-target", "x86-64-v3", "--via"]
    got = as_json(capsys, [*given, "rpi5:100Mbit,5ms", "--link", "ethernet"])
    sites = got["sites"]
    assert [one["name"] for one in sites] == ["device", "edge", "server"]
    assert [one["board"] for one in sites] == ["rpi4", "rpi5", "x86-64-v3"]
    assert sites[1]["link"]["rtt_s"] == 0.005
    total = sum(one["ms"] + (one["link_ms"] or 0.0) for one in sites)
    assert total == pytest.approx(got["latency_ms"])
    assert got["objective"] <= min(got["alone"].values()) + 1e-9
    assert got["proof"]["value"] == got["proof"]["lower_bound"]
    assert run([*given, "rpi5:lte"]) == 0
    text = capsys.readouterr().out
    assert "All layers on one machine" in text
    assert max(map(len, text.splitlines())) <= 80
    for wrong, says in (
        (["rpi5"], "--via rpi5"), (["rpi5:wify"], "did you mean 'wifi"),
        (["rpi5:lte", "--max-head-ms", "3"], "without limits and codecs"),
        (["rpi5:lte", "--pareto"], "it lists no cuts"),
    ):  # fmt: skip
        assert run([*given, *wrong]) == 2
        assert says in capsys.readouterr().err


def test_a_split_that_does_not_pay_is_called_that(small_onnx: Path, capsys: Capture) -> None:
    assert run(["cuts", str(small_onnx), "--bandwidth", "10kbit"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "No split beats keeping all on the device" in out
    assert "No other link" in out  # the device takes less than a round trip


def test_why_explains_a_cut_inside_a_block(small_onnx: Path, capsys: Capture) -> None:
    got = as_json(capsys, ["cuts", str(small_onnx), "--explain", "block_conv"])
    assert got["usable"] is True
    assert [t["made_by"] for t in got["boundary"]] == ["stem_relu", "block_conv"]
    assert run(["cuts", str(small_onnx), "--explain", "softmax"]) == 0
    assert "cannot be used: the tail would be empty" in capsys.readouterr().out


def test_constraints_reject_cuts_and_say_why(small_onnx: Path, capsys: Capture) -> None:
    assert run(["cuts", str(small_onnx), "--all", "--min-depth", "6"]) == 0
    out = capsys.readouterr().out
    assert "not usable: stem: head has 1 layers, at least 6 wanted" in out


def test_inspect_shows_a_model_and_its_canonical_text(small_onnx: Path, capsys: Capture) -> None:
    got = as_json(capsys, ["inspect", str(small_onnx)])
    assert got["layers"] == 10
    assert got["flops"] == sum(layer["flops"] for layer in got["graph"])
    assert run(["inspect", str(small_onnx), "--text"]) == 0
    from splitc.ir.text import parse_graph

    graph = parse_graph(capsys.readouterr().out)
    assert len(graph) == got["layers"] + 1


def test_inspect_shows_a_bundle_without_loading_code(compiled: Bundle, capsys: Capture) -> None:
    got = as_json(capsys, ["inspect", str(compiled.path)])
    assert got["parts"]["head"]["isa"] == "aarch64"
    assert got["manifest"]["routes"][0]["cut"] == ["block_add"]
    assert run(["inspect", str(compiled.path)]) == 0
    assert "cut after block_add" in capsys.readouterr().out


def test_verify_emulates_the_arm_head(compiled: Bundle, capsys: Capture, qemu: None) -> None:
    got = as_json(capsys, ["verify", str(compiled.path), "--emulate"])
    assert got["passed"]
    assert got["parts"]["head"]["ran"] == "rpi4 under qemu"


@pytest.mark.parametrize("verb", ["targets", "passes", "doctor"])
def test_listing_verbs_print_one_object(verb: str, capsys: Capture) -> None:
    assert as_json(capsys, [verb])
    assert run([verb]) == 0
    assert capsys.readouterr().out


def test_ops_names_the_layers_that_cannot_be_compiled(tmp_path: Path, capsys: Capture) -> None:
    nodes = [helper.make_node("Bernoulli", ["x"], ["y"], "bend")]
    proto = model_of(nodes, {"x": [1, 1, 4, 4]}, ["y"], opset=19)
    path = save(proto, tmp_path / "bend.onnx")
    got = as_json(capsys, ["ops", str(path)], code=4)
    assert got["ops"] == {"Bernoulli": 1}
    assert got["unsupported"][0]["layer"] == "bend"
    assert run(["ops", str(path)]) == 4
    assert "not supported" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["compile", "nothing.onnx"], 2, "there is no file"),
        (["compile", "MODEL", "--targt", "rpi4"], 2, "No such option"),
        (["compile", "MODEL", "--target", "rpi44"], 2, "did you mean 'rpi4'"),
        (["compile", "MODEL", "--cut", "blok_add"], 2, "did you mean 'block_add'"),
        (["compile", "MODEL", "--emit", "wasm"], 2, "one of: onnx, tvm"),
        (["compile", "MODEL", "--link", "wfi"], 2, "did you mean 'wifi'"),
        (["compile", "MODEL", "--bandwidth", "fast"], 2, "write it like 20Mbit"),
        (["compile", "MODEL", "--max-head-memory", "lots"], 2, "write it like 64MB"),
        (["compile", "MODEL", "--max-head-memory", "1B"], 5, "no cut keeps every limit"),
        (["compile", "MODEL", "--cut", "softmax"], 5, "would be empty"),
        (["compile", "MODEL", "--input", "x=1x3"], 2, "write it like x:1x3x224x224"),
        (["compile", "MODEL", "--input", "z:1x3"], 2, "no input 'z'"),
        (["compile", "MODEL", "-o", "/proc/nowhere/x"], 2, "choose another -o"),
        (["compile", "MODEL", "--cut", ""], 2, "no layer ''"),
        (["compile", "MODEL", "--cut", "[/b]"], 2, "no layer '[/b]'"),
        (["compile", "MODEL", "--bandwidth", "20"], 2, "write 20Mbit or 20kbit"),
        (["compile", "MODEL", "--rtt", "5"], 2, "write 5ms or 5s"),
        (["compile", "MODEL", "--loss", "30"], 2, "write it like 30%"),
        (["compile", "MODEL", "--loss", "nan"], 2, "loss rate"),
        (["compile", "MODEL", "--rtt", "1e300s"], 2, "no duration"),
        (["compile", "MODEL", "--max-head-ms", "nan"], 2, "must be above zero"),
        (["compile", "MODEL", "--max-head-ms", "-5"], 2, "must be above zero"),
        (["compile", "MODEL", "--min-depth", "-3"], 2, "must not be negative"),
        (["compile", "MODEL", "--seed", "-1"], 2, "seed -1 is negative"),
        (["compile", "MODEL", "--max-bytes", "9" * 400], 2, "write it like 64MB"),
        (["compile", "MODEL", "--cut", "block_conv", "--max-head-ms", "1e-6"], 5, "head takes"),
        (["cuts", "."], 2, "there is no file"),
        (["cuts", "MODEL", "--objective", "speed"], 2, "one of: energy, latency, throughput"),
        (["cuts", "MODEL", "--max-bytes", "100B"], 3, "raise it with --max-bytes"),
        (["cuts", "splitc.py"], 2, "is no function in a Python file"),
        (["verify", "nothing.splitc"], 2, "there is no bundle"),
        (["verify", "."], 3, "no manifest"),
        (["inspect", "nothing"], 2, "there is no file"),
        (["passes", "group-block"], 2, "did you mean 'group-blocks'"),
        (["frobnicate"], 2, "No such command"),
    ],
)
def test_mistakes_get_their_exit_code_a_hint_and_no_traceback(
    small_onnx: Path, capsys: Capture, arguments: list[str], code: int, message: str
) -> None:
    Path("splitc.py").write_text("import splitc\n", "utf-8")
    given = [str(small_onnx) if part == "MODEL" else part for part in arguments]
    assert run(given) == code
    captured = capsys.readouterr()
    assert message in " ".join(captured.err.split())
    assert "Traceback" not in captured.err
    assert not list(Path().glob("*.splitc"))


def test_every_verbs_object_has_a_schema(capsys: Capture) -> None:
    assert {*verbs()} == {*VERBS} - {"schema"}
    for verb in verbs():
        assert run(["schema", verb]) == 0
        published = json.loads(capsys.readouterr().out)
        jsonschema.Draft202012Validator.check_schema(published)
        assert verb in published["title"]
    assert run(["schema"]) == 0
    assert "manifests" in json.loads(capsys.readouterr().out)["title"]
    assert run(["schema", "cut"]) == 2
    assert "did you mean 'cuts'" in capsys.readouterr().err


def test_an_error_is_an_object_with_json(small_onnx: Path, capsys: Capture) -> None:
    got = as_json(capsys, ["compile", str(small_onnx), "--target", "rpi44"], code=2)
    assert got["error"] == "UsageError"
    assert got["exit_code"] == 2
    assert "rpi4" in got["hint"]


def test_flags_override_the_environment_which_overrides_the_file(
    small_onnx: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'link = "3g"\n[cuts]\nobjective = "energy"\ninput = ["x:1x3x12x12"]\n'
    Path("splitc.toml").write_text(text, "utf-8")

    def seen(*flags: str) -> tuple[float, str]:
        got = as_json(capsys, ["cuts", str(small_onnx), *flags])
        return got["link"]["bandwidth_bps"], got["objective"]

    assert seen() == (1.1e6, "energy")
    monkeypatch.setenv("SPLITC_LINK", "lte")
    assert seen() == (5.85e6, "energy")
    assert seen("--link", "5g", "--objective", "latency") == (50e6, "latency")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("linc = 'lte'", "did you mean 'link'"),
        ("[cutz]\nlink = 'lte'", "did you mean 'cuts'"),
        ("[cuts]\nlinc = 'lte'", "did you mean 'link'"),
        ("link = ", "cannot read splitc.toml"),
    ],
)
def test_a_mistake_in_the_config_file_is_a_usage_error(
    text: str, why: str, capsys: Capture
) -> None:
    Path("splitc.toml").write_text(text, "utf-8")
    assert run(["targets"]) == 2
    assert why in " ".join(capsys.readouterr().err.split())


def splitc(*arguments: str, **kwargs: Any) -> subprocess.Popen[str]:
    code = "from splitc.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs,
    )  # fmt: skip


def test_ctrl_c_in_the_middle_leaves_nothing(small_onnx: Path, tmp_path: Path) -> None:
    process = splitc("compile", str(small_onnx), "-o", "out.splitc")
    assert process.stderr is not None
    for line in process.stderr:
        if "compiling head" in line:
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "stopped" in errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_a_closed_pipe_is_quiet(small_onnx: Path) -> None:
    process = splitc("inspect", str(small_onnx), "--text")
    assert process.stdout is not None
    process.stdout.close()
    process.wait(timeout=60)
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_a_full_disk_behind_standard_output_is_a_named_error() -> None:
    with Path("/dev/full").open("w") as full:
        code = "from splitc.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, "targets"], stdout=full, stderr=subprocess.PIPE,
            text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("OutputError: standard output cannot be written")
    assert "No space left" in done.stderr


def test_an_internal_error_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    code = (
        "import splitc.cli.app as app, sys\n"
        "def broken(arguments): raise ZeroDivisionError('bang')\n"
        "app.run = broken\n"
        "from splitc.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "internal error: ZeroDivisionError: bang" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", [None, *VERBS])
def test_help_fits_80_columns_and_shows_every_verb(verb: str | None, capsys: Capture) -> None:
    assert run(["--help"] if verb is None else [verb, "--help"]) == 0
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines()) <= 80
    if verb is None:
        assert all(name in out for name in VERBS)
    else:
        assert "--json" in out
        assert "--quiet" in out


@pytest.mark.parametrize("verb", VERBS)
def test_the_list_of_verbs_says_of_each_what_its_own_help_says(verb: str) -> None:
    said = (inspect.getdoc(function_of(verb)) or "").split("\n\n")[0]
    assert VERBS[verb].help == " ".join(re.sub(r"\[/?\w*\]", "", said).split())


def test_the_list_of_verbs_imports_none_of_them_nor_what_draws_tables() -> None:
    code = (
        "import sys; from splitc.cli.app import run; run(['--help'])\n"
        "print([m for m in sys.modules if m.startswith(('rich', 'splitc.cli.', 'numpy'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == (
        "['splitc.cli.examples', 'splitc.cli.verbs', 'splitc.cli.app']"
    )


def test_completion_is_for_splitc(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    # It is that of the shell that the tests were started from, and plain sh has none.
    monkeypatch.setattr("shellingham.detect_shell", lambda: ("bash", "/bin/bash"))
    with pytest.raises(SystemExit, match="^0$"):
        run(["--show-completion"])
    assert "_splitc_completion" in capsys.readouterr().out


def test_the_version_is_printed(capsys: Capture) -> None:
    import splitc as package

    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"splitc {package.__version__}\n"


def test_names_that_a_terminal_or_a_table_would_obey_are_shown_plain(
    tmp_path: Path, capsys: Capture
) -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], "bell\x1b[31mRED"),
        helper.make_node("Tanh", ["r"], ["y"], "[/b]end[bold]"),
    ]
    path = save(model_of(nodes, {"x": [1, 4]}, ["y"]), tmp_path / "a[b].onnx")
    for arguments in (["inspect", str(path)], ["cuts", str(path)], ["ops", str(path)]):
        assert run(arguments) == 0
        out = capsys.readouterr().out
        assert "\x1b[31m" not in out
    assert run(["inspect", str(path), "--no-simplify"]) == 0
    assert "[/b]end[bold]" in capsys.readouterr().out
    assert run(["compile", str(path), "--emit", "onnx"]) == 0
    assert "a_b.splitc" in capsys.readouterr().out


def test_a_model_that_cannot_be_cut_exits_5_with_and_without_json(
    tmp_path: Path, capsys: Capture
) -> None:
    proto = model_of([helper.make_node("Relu", ["x"], ["y"], "only")], {"x": [1, 4]}, ["y"])
    path = save(proto, tmp_path / "one.onnx")
    assert as_json(capsys, ["cuts", str(path)], code=5)["best"] is None
    assert run(["compile", str(path)]) == 5
    assert "cannot be cut in two" in capsys.readouterr().err


def test_the_column_of_the_objective_is_the_one_the_rows_are_sorted_by(
    small_onnx: Path, capsys: Capture
) -> None:
    for objective, heading in (("throughput", "period ms"), ("energy", "energy mJ")):
        assert run(["cuts", str(small_onnx), "--objective", objective]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert heading in lines[0]
        rows = [line for line in lines[3:] if line[:2].strip() in ("", "▸") and line[2:3].isalpha()]
        figures = [float(row.split()[-1].replace(",", "")) for row in rows[: len(rows)]]
        assert figures == sorted(figures)
