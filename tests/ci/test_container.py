# SPDX-License-Identifier: Apache-2.0
"""The container's recipe held against the repository, and its image where one can be built."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.helpers import ROOT

DOCKERFILE = ROOT / "Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Each instruction and what it is given, continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text("utf-8"), flags=re.M)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    pairs = (line.partition(" ") for line in lines if line.strip())
    return [(word, rest.strip()) for word, _, rest in pairs]


def copied() -> list[str]:
    """The files and folders that go from the repository into the image."""
    found = [rest.split() for word, rest in instructions() if word == "COPY"]
    return [name for names in found if not names[0].startswith("--from") for name in names[:-1]]


def given(word: str) -> list[str]:
    return [rest for one, rest in instructions() if one == word]


def test_what_is_copied_is_in_the_repository() -> None:
    assert {"constraints.txt", "pyproject.toml", "splitc", "passes", "targets"} <= {*copied()}
    for name in copied():
        assert (ROOT / name).exists(), name


def test_all_that_the_wheel_is_built_from_is_copied() -> None:
    found = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project, hatch = found["project"], found["tool"]["hatch"]["build"]
    wheel = hatch["targets"]["wheel"]
    hooks = [*hatch.get("hooks", {}).values(), *wheel.get("hooks", {}).values()]
    needed = [
        project["readme"], *project["license-files"], *wheel["packages"],
        *wheel.get("force-include", {}), *wheel.get("artifacts", []),
        *(hook.get("path", "hatch_build.py") for hook in hooks),
    ]  # fmt: skip
    assert {Path(name).parts[0] for name in needed} <= {*copied()}


def test_what_is_installed_is_held_to_the_constraints() -> None:
    installs = [part for run in given("RUN") for part in run.split("&&") if "pip install" in part]
    assert installs
    for install in installs:
        assert "--constraint constraints.txt" in install


def test_the_image_is_of_a_python_that_splitc_supports_and_slim() -> None:
    version = dict(part.split("=") for part in given("ARG") if "=" in part)["PYTHON"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"Programming Language :: Python :: {version}" in project["classifiers"]
    assert {one.split(" AS ")[0] for one in given("FROM")} == {"python:${PYTHON}-slim"}


def test_it_does_not_run_as_root_and_what_it_needs_is_made_beforehand() -> None:
    last = max(at for at, (word, _) in enumerate(instructions()) if word == "FROM")
    final = instructions()[last:]
    assert ("USER", "splitc") in final
    assert final.index(("USER", "splitc")) < final.index(("ENTRYPOINT", '["splitc"]'))
    assert any("doctor --fetch" in run for run in given("RUN"))
    kept = re.search(r"SPLITC_CACHE_DIR=(\S+)", " ".join(given("ENV")))
    assert kept is not None
    assert ("COPY", f"--from=build {kept[1]} {kept[1]}") in final


def test_the_image_builds_and_compiles_without_a_network(small_onnx: Path, tmp_path: Path) -> None:
    docker = shutil.which("docker")
    asked = [docker or "docker", "info"]
    if docker is None or subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip("no container engine runs here")
    subprocess.run([docker, "build", "--tag", "splitc-test", str(ROOT)], check=True)
    shutil.copy(small_onnx, tmp_path / "small.onnx")
    tmp_path.chmod(0o777)
    mine = ["--network", "none", "--volume", f"{tmp_path}:/work", "splitc-test"]
    asked = ["compile", "small.onnx", "--target", "rpi4"]
    subprocess.run([docker, "run", "--rm", *mine, *asked], check=True)
    assert (tmp_path / "small.splitc" / "manifest.json").is_file()
