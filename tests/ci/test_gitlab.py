# SPDX-License-Identifier: Apache-2.0
"""The template for GitLab: its script run as GitLab's runner runs it, with the real splitc."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from splitc.bundle.bundle import Bundle
from splitc.version import __version__
from tests.ci.test_action import NASTY
from tests.helpers import ROOT

TEMPLATE = ROOT / "templates" / "splitc.gitlab-ci.yml"
ARTIFACT = ".splitc-ci/artifact"
SINGLE = {"SPLITC_MODEL": "small.onnx", "SPLITC_TARGET": "rpi4", "SPLITC_CUT": "block_add"}
ONNX = {**SINGLE, "SPLITC_OPTIONS": "--emit=onnx"}


def job() -> dict[str, Any]:
    return yaml.safe_load(TEMPLATE.read_text("utf-8"))[".splitc"]


@dataclass
class Ran:
    """What became of a job: its exit code, its log, what later jobs get as variables."""

    code: int
    log: str
    variables: dict[str, str]


def run(folder: Path, **given: str) -> Ran:
    """Run the job in a folder, with variables of whoever extends it."""
    variables: Mapping[str, str] = {**job()["variables"], **given}
    script = "\n".join(["set -o errexit", "set -o pipefail", "set +o noclobber", *job()["script"]])
    done = subprocess.run(
        ["bash"], input=script, cwd=folder, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={
            **os.environ, "CI": "true", "GITLAB_CI": "true", "COLUMNS": "80",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **variables,
        },
    )  # fmt: skip
    reported = folder / str(job()["artifacts"]["reports"]["dotenv"])
    lines = reported.read_text("utf-8").splitlines() if reported.is_file() else []
    return Ran(done.returncode, done.stdout, dict(line.split("=", 1) for line in lines))


@pytest.fixture
def folder(small_onnx: Path, tmp_path: Path) -> Path:
    shutil.copy(small_onnx, tmp_path / "small.onnx")
    return tmp_path


def test_a_bundle_is_built_cached_and_told_of(folder: Path) -> None:
    ran = run(folder, **ONNX)
    assert ran.code == 0, ran.log
    bundle = Bundle.open(folder / ran.variables["SPLITC_BUNDLE"])
    assert ran.variables["SPLITC_DIGEST"] == bundle.digest
    assert ran.variables["SPLITC_CODE"] == "0"
    kept = {path.name for path in (folder / ARTIFACT).iterdir()}
    assert kept == {
        "build.json", "outputs.env", "small.splitc.html", "small.splitc.zip",
        "small.splitc.zip.json", "summary.md",
    }  # fmt: skip
    assert "▸ `block_add`" in (folder / ARTIFACT / "summary.md").read_text("utf-8")
    assert "block_add" in ran.log

    shutil.rmtree(bundle.path)
    shutil.rmtree(folder / ARTIFACT)
    again = run(folder, **ONNX)
    assert again.code == 0, again.log
    assert again.variables == ran.variables
    printed = json.loads((folder / ARTIFACT / "build.json").read_text("utf-8"))
    assert printed["cached"] == 1


def test_a_gate_that_fails_fails_the_job_after_all_was_written(folder: Path) -> None:
    ran = run(folder, **ONNX, SPLITC_FAIL_ON="boundary_bytes > 10\nhead_ms > 1000000")
    assert ran.code == 9, ran.log
    assert ran.variables["SPLITC_CODE"] == "9"
    assert "1 of 2 gates failed" in (folder / ARTIFACT / "summary.md").read_text("utf-8")
    assert (folder / ARTIFACT / "small.splitc.zip").is_file()


def test_what_splitc_refuses_fails_in_its_own_words(folder: Path) -> None:
    ran = run(folder, SPLITC_MODEL="small.onnx", SPLITC_TARGET="rpi44")
    assert ran.code == 2
    assert "did you mean 'rpi4'" in ran.log
    assert ran.variables["SPLITC_BUNDLE"] == ""


def test_a_file_builds_several_and_refuses_what_is_given_beside_it(folder: Path) -> None:
    (folder / "many.toml").write_text(
        '[[bundle]]\nmodel = "small.onnx"\nemit = "onnx"\ncut = ["stem_relu", "block_add"]\n'
        'output = "out/{cut}/small.splitc"\n'
    )
    ran = run(folder, SPLITC_CONFIG="many.toml")
    assert ran.code == 0, ran.log
    assert ran.variables["SPLITC_BUNDLE"].split(",") == [
        "out/stem_relu/small.splitc", "out/block_add/small.splitc",
    ]  # fmt: skip
    assert len([*(folder / ARTIFACT).glob("*.zip")]) == 2
    refused = run(folder, SPLITC_CONFIG="many.toml", SPLITC_CUT="block_add")
    assert refused.code == 2
    assert "--cut and a file" in refused.log


def test_variables_with_what_a_shell_would_act_on_arrive_as_they_are(folder: Path) -> None:
    shutil.copy(folder / "small.onnx", folder / f"{NASTY}.onnx")
    ran = run(folder, **{**ONNX, "SPLITC_MODEL": f"{NASTY}.onnx", "SPLITC_OUTPUT": "out.splitc"})
    assert ran.code == 0, ran.log
    refused = run(folder, **ONNX, SPLITC_FAIL_ON=NASTY)
    assert refused.code == 2
    assert "is no gate" in refused.log
    assert not list(folder.rglob("pwned"))


def test_what_is_installed_is_this_version() -> None:
    assert job()["variables"]["SPLITC_INSTALL"] == f"splitc=={__version__}"
