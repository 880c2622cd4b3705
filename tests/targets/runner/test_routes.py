# SPDX-License-Identifier: Apache-2.0
"""`splitc-run --route`: parts beside one another, one after another, each loaded once."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splitc.arrays import Array
from splitc.runtime.process import find_emulator
from tests.targets.runner.routes import CODED, CROSSES, ROUTES, computed, edit, write_head

LIMIT_S = 120


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_head(tmp_path_factory.mktemp("parts"), "host").parent


@pytest.fixture
def head(built: Path, tmp_path: Path) -> Path:
    """A copy to be damaged."""
    return shutil.copytree(built, tmp_path / "bundle") / "head-s0"


@pytest.fixture(scope="module")
def x() -> Array:
    return np.random.default_rng(1).standard_normal((1, 3, 12, 12)).astype(np.float32)


def run(head: Path, *flags: object, emulated: bool = False) -> subprocess.CompletedProcess[str]:
    command = [str(head / "splitc-run"), *(str(flag) for flag in flags)]
    if emulated:
        emulator = find_emulator("aarch64")
        command = [emulator.program, "-L", emulator.sysroot, *command, "--part", str(head)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)


def check_route(head: Path, route: str, x: Array, folder: Path, *, emulated: bool) -> None:
    """The route's results are those of onnxruntime."""
    np.save(folder / "x.npy", x)
    flags = ("--route", route, "--out", folder, folder / "x.npy")
    done = run(head, *flags, emulated=emulated)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["route"] == route
    wanted = computed(x)
    assert [one["name"] for one in report["outputs"]] == [CROSSES[route][0], "early"]
    for one in report["outputs"]:
        found = np.load(folder / one["file"])
        np.testing.assert_allclose(found, wanted[one["name"]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("route", ROUTES)
def test_a_routes_parts_run_one_after_another(
    built: Path, x: Array, tmp_path: Path, route: str
) -> None:
    check_route(built / "head-s0", route, x, tmp_path, emulated=False)


def test_an_arm_device_runs_them_too(tmp_path: Path, x: Array, qemu: None) -> None:
    check_route(write_head(tmp_path, "rpi4"), CODED, x, tmp_path, emulated=True)


def test_without_a_route_a_part_runs_by_itself(built: Path, x: Array, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", x)
    done = run(built / "head-s0", tmp_path / "x.npy")
    assert [one["name"] for one in json.loads(done.stdout)["outputs"]] == ["r1", "early"]


def test_a_route_needs_its_own_parts_and_no_others(head: Path, x: Array, tmp_path: Path) -> None:
    shutil.rmtree(head.parent / "head-enc2")
    for route in ROUTES[:2]:
        check_route(head, route, x, tmp_path, emulated=False)
    refused(run(head, "--route", CODED, tmp_path / "x.npy"), 3, "head-enc2", f'route "{CODED}"')


def test_a_check_covers_every_part_that_a_route_runs(head: Path) -> None:
    parts = ("head-s0", "head-s1", "head-enc2")
    files = [json.loads((head.parent / part / "manifest.json").read_text())["files"]
             for part in parts]  # fmt: skip
    done = run(head, "--check")
    assert json.loads(done.stdout) == {"part": "head-s0", "checked": sum(map(len, files))}
    model = head.parent / "head-s1" / "model.so"
    model.write_bytes(model.read_bytes()[:-1] + b"\xff")
    refused(run(head, "--check"), 3, "head-s1/model.so", "sha256")


def refused(done: subprocess.CompletedProcess[str], code: int, *why: str) -> None:
    assert done.returncode == code, done
    assert done.stdout == ""
    assert done.stderr.startswith("splitc-run: ")
    assert done.stderr.count("\n") == 1
    for word in why:
        assert word in done.stderr


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--route", "blok"), 'did you mean "block"?'),
        (("--route", "elsewhere"), "there is stem, block, block:pooled"),
        (("--route", "stem,block"), "one name"),
        (
            ("--route", "stem", "--send", "127.0.0.1:1", "--policy", "adaptive"),
            "leaves nothing to choose",
        ),
        (("--send", "127.0.0.1:1", "--policy", "adaptiv"), "there is adaptive"),
        (("--send", "127.0.0.1:1", "--policy", "adaptive(margin=2)"), "margin"),
        (("--send", "127.0.0.1:1", "--policy", "adaptive(speed=2)"), 'no option "speed"'),
        (("--send", "127.0.0.1:1", "--policy", "adaptive(hold_s=soon)"), "no number"),
        (("--send", "127.0.0.1:1", "--policy", 'fixed(route="blok")'), 'did you mean "block"?'),
        (("--send", "127.0.0.1:1", "--within", "0"), "above 0"),
        (("--policy", "adaptive"), "--send"),
    ],
)
def test_flags_that_make_no_sense_are_one_line(
    built: Path, flags: tuple[str, ...], why: str
) -> None:
    refused(run(built / "head-s0", *flags, "x.npy"), 2, why)


CONDITION: dict[str, Any] = {
    "cpu": 0.0,
    "memory": 0.0,
    "bandwidth_bps": 1e6,
    "route": "block",
    "latency_s": {},
}


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        ({"schema": 2, "conditions": [CONDITION]}, "its schema is not 1"),
        ({"schema": 1, "conditions": []}, "no conditions"),
        ({"schema": 1, "conditions": [CONDITION | {"cpu": 1.0}]}, "cpu is out of its range"),
        ({"schema": 1, "conditions": [CONDITION | {"cpu": "0"}]}, "cpu is no number"),
        ({"schema": 1, "conditions": [CONDITION | {"bandwidth_bps": 0}]}, "bandwidth_bps"),
        ({"schema": 1, "conditions": [CONDITION | {"route": 3}]}, "no route"),
        ({"schema": 1, "conditions": [CONDITION | {"route": "blok"}]}, 'did you mean "block"?'),
        ([], "its schema"),
        (None, "cannot read the plan"),
    ],
)
def test_what_is_no_plan_is_one_line(built: Path, tmp_path: Path, plan: Any, why: str) -> None:
    if plan is not None:
        (tmp_path / "plan.json").write_text(json.dumps(plan))
    flags = ("--send", "127.0.0.1:1", "--policy", tmp_path / "plan.json", "x.npy")
    refused(run(built / "head-s0", *flags), 2, why, "plan.json")


def remotes(head: Path, **changes: Any) -> None:
    """Change members of the last route."""
    remote = json.loads((head / "manifest.json").read_text("utf-8"))["remote"]
    edit(head, remote=[*remote[:-1], remote[-1] | changes])


def of_another_bundle(head: Path) -> None:
    edit(head.parent / "head-s1", split="cd" * 32)


def a_part_that_is_another(head: Path) -> None:
    edit(head.parent / "head-s1", part="head-s2")


def outside(head: Path) -> None:
    remotes(head, runs=("head-s0", "../head-s1"))


def twice(head: Path) -> None:
    remotes(head, runs=("head-s0", "head-s1", "head-s1"))


def another_first(head: Path) -> None:
    remotes(head, runs=("head-s1", "head-s0"))


def a_link(head: Path) -> None:
    (head.parent / "head-s1").rename(head.parent / "elsewhere")
    (head.parent / "head-s1").symlink_to("elsewhere")


def nothing_before_it(head: Path) -> None:
    remotes(head, runs=("head-s0", "head-enc2"))


def what_does_not_cross(head: Path) -> None:
    remotes(head, runs=("head-s0", "head-s1"))


def same_name(head: Path) -> None:
    remotes(head, name="stem")


def negative(head: Path) -> None:
    remotes(head, expected={"head_ms": -1, "tail_ms": 1})


def endless(head: Path) -> None:
    text = (head / "manifest.json").read_text("utf-8")
    (head / "manifest.json").write_text(text.replace('"link_ms": 0.5', '"link_ms": 1e999'), "utf-8")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (of_another_bundle, "is of another bundle than head-s0"),
        (a_part_that_is_another, 'holds "head-s2" and not "head-s1"'),
        (outside, "../head-s1"),
        (twice, "twice"),
        (another_first, "begins with another part"),
        (a_link, "is no folder"),
        (nothing_before_it, 'head-enc2 reads "a1"'),
        (what_does_not_cross, '"code" crosses'),
        (same_name, "twice"),
        (negative, "head_ms"),
        (endless, "link_ms"),
    ],
)
def test_parts_that_do_not_go_together_are_refused(
    head: Path, x: Array, tmp_path: Path, damage: Any, why: str
) -> None:
    np.save(tmp_path / "x.npy", x)
    damage(head)
    done = run(head, "--route", CODED if damage is not same_name else "stem", tmp_path / "x.npy")
    refused(done, 3, why)
