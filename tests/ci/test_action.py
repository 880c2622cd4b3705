# SPDX-License-Identifier: Apache-2.0
"""action.yml: its steps run as GitHub's runner would run them, with the real splitc."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import splitc
from splitc.bundle.bundle import Bundle
from tests.ci.runner import Ran, Runner
from tests.helpers import ROOT

ACTION = ROOT / "action.yml"
NASTY = """a"b' $(touch pwned) `touch pwned`; touch pwned & ${HOME} * \\ \t|"""
"""What a shell would act on if it ever saw it as its own text."""
SINGLE = {"model": "small.onnx", "target": "rpi4", "tail-target": "x86-64-v3", "cut": "block_add"}


def described() -> dict[str, Any]:
    return yaml.safe_load(ACTION.read_text("utf-8"))


def runner_in(folder: Path, network: Path) -> Runner:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GITHUB_")},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "80",
    }
    runner = Runner(folder, environment)
    shutil.copy(network, runner.workspace / "small.onnx")
    return runner


def run(runner: Runner, **given: str) -> Ran:
    """Run the action with the splitc that is installed here."""
    inputs = {name.replace("_", "-"): value for name, value in given.items()}
    return runner.run(ACTION, {"splitc": sys.prefix, **inputs})


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def first(small_onnx: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Runner, Ran]:
    """A job on a fresh runner: one bundle, built, uploaded and cached. Read only."""
    runner = runner_in(tmp_path_factory.mktemp("job") / "runner", small_onnx)
    ran = runner.run(ACTION, {"splitc": sys.prefix, "artifact": "bundles", **SINGLE})
    assert ran.failed is None, ran.log
    return runner, ran


@pytest.fixture
def next_job(first: tuple[Runner, Ran], tmp_path: Path) -> Runner:
    """The next job, on another machine with the cache that the first one left."""
    runner = runner_in(tmp_path / "runner", first[0].workspace / "small.onnx")
    shutil.copytree(first[0].caches, runner.caches, dirs_exist_ok=True)
    return runner


def test_the_files_keep_to_the_published_schemas() -> None:
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    files = {
        "vendor.github-actions": [ACTION],
        "vendor.gitlab-ci": [ROOT / "templates" / "splitc.gitlab-ci.yml"],
        "vendor.github-workflows": [*(ROOT / "examples" / "ci").glob("*.yml")],
    }
    for schema, paths in files.items():
        assert paths
        done = subprocess.run([*check, schema, *map(str, paths)], capture_output=True, check=False)
        assert done.returncode == 0, done.stdout.decode()


def test_an_auditor_of_workflows_finds_nothing() -> None:
    auditor = Path(sys.executable).with_name("zizmor")
    command = [auditor, "--offline", "--no-progress", "--persona", "auditor", "--no-exit-codes"]
    done = subprocess.run(
        [*map(str, command), "--format", "json", str(ACTION), str(ROOT / "examples" / "ci")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == []


def test_no_input_is_written_into_a_script_and_all_are_used_and_described() -> None:
    action = described()
    steps = action["runs"]["steps"]
    for step in steps:
        assert "${{" not in step.get("run", ""), step["name"]
    used = {*re.findall(r"inputs\.([\w-]+)", json.dumps(steps))}
    assert used == action["inputs"].keys()
    for each in (*action["inputs"].values(), *action["outputs"].values()):
        assert each["description"].endswith(".")


def test_nothing_but_githubs_own_actions_is_used_each_by_its_commit() -> None:
    used = [step["uses"] for step in described()["runs"]["steps"] if "uses" in step]
    assert used
    for one in used:
        assert re.fullmatch(r"actions/(cache/(restore|save)|upload-artifact)@[0-9a-f]{40}", one)
        assert re.search(rf"{re.escape(one)} # v\d+\.\d+\.\d+\n", ACTION.read_text("utf-8"))


def test_a_bundle_is_built_checked_and_told_of(first: tuple[Runner, Ran]) -> None:
    runner, ran = first
    outputs = ran.outputs
    bundle = Bundle.open(runner.workspace / outputs["bundle"])
    bundle.check()
    assert outputs["digest"] == bundle.digest
    assert (runner.workspace / outputs["report"]).read_text("utf-8").startswith("<!")
    assert re.fullmatch("[0-9a-f]{64}", outputs["key"])
    assert outputs["cache-hit"] == "false"
    printed = json.loads(Path(outputs["json"]).read_text("utf-8"))
    assert printed["key"] == outputs["key"]
    assert printed["bundles"][0]["state"] == "built"


def test_the_page_of_the_job_shows_the_report_with_the_table_of_cuts(
    first: tuple[Runner, Ran],
) -> None:
    runner, ran = first
    report = splitc.report(runner.workspace / ran.outputs["bundle"], format="md")
    assert report.strip() in ran.summary
    assert "| ▸ `block_add` |" in ran.summary
    assert Path(ran.outputs["summary"]).read_text("utf-8") == ran.summary


def test_the_artifact_holds_the_bundle_with_its_programs_executable(
    first: tuple[Runner, Ran], tmp_path: Path
) -> None:
    runner, _ = first
    artifact = runner.artifacts / "bundles"
    assert {path.name for path in artifact.iterdir()} == {
        "build.json", "small.splitc.html", "small.splitc.zip", "small.splitc.zip.json",
        "summary.md",
    }  # fmt: skip
    unpacked = splitc.unpack(artifact / "small.splitc.zip", tmp_path / "small.splitc")
    packed = json.loads((artifact / "small.splitc.zip.json").read_text("utf-8"))
    assert unpacked.digest == packed["digest"]
    assert os.access(unpacked.path / "head" / "splitc-run", os.X_OK)


def test_a_cached_bundle_has_the_bytes_of_a_fresh_one(
    first: tuple[Runner, Ran], next_job: Runner
) -> None:
    ran = run(next_job, **SINGLE)
    assert ran.failed is None, ran.log
    assert ran.outputs["cache-hit"] == "true"
    assert json.loads(Path(ran.outputs["json"]).read_text("utf-8"))["cached"] == 1
    assert ran.outputs["digest"] == first[1].outputs["digest"]
    fresh = first[0].workspace / first[1].outputs["bundle"]
    assert tree(next_job.workspace / ran.outputs["bundle"]) == tree(fresh)


def test_a_cache_that_lies_fails_the_job_and_gives_no_bundle(next_job: Runner) -> None:
    altered = next(next_job.caches.rglob("bundle/tail/*.so"))
    altered.write_bytes(altered.read_bytes()[:-1] + b"?")
    ran = run(next_job, artifact="bundles", **SINGLE)
    assert ran.failed is not None
    assert (ran.failed.name, ran.failed.code) == ("Judge", 3)
    assert "the cache has another bundle than was put there" in ran.log
    assert "the cache has another bundle than was put there" in ran.summary
    assert ran.outputs["bundle"] == ran.outputs["digest"] == ""
    assert not list(next_job.workspace.glob("*.splitc"))
    assert not list((next_job.artifacts / "bundles").glob("*.zip"))


def test_a_gate_that_fails_fails_the_job_after_all_was_written(next_job: Runner) -> None:
    gates = "boundary_bytes > 10\nhead_ms>1000000\n\n"
    ran = run(next_job, fail_on=gates, artifact="bundles", **SINGLE)
    assert ran.failed is not None
    assert (ran.failed.name, ran.failed.code) == ("Judge", 9)
    assert ran.steps[-1] is ran.failed
    assert "### 1 of 2 gates failed" in ran.summary
    assert "boundary\\_bytes \\> 10" in ran.summary
    assert Bundle.open(next_job.workspace / ran.outputs["bundle"]).digest == ran.outputs["digest"]
    assert (next_job.artifacts / "bundles" / "small.splitc.zip").is_file()


def test_what_changed_since_the_last_release_is_in_the_summary_and_what_got_worse_fails(
    first: tuple[Runner, Ran], next_job: Runner
) -> None:
    baselines = next_job.workspace / "last"
    baselines.mkdir()
    shutil.copy(first[0].artifacts / "bundles" / "small.splitc.zip", baselines)
    same = run(next_job, baseline="last", tolerance="5%", **SINGLE)
    assert same.failed is None, same.log
    next_job.new_job()
    other = {**SINGLE, "cut": "stem_relu"}
    worse = run(next_job, baseline="last", tolerance="5%", **other)
    assert worse.failed is not None
    assert (worse.failed.name, worse.failed.code) == ("Judge", 9)
    assert "| cut | block\\_add | stem\\_relu |" in worse.summary
    assert worse.outputs["digest"] != same.outputs["digest"]


def test_a_file_builds_several_and_outputs_have_a_line_for_each(
    next_job: Runner,
) -> None:
    (next_job.workspace / "many.toml").write_text(
        '[[bundle]]\nmodel = "small.onnx"\nemit = "onnx"\ncut = ["stem_relu", "block_add"]\n'
        'output = "out/{cut}.splitc"\n'
    )
    ran = run(next_job, config="many.toml")
    assert ran.failed is None, ran.log
    bundles = ran.outputs["bundle"].splitlines()
    assert bundles == ["out/stem_relu.splitc", "out/block_add.splitc"]
    digests = [Bundle.open(next_job.workspace / name).digest for name in bundles]
    assert ran.outputs["digest"].splitlines() == digests
    # The cache of the other build was near, is pruned, and the new one is saved beside it.
    saved = next_job.caches / f"splitc-Linux-X64-{ran.outputs['key']}"
    assert len([*saved.glob("??/*")]) == 2


def test_what_splitc_refuses_fails_in_its_own_words_before_anything_is_built(
    next_job: Runner,
) -> None:
    ran = run(next_job, model="small.onnx", target="rpi44")
    assert ran.failed is not None
    assert (ran.failed.name, ran.failed.code) == ("Find the cache's key", 2)
    assert "did you mean 'rpi4'" in ran.failed.log
    assert ran.outputs["bundle"] == ""


RECORDER = """#!{python}
import json, pathlib, sys
verb, *given = sys.argv[1:]
if verb == "--version":
    print("recorder")
elif "--print-key" in given:
    print("0" * 64)
else:
    pathlib.Path("given.json").write_text(json.dumps(given))
    places = dict(one.split("=", 1) for one in given if "=" in one)
    pathlib.Path(places["--summary"]).touch()
    pathlib.Path(places["--json-to"]).write_text('{{"bundles": []}}')
"""


def test_inputs_with_what_a_shell_would_act_on_arrive_as_they_are(
    small_onnx: Path, tmp_path: Path
) -> None:
    runner = runner_in(tmp_path / "a runner", small_onnx)
    recorder = tmp_path / "a folder" / "splitc"
    recorder.parent.mkdir()
    recorder.write_text(RECORDER.format(python=sys.executable))
    recorder.chmod(0o755)
    taken = [name for name in described()["inputs"] if name not in ("splitc", "cache", "python")]
    given: Mapping[str, str] = {name: f"{NASTY}{name}" for name in taken}
    ran = runner.run(ACTION, {**given, "splitc": str(recorder)})
    assert ran.failed is None, ran.log
    arrived = json.loads((runner.workspace / "given.json").read_text("utf-8"))
    dash = arrived.index("--")
    assert arrived[dash + 1 :] == [given["model"], given["config"]]
    options = ("target", "tail-target", "cut", "plan", "output", "fail-on", "baseline", "tolerance")
    for name in options:
        assert f"--{name}={given[name]}" in arrived[:dash]
    assert given["options"] in arrived[:dash]
    assert not list(tmp_path.rglob("pwned"))


def test_a_file_whose_name_a_shell_would_act_on_is_built(next_job: Runner) -> None:
    name = f"{NASTY}.onnx"
    shutil.copy(next_job.workspace / "small.onnx", next_job.workspace / name)
    given = {"cut": "block_add", "options": "--emit=onnx", "output": "out.splitc"}
    ran = run(next_job, model=name, **given)
    assert ran.failed is None, ran.log
    assert ran.outputs["bundle"] == "out.splitc"
    assert not list(next_job.folder.rglob("pwned"))
