# SPDX-License-Identifier: Apache-2.0
"""Runs the steps of a composite action as GitHub's runner does.

`run` steps run in bash, with the options, files and variables that
https://docs.github.com/en/actions/reference/workflows-and-actions/variables and …/workflow-syntax
name. Of `uses` steps there are two: the cache, played by copies of folders, and the upload.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.ci.expression import evaluate, fill, truth

BASH = ("bash", "--noprofile", "--norc", "-e", "-o", "pipefail")
"""What `shell: bash` means."""


@dataclass
class Step:
    """What became of one step."""

    name: str
    outcome: str
    code: int = 0
    log: str = ""
    outputs: dict[str, str] = field(default_factory=dict[str, str])


@dataclass
class Ran:
    """What became of an action.

    Args:
        steps: Of those that ran, in their order.
        outputs: The action's own.
        summary: Markdown that the job's page shows.
    """

    steps: list[Step]
    outputs: dict[str, str]
    summary: str

    @property
    def failed(self) -> Step | None:
        """The step that failed."""
        return next((step for step in self.steps if step.outcome == "failure"), None)

    @property
    def log(self) -> str:
        """All that was printed."""
        return "".join(step.log for step in self.steps)


class Runner:
    """A runner with a workspace; its cache and artifacts outlive a job.

    Args:
        folder: Where it lives.
        environment: Variables of the machine.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.workspace = folder / "workspace"
        self.temp = folder / "temp"
        self.caches = folder / "caches"
        self.artifacts = folder / "artifacts"
        for each in (self.workspace, self.temp, self.caches, self.artifacts):
            each.mkdir(parents=True)
        self.environment = dict(environment)

    def new_job(self) -> None:
        """Another machine: nothing is there but what the cache holds."""
        shutil.rmtree(self.temp)
        self.temp.mkdir()

    def run(self, action: Path, given: Mapping[str, str]) -> Ran:
        """Run an action with inputs."""
        described = yaml.safe_load(action.read_text("utf-8"))
        unknown = given.keys() - described["inputs"].keys()
        assert not unknown, f"there is no input {unknown}"
        defaults = {name: each["default"] for name, each in described["inputs"].items()}
        steps: dict[str, Any] = {}
        contexts = {
            "inputs": {**defaults, **given},
            "steps": steps,
            "runner": {"os": "Linux", "arch": "X64", "temp": str(self.temp)},
            "github": {"action_path": str(action.parent), "workspace": str(self.workspace)},
        }
        summary = self.temp / "summary"
        summary.touch()
        ran: list[Step] = []
        for each in described["runs"]["steps"]:
            failed = any(step.outcome == "failure" for step in ran)
            if failed or not truth(evaluate(each.get("if", "true"), contexts)):
                continue
            step = self._step(each, contexts, action.parent, summary)
            ran.append(step)
            if "id" in each:
                steps[each["id"]] = {"outputs": step.outputs, "outcome": step.outcome}
        outputs = {
            name: fill(each["value"], contexts) for name, each in described["outputs"].items()
        }
        return Ran(ran, outputs, summary.read_text("utf-8"))

    def _step(
        self, step: Mapping[str, Any], contexts: Mapping[str, Any], action: Path, summary: Path
    ) -> Step:
        name = step["name"]
        if "uses" not in step:
            environment = {key: fill(str(v), contexts) for key, v in step.get("env", {}).items()}
            return self._bash(name, fill(step["run"], contexts), environment, action, summary)
        given = {key: fill(str(value), contexts) for key, value in step.get("with", {}).items()}
        used = step["uses"].partition("@")[0]
        return Step(name, "success", outputs=_USES[used](self, given))

    def _bash(
        self, name: str, script: str, environment: Mapping[str, str], action: Path, summary: Path
    ) -> Step:
        file, output = self.temp / "script.sh", self.temp / "output"
        file.write_text(script, "utf-8")
        output.write_text("")
        done = subprocess.run(
            [*BASH, str(file)],
            cwd=self.workspace,
            env={
                **self.environment, "CI": "true", "GITHUB_ACTIONS": "true",
                "GITHUB_WORKSPACE": str(self.workspace), "GITHUB_ACTION_PATH": str(action),
                "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary),
                "GITHUB_ENV": os.devnull, "GITHUB_PATH": os.devnull, "RUNNER_OS": "Linux",
                "RUNNER_ARCH": "X64", "RUNNER_TEMP": str(self.temp), **environment,
            },
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            text=True, check=False,
        )  # fmt: skip
        outcome = "failure" if done.returncode else "success"
        outputs = read_outputs(output.read_text("utf-8"))
        return Step(name, outcome, done.returncode, done.stdout, outputs)


def restore(runner: Runner, given: Mapping[str, str]) -> dict[str, str]:
    """`actions/cache/restore`: the folder of the key, or the newest whose key begins so."""
    for key in (given["key"], *given.get("restore-keys", "").split()):
        found = sorted(runner.caches.glob(f"{key}*"), key=lambda one: one.stat().st_mtime_ns)
        exact = [one for one in found if one.name == given["key"]]
        if found:
            chosen = (exact or found)[-1]
            shutil.copytree(chosen, given["path"], symlinks=True, dirs_exist_ok=True)
            return {"cache-hit": "true" if exact else "false"}
    return {}


def save(runner: Runner, given: Mapping[str, str]) -> dict[str, str]:
    """`actions/cache/save`: a key is written once."""
    source, target = Path(given["path"]), runner.caches / given["key"]
    if source.is_dir() and not target.exists():
        shutil.copytree(source, target, symlinks=True)
    return {}


def upload(runner: Runner, given: Mapping[str, str]) -> dict[str, str]:
    """`actions/upload-artifact`."""
    shutil.copytree(given["path"], runner.artifacts / given["name"])
    return {}


_USES = {
    "actions/cache/restore": restore,
    "actions/cache/save": save,
    "actions/upload-artifact": upload,
}


def read_outputs(text: str) -> dict[str, str]:
    """What a step wrote to GITHUB_OUTPUT: `name=value`, or `name<<END`, lines, `END`."""
    found: dict[str, str] = {}
    lines = iter(text.splitlines())
    for line in lines:
        if several := re.fullmatch(r"([\w-]+)<<(.+)", line):
            value: list[str] = []
            for each in lines:
                if each == several[2]:
                    break
                value.append(each)
            else:
                raise ValueError(f"{several[1]} is not closed")
            found[several[1]] = "\n".join(value)
        else:
            name, equals, value_ = line.partition("=")
            if not equals:
                raise ValueError(f"not an output: {line}")
            found[name] = value_
    return found
