# SPDX-License-Identifier: Apache-2.0
"""The policy that reads its answers from a plan."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from splitc.errors import UsageError
from splitc.policy import LinkState, Mapped, Option, Policy
from splitc.search.plan_file import write_plan
from tests.search.test_plan_file import some_plan

OPTIONS = (Option("late", 0.03, 8_600, 6, 0.01), Option("early", 0.005, 86_000, 60, 0.001))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_plan(tmp_path / "plan.json", some_plan())
    return tmp_path / "plan.json"


@pytest.mark.parametrize(
    ("mbit", "load", "route"),
    [
        (60, 1.0, "early"), (23, 1.0, "early"), (22, 1.0, "late"), (1, 1.0, "late"),
        (10, 9.0, "early"), (10, 2.0, "late"), (10, 0.2, "late"),
    ],
)  # fmt: skip
def test_the_nearest_condition_names_the_route(
    path: Path, mbit: float, load: float, route: str
) -> None:
    chooser = Policy.parse(str(path)).start(OPTIONS)
    seen = LinkState(mbit * 1e6, head_load=load)
    assert [chooser.route(seen, now) for now in (0.0, 1.0, 2.0, 3.0)][-1] == route


def test_before_anything_is_measured_it_takes_what_was_expected_to_be_the_best(path: Path) -> None:
    assert Mapped(str(path)).start(OPTIONS).route(LinkState(), 0.0) == "early"


def test_more_bytes_wait_and_fewer_do_not(path: Path) -> None:
    chooser = Mapped(str(path), hold_s=0.5).start(OPTIONS)
    assert chooser.route(LinkState(1e7), 0.0) == "late"
    assert chooser.route(LinkState(5e7), 1.0) == "late"
    assert chooser.route(LinkState(5e7), 1.4) == "late"
    assert chooser.route(LinkState(5e7), 1.5) == "early"


def test_a_plan_for_other_routes_is_refused(path: Path) -> None:
    with pytest.raises(UsageError, match="the plan is not of this bundle") as caught:
        Mapped(str(path)).start(OPTIONS[1:])
    assert caught.value.why == "it wants the route 'late', which this bundle has not"
    assert caught.value.at == str(path)


def test_text_of_a_map_is_its_path(path: Path, tmp_path: Path) -> None:
    assert Policy.parse(str(path)) == Mapped(str(path))
    assert Policy.parse(str(Mapped(str(path), hold_s=1.0))) == Mapped(str(path), hold_s=1.0)
    with pytest.raises(UsageError, match="cannot read the plan"):
        Policy.parse(str(tmp_path / "none.json")).start(OPTIONS)
    write_plan(path, msgspec.structs.replace(some_plan(), conditions=some_plan().conditions[:1]))
    assert Mapped(str(path)).start(OPTIONS).route(LinkState(1e3), 1.0) == "early"
