# SPDX-License-Identifier: Apache-2.0
"""Plans as files: what is written is read back, and what is none is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from splitc.errors import UsageError
from splitc.search.plan_file import (
    Condition,
    PlanFile,
    PlanLink,
    PlanModel,
    PlanRoute,
    read_plan,
    refuse_other_model,
    write_plan,
)


def some_plan() -> PlanFile:
    """Two routes, and one that is better where the link is slow."""
    return PlanFile(
        schema=1, model=PlanModel("net", "a" * 64), head="rpi4", tail="host",
        link=PlanLink(0.002), figures="predicted from board file rpi4",
        routes=(PlanRoute("early", ("conv1",), 80_000), PlanRoute("late", ("conv5",), 8_000)),
        conditions=(
            Condition(0.0, 0.0, 5e7, "early", {"early": 0.02, "late": 0.03}),
            Condition(0.0, 0.0, 1e7, "late", {"early": 0.07, "late": 0.04}),
            Condition(0.9, 0.0, 1e7, "early", {"early": 0.12, "late": 0.3}),
            Condition(0.0, 0.8, 5e7, "late", {"early": 0.2, "late": 0.1}),
        ),
    )  # fmt: skip


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_plan(tmp_path / "plan.json", some_plan())
    assert read_plan(tmp_path / "plan.json") == some_plan()
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def change(*keys: Any, to: Any) -> Callable[[Any], None]:
    def apply(plan: Any) -> None:
        for key in keys[:-1]:
            plan = plan[key]
        plan[keys[-1]] = to

    return apply


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (change("schema", to=2), "another schema"),
        (change("speed", to=1), "unknown field `speed`"),
        (change("routes", to=[]), "0 routes"),
        (change("routes", 1, "name", to="early"), "2 routes, which need names of their own"),
        (change("routes", 0, "cut", to=[]), "route 'early' has no cut"),
        (change("routes", 0, "name", to="a\x1b[2J"), "a name that cannot be printed"),
        (change("conditions", to=[]), "no conditions"),
        (change("conditions", 0, "bandwidth_bps", to=1e7), "the same condition twice"),
        (change("conditions", 0, "cpu", to=1.0), "condition 0: cpu 1 is not in"),
        (change("conditions", 1, "memory", to=-0.1), "condition 1: memory -0.1"),
        (change("conditions", 0, "bandwidth_bps", to=0), "a bandwidth of 0"),
        (change("conditions", 0, "route", to="erly"), "there is no route 'erly'"),
        (change("conditions", 0, "latency_s", to={"erly": 1}), "there is no route 'erly'"),
        (change("conditions", 0, "latency_s", to={"early": -1}), "route 'early' takes -1 s"),
        (change("conditions", 0, "route", to=3), "Expected `str`"),
    ],
)
def test_what_is_wrong_with_a_plan_is_named(
    tmp_path: Path, edit: Callable[[Any], None], why: str
) -> None:
    plan = json.loads(msgspec.json.encode(some_plan()))
    edit(plan)
    (tmp_path / "plan.json").write_text(json.dumps(plan), "utf-8")
    with pytest.raises(UsageError) as caught:
        read_plan(tmp_path / "plan.json")
    assert why in f"{caught.value.what} {caught.value.why}"


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "[" * 100_000, '{"schema": 1}', "\ud800"])
def test_what_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UsageError, match="plan"):
        read_plan(path)
    with pytest.raises(UsageError, match="cannot read the plan"):
        read_plan(tmp_path / "none.json")


def test_a_plan_of_another_model_is_refused() -> None:
    refuse_other_model(some_plan(), "a" * 64, Path("plan.json"))
    with pytest.raises(UsageError, match="another model") as caught:
        refuse_other_model(some_plan(), "b" * 64, Path("plan.json"))
    assert "it is of 'net', aaaaaaaaaaaa…, not bbbbbbbbbbbb…" in caught.value.why
